"""Whose command line it is: the server's program, behind what it may be called through.

A command line may begin with variables (``A=b``), with ``exec``, ``cd DIRECTORY &&``, or with a
program that runs another one: ``newrelic-admin run-program``, ``poetry run``, ``dumb-init --``.
What comes before the server's own program stays as it is, and so does what the shell has behind it
(``|``, ``>``).
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from wsgi_async.errors import ConfigError

from . import gunicorn_command, mod_wsgi_express, paste, uwsgi_command, waitress
from .masked import masked
from .report import COMMAND, Command, Plan, ReadCommand, Source
from .words import Word, expanded, has_variable, split

__all__ = ["SERVERS", "command_in", "plan_of", "read_words", "unknown"]


SERVERS: dict[str, ReadCommand] = {
    "gunicorn": gunicorn_command.read,
    "mod_wsgi-express": mod_wsgi_express.read,
    "uwsgi": uwsgi_command.read,
    "pserve": paste.read_command,
    "waitress-serve": waitress.read,
}
"""The programs whose command lines are known."""

_MODULES = {
    "gunicorn": "gunicorn",
    "gunicorn.app.wsgiapp": "gunicorn",
    "pyramid.scripts.pserve": "pserve",
    "waitress": "waitress-serve",
}
"""What ``python -m`` runs: that program."""

_EXEC_FORM = re.compile(r"\s*(CMD|ENTRYPOINT|command:)\s*(\[.*\])\s*")
_SHELL_WORDS = re.compile(r"[|&;]+|[0-9]*[<>].*")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_PYTHON = re.compile(r"python[0-9.]*")
_SHELLS = ("sh", "bash", "dash", "zsh")


def command_in(
    words: Sequence[Word],
    source: Source,
    *,
    environment: Mapping[str, str] | None = None,
    directory: str = "",
) -> Command | None:
    """The command line of a server among these words; None where it is nobody's who is known.

    :param environment: variables that are known.
    :param directory: where it starts.
    """
    words, wrapper = _unwrapped(list(words), source)
    known = dict(environment or {})
    assigned: dict[str, str] = {}
    before: list[str] = []
    ahead: list[str] = []
    for number, word in enumerate(words):
        text = expanded(word.text, known)
        if _SHELL_WORDS.fullmatch(text):
            if before[:1] == ["cd"] and len(before) == 2 and text == "&&":
                directory = posixpath.join(directory, before[1])
            ahead += [*_pairs(assigned), *before, text]
            before, assigned = [], {}
            continue
        if not before and (match := _ASSIGNMENT.fullmatch(text)):
            assigned[match[1]] = match[2]
            continue
        server, taken = _server(text, [word.text for word in words[number + 1 :]])
        if server:
            own = words[number + 1 + taken :]
            end = next(
                (at for at, each in enumerate(own) if _SHELL_WORDS.fullmatch(each.text)), len(own)
            )
            return Command(
                server,
                source,
                word.where,
                [each._replace(text=expanded(each.text, known | assigned)) for each in own[:end]],
                directory,
                known | assigned,
                tuple(before),
                assigned,
                posixpath.join(posixpath.dirname(text), "wsgi-async"),
                wrapper,
                " ".join(ahead),
                " ".join(each.text for each in own[end:]),
            )
        before.append(word.text if has_variable(word.text) else shlex.quote(word.text))
    return None


def _pairs(assigned: Mapping[str, str]) -> list[str]:
    return [f"{name}={shlex.quote(value)}" for name, value in assigned.items()]


def _server(program: str, following: Sequence[str]) -> tuple[str, int]:
    """Which server it starts, and how many of the words behind it belong to that."""
    name = posixpath.basename(program)
    if name in SERVERS:
        return name, 0
    if _PYTHON.fullmatch(name) and "-m" in following[:3]:
        at = list(following).index("-m")
        if len(following) > at + 1 and following[at + 1] in _MODULES:
            return _MODULES[following[at + 1]], at + 2
    return "", 0


def _unwrapped(words: list[Word], source: Source) -> tuple[list[Word], tuple[str, ...]]:
    """The words in ``sh -c '...'``, and those before them."""
    for number, word in enumerate(words[:-2]):
        if posixpath.basename(word.text) in _SHELLS and words[number + 1].text in ("-c", "-lc"):
            inner = words[number + 2]
            wrapper = tuple(each.text for each in words[: number + 2])
            found = [Word(each.text, inner.where) for each in split(inner.text, source.name)]
            return found, wrapper
    return words, ()


def plan_of(command: Command) -> Plan:
    """What the command line comes to here."""
    plan = SERVERS[command.server](command)
    plan.server = command.server
    plan.before = command.before
    plan.environment |= command.assigned
    if "/" not in plan.program:  # else an environment is named by an option
        plan.program = command.program
    plan.wrapper = command.wrapper
    plan.inside = " ".join((*_said(command.ahead), "{command}", *_said(command.rest)))
    return plan


def _said(text: str) -> list[str]:
    return [masked("", text)] if text else []


def read_words(source: Source) -> list[Plan]:
    """A command line behind ``--``, or those in a script.

    :raises ConfigError: there is no known server's.
    """
    if source.name == COMMAND:
        found = command_in(split(source.text, source.name), source)
        plans = [] if found is None else [plan_of(found)]
    else:
        plans = [plan_of(command) for command in _commands_in(source)]
    if not plans:
        raise unknown(source.name)
    return plans


def _commands_in(source: Source) -> Iterator[Command]:
    """The command lines of servers in a script, each with what the lines before it set."""
    environment: dict[str, str] = {}
    directory, logical, first = "", "", 0
    for number, line in enumerate(source.text.split("\n"), 1):
        first = first or number
        logical += line + "\n"
        if line.rstrip("\r").endswith("\\"):
            continue
        text, logical, at, first = logical.rstrip("\n"), "", first, 0
        if text.lstrip().startswith("#"):
            continue
        try:
            words = split(_as_shell(text), source.name, at)
        except ConfigError:
            continue  # what goes over several lines by its quotes starts no server
        texts = [word.text for word in words]
        if len(texts) == 2 and texts[0] == "-":
            continue  # a list in YAML: the words that belong to it stand in the next lines
        if texts[:1] == ["export"]:
            texts = texts[1:]
        if texts and all(map(_ASSIGNMENT.fullmatch, texts)):
            environment |= dict(expanded(text, environment).split("=", 1) for text in texts)
        elif texts[:1] == ["cd"] and len(texts) == 2:
            directory = posixpath.join(directory, expanded(texts[1], environment))
        else:
            found = command_in(words, source, environment=environment, directory=directory)
            if found is not None:
                yield found


def _as_shell(text: str) -> str:
    """What a shell would be told, where a Dockerfile or docker-compose.yml has a list of words."""
    match = _EXEC_FORM.fullmatch(text.replace("\\\n", " "))
    if match is None:
        return text
    try:
        words = json.loads(match[2])
    except ValueError:
        return text
    if not all(isinstance(word, str) for word in words):
        return text
    # Docker's own shell would not pass on the signal by which the server ends.
    instead = "exec " if match[1].isupper() else ""
    return f"{match[1]} {instead}{shlex.join(words)}"


def unknown(name: str) -> ConfigError:
    """The error where no server is named."""
    servers = ", ".join(SERVERS)
    return ConfigError(f"{name}: no command line of a server is there; known are {servers}")
