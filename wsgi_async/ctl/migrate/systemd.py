"""A systemd unit: the command line in ``ExecStart=``, and what stands around it.

``Environment=`` is followed, and so are the files of ``EnvironmentFile=`` that are where the unit
says, and specifiers that do not depend on how the unit is started. What is started stays a service:
its other lines are told about where the server has to do with them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import NamedTuple

from wsgi_async.config.option import parse_duration
from wsgi_async.errors import ConfigError

from .checked import KNOWN
from .report import Command, Plan, Quoting, Source, Verdict
from .rules import Rule, changed, missing, taken, unused
from .servers import command_in, plan_of, unknown
from .words import split

__all__ = ["read"]

_DIRECTORIES = {
    "t": "/run",
    "S": "/var/lib",
    "C": "/var/cache",
    "L": "/var/log",
    "E": "/etc",
    "T": "/tmp",
    "V": "/var/tmp",
}
_SPECIFIER = re.compile(r"%(.)")
_UNRESOLVED = re.compile(r"%[A-Za-z]")


class _Entry(NamedTuple):
    """``Key=value`` in a section; lines that go on are joined by spaces, so that columns stay."""

    section: str
    key: str
    value: str
    line: int
    raw: str
    """As it is written, with the ends of its lines."""


def read(source: Source) -> list[Plan]:
    """What the service comes to here."""
    entries = list(_entries(source))
    started: list[_Entry] = []
    for entry in entries:
        if entry.key == "ExecStart":
            started = [*started, entry] if entry.value else []  # an empty one takes all back
    if not any(entry.section == "Service" for entry in entries):
        raise ConfigError(
            f"{source.name} is no service: a .socket or a .timer stays as it is; give the .service"
        )
    unit = _Unit(source, entries)
    for entry in started:
        words = split(_without_prefix(entry.raw), source.name, entry.line)
        words = [word._replace(text=unit.resolved(word.text)) for word in words]
        command = command_in(words, source, environment=unit.environment, directory=unit.directory)
        if command is not None:
            return [unit.plan(command)]
    raise unknown(source.name)


# --- Lines that have to do with the server


def _type(plan: Plan, value: str) -> Rule:
    if value == "forking":
        return missing("nothing goes into the background here: write Type=notify")
    if value in ("notify", "notify-reload"):
        return taken("it tells systemd when its processes serve")
    return changed(
        "write Type=notify: then `systemctl start` returns when the processes serve",
    )


def _reload(plan: Plan, value: str) -> Rule:
    if re.search(r"-(?:s\s*)?(?:SIG)?(?:HUP|1)\b", value):
        return taken(
            "SIGHUP: each process is replaced by one that is ready, so that no request is lost, "
            "and the configuration is read anew",
        )
    if "USR2" in value:
        return missing("SIGUSR2 does nothing here: write kill -HUP $MAINPID")
    return changed("what reloads here is SIGHUP: kill -HUP $MAINPID")


def _stop(plan: Plan, value: str) -> Rule:
    if "QUIT" in value:
        return changed("SIGQUIT ends at once, and cuts requests off: leave this line out")
    return taken("systemd sends SIGTERM anyway, which finishes what is in flight")


def _kill_signal(plan: Plan, value: str) -> Rule:
    if "QUIT" in value:
        return changed("SIGQUIT ends at once, and cuts requests off: leave this line out")
    return taken("")


def _kill_mode(plan: Plan, value: str) -> Rule:
    if value == "mixed":
        return taken("it is right here too")
    return changed("write KillMode=mixed: SIGTERM is for the main process, which tells the others")


def _pid_file(plan: Plan, value: str) -> Rule:
    return unused("it is for Type=forking: systemd knows which process it started")


def _watchdog(plan: Plan, value: str) -> Rule:
    return taken("the main process says that it lives, and watches over the others")


def _stop_time(plan: Plan, value: str) -> Rule:
    try:
        seconds = parse_duration(re.sub(r"(?<=\d)\s*(?:sec|seconds?)$", "s", value))
        grace = parse_duration(
            plan.options.get("graceful_timeout", KNOWN["graceful_timeout"].default)
        )
    except ValueError:
        return taken("")
    if seconds > grace:
        return taken("")
    return changed(
        f"write more than --graceful-timeout, which is {grace:g} s, and 5 s for what is stuck: "
        "else systemd cuts requests off",
    )


_LINES: dict[str, Callable[[Plan, str], Rule]] = {
    "ExecReload": _reload,
    "ExecStop": _stop,
    "KillMode": _kill_mode,
    "KillSignal": _kill_signal,
    "PIDFile": _pid_file,
    "TimeoutStopSec": _stop_time,
    "Type": _type,
    "WatchdogSec": _watchdog,
}


# --- The unit


def _entries(source: Source) -> Iterator[_Entry]:
    r"""The settings, with those that go over several lines by ``\`` joined."""
    section, pending, first = "", "", 0
    for number, line in enumerate(source.text.split("\n"), 1):
        text = line.rstrip("\r")
        if not pending:
            if not text.strip() or text.lstrip()[0] in "#;":
                continue
            if match := re.fullmatch(r"\s*\[(.+)\]\s*", text):
                section = match[1]
                continue
            first = number
        elif text.lstrip()[:1] in ("#", ";"):
            pending += "\\\n"  # a comment in the midst, which systemd passes over
            continue
        pending += text
        if text.endswith("\\"):
            pending += "\n"
            continue
        raw, pending = pending, ""
        key, equals, value = raw.partition("=")
        if not equals:
            raise ConfigError(f"{source.name}:{first}: expected KEY=VALUE")
        joined = " ".join(re.sub(r"\\\n", " ", value).split())
        yield _Entry(section, key.strip(), joined, first, value)


def _without_prefix(raw: str) -> str:
    return re.sub(r"^(\s*)[-@:+!|]+", r"\1", raw)


class _Unit:
    """What stands around the command line."""

    def __init__(self, source: Source, entries: list[_Entry]) -> None:
        self._source = source
        self._entries = entries
        self.directory = ""
        self.environment: dict[str, str] = {}
        self._read: list[_Entry] = []
        for entry in entries:
            if entry.section != "Service":
                continue
            if entry.key == "WorkingDirectory":
                self.directory = self.resolved(entry.value.lstrip("-"))
            elif entry.key == "Environment":
                self._assign(entry)
        for entry in entries:  # the files win, wherever they stand
            if entry.section == "Service" and entry.key == "EnvironmentFile":
                self._read_file(entry)

    def resolved(self, text: str) -> str:
        """The text with the specifiers that are known, and systemd's ``$$``."""
        name = PurePosixPath(self._source.name).name
        stem = name.rpartition(".")[0] or name
        prefix, at, instance = stem.partition("@")

        def put(match: re.Match[str]) -> str:
            letter = match[1]
            if letter == "%":
                return "%"
            if letter in ("i", "I", "j", "J") and at and not instance:
                return match[0]  # a template's: whatever it is started as
            known = {"n": name, "N": stem, "p": prefix, "P": prefix, "i": instance, "I": instance}
            return _DIRECTORIES.get(letter) or known.get(letter) or match[0]

        return _SPECIFIER.sub(put, text).replace("$$", "$")

    def _assign(self, entry: _Entry) -> None:
        if not entry.value:
            self.environment.clear()
            return
        try:
            words = shlex.split(entry.value)
        except ValueError as error:
            raise ConfigError(f"{self._source.name}:{entry.line}: {error}") from None
        for word in words:
            name, equals, value = self.resolved(word).partition("=")
            if equals:
                self.environment[name] = value

    def _read_file(self, entry: _Entry) -> None:
        path = self.resolved(entry.value.lstrip("-"))
        found = self._source.beside(path) if path else None
        if found is not None:
            self._read.append(entry)
        for line in found.text.splitlines() if found is not None else ():
            name, equals, value = line.strip().partition("=")
            if equals and not name.startswith(("#", ";")):
                try:
                    self.environment[name.strip()] = " ".join(shlex.split(value))
                except ValueError:
                    self.environment[name.strip()] = value

    def plan(self, command: Command) -> Plan:
        """What it comes to here, with what is to be said of the unit."""
        plan = plan_of(replace(command, assigned={}))
        if not ("/" in plan.program or plan.before or plan.wrapper):
            plan.program = f"/PATH/TO/{plan.program}"
        plan.place = f"ExecStart={plan.place}"
        plan.quoting = Quoting.SYSTEMD
        for entry in self._entries:
            if entry.section == "Service":
                self._say(plan, entry)
        if not any(entry.key == "Type" for entry in self._entries):
            said = _type(plan, "simple")
            plan.add(self._source.name, "Type", "", said.verdict, f"not set; {said.text}")
        self._sockets(plan)
        self._variables(plan)
        _keep_specifiers(plan)
        return plan

    def _say(self, plan: Plan, entry: _Entry) -> None:
        if entry.key == "EnvironmentFile":
            said = self._environment_file(entry)
        elif entry.key in _LINES:
            said = _LINES[entry.key](plan, entry.value)
        else:
            return
        where = f"{self._source.name}:{entry.line}"
        plan.add(where, entry.key, entry.value, said.verdict, said.text, matters=said.matters)

    def _environment_file(self, entry: _Entry) -> Rule:
        text = "systemd reads it at a start alone; --env-file is read at a reload too"
        if entry in self._read:
            return taken(text)
        return taken(f"it is not here, so that what it sets is not known; {text}")

    # --- What several lines say together

    def _sockets(self, plan: Plan) -> None:
        """A unit that is started by its socket gets that, and gunicorn passes over --bind then."""
        named = [
            (entry, word)
            for entry in self._entries
            if entry.key in ("Requires", "Sockets", "After", "Wants", "Also", "BindsTo")
            for word in entry.value.split()
            if word.endswith(".socket")
        ]
        if not named:
            return
        entry, word = named[0]
        where = f"{self._source.name}:{entry.line}"
        text = "the sockets that systemd passes are taken, as long as there is no --bind"
        plan.add(where, entry.key, word, Verdict.TAKEN_OVER, text)
        if plan.server == "gunicorn":
            plan.options.pop("bind", None)
            plan.options.pop("socket_mode", None)
            plan.variables.pop("bind", None)
            text = (
                "gunicorn passes over it where systemd passes sockets, and here it would win: it "
                "is "
                f"left out. The mode of the socket's file is SocketMode= in {word}"
            )
            plan.findings = [
                replace(finding, verdict=Verdict.CHANGED, text=text)
                if finding.setting in ("-b", "--bind", "bind")
                else finding
                for finding in plan.findings
            ]

    def _variables(self, plan: Plan) -> None:
        """Variables that the command line does not name, and the other server reads."""
        for name in ("WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "PORT"):
            if name in self.environment:
                text = "wsgi-async reads it too"
                plan.add(self._source.name, name, self.environment[name], Verdict.TAKEN_OVER, text)


def _keep_specifiers(plan: Plan) -> None:
    """What has a specifier in it that only systemd knows, such as the instance ``%i``, can be said
    in the unit alone."""
    for name, value in list(plan.options.items()):
        texts = value if isinstance(value, list) else [value]
        if len(texts) == 1 and isinstance(texts[0], str) and _UNRESOLVED.search(texts[0]):
            plan.variables[name] = texts[0]
            del plan.options[name]
