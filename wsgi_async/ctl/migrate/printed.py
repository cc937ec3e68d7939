"""The report as text: the command line and ``wsgi_async.toml`` to use, and each setting."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from wsgi_async.config.option import Option
from wsgi_async.config.tls_options import password_file
from wsgi_async.config.written import as_toml, as_words, flag_of
from wsgi_async.ctl.text import Paint, Screen, clean, cut, many

from .checked import KNOWN
from .masked import HIDDEN, masked, masked_pair, masked_prose
from .report import Finding, Plan, Quoting, Verdict
from .words import has_variable, with_defaults

__all__ = ["describe", "toml_lines"]

WIDTH = 100
"""Columns of prose where no terminal says how many there are."""

_LONGEST = 80
"""Columns of a value as it is written."""

_NO_APP = "APP"


def describe(plan: Plan, screen: Screen) -> list[str]:
    """The lines of the report on one plan.

    :param plan: checked.
    """
    width = screen.width or WIDTH
    shown = _shown(plan)
    proposals = _proposals(plan, shown)
    lines: list[str] = []
    for head, body in proposals:
        lines += ["", screen.painted(f"{head}:", Paint.HEAD), *(f"  {line}" for line in body)]
    has_secret = any(HIDDEN in line for _, body in proposals for line in body)
    lines += _notes(plan, width, has_secret=has_secret)
    findings = _in_order(plan.findings)
    for verdict in Verdict:
        found = [finding for finding in findings if finding.verdict is verdict]
        if found:
            lines += ["", screen.painted(f"{verdict.value} ({len(found)}):", Paint.HEAD)]
        for finding in found:
            lines += _finding_lines(finding, plan.between, screen, width)
    return [*lines, "", *_end_lines(plan, screen, width)]


def _proposals(plan: Plan, shown: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """What to write, in one way or another."""
    kept, table = _kept_line(plan, shown), toml_lines(plan)
    be = "is" if len(plan.without) == 1 else "are"
    once = f", once {' and '.join(plan.without)} {be} out of it" if plan.without else ""
    beside = f"{plan.file}, in the directory where the server starts"
    if plan.needs_kept:
        found = [(f"With the file, for the sake of {plan.needs_kept}{once}", [kept])]
        return [*found, (f"Without it, {beside}", table)] if table else found
    has_table = any(isinstance(value, Mapping) for value in plan.options.values())
    words = [] if has_table else _option_words(plan, shown)
    line = _placed(plan, [plan.program, *words, *_application(plan)])
    found = [("The command line", [line])]
    if table:
        start = "With" if has_table else "Or"
        short = "" if has_table else f", for `{_short(plan)}`"
        found.append((f"{start} {beside}{short}", table))
    if plan.kept:
        found.append((f"Or with the file{once or ' as it is'}", [kept]))
    return found


# --- The command line


def _option_words(plan: Plan, shown: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for name, spec in KNOWN.items():
        if name == "app":
            continue
        words += _words_of(plan, spec, shown)
    return words


def _words_of(plan: Plan, spec: Option, shown: Mapping[str, Any]) -> list[str]:
    """The words of one option; none where nobody says it."""
    if spec.name in plan.variables:
        texts = [masked(spec.name, text) for text in plan.variables[spec.name].split("\n")]
        return [
            word
            for text in texts
            for word in (flag_of(spec), _Shell(text) if has_variable(text) else text)
        ]
    return as_words(spec, shown[spec.name]) if spec.name in shown else []


def _kept_line(plan: Plan, shown: Mapping[str, Any]) -> str:
    """The command line that has the other server's file read."""
    words = [plan.program, "-c", plan.kept]
    for name, spec in KNOWN.items():
        if name in plan.besides_kept:
            words += _words_of(plan, spec, shown)
    application = [] if ".ini" in plan.kept else _application(plan)
    return _placed(plan, [*words, *application])


def _short(plan: Plan) -> str:
    """The command line beside a file that says the rest."""
    named = [] if plan.file == Plan().file else ["-c", plan.file]
    return _placed(plan, [plan.program, *named, *([] if plan.application else _application(plan))])


def _application(plan: Plan) -> list[str]:
    if "app" in plan.variables:
        return [_Shell(plan.variables["app"])]
    if plan.application:
        return [_masked_application(plan)]
    has_others = plan.options.get("mount") or plan.options.get("static")
    return [] if has_others or ".ini" in plan.kept else [_NO_APP]


def _masked_application(plan: Plan) -> str:
    return masked("", plan.application or "")


class _Shell(str):
    """A word with variables, which a shell is to put in."""

    __slots__ = ()


def _placed(plan: Plan, words: Iterable[str]) -> str:
    """The line in which the command stands."""
    pairs = [f"{name}={_quoted(masked(name, text))}" for name, text in plan.environment.items()]
    if plan.quoting is Quoting.SYSTEMD:
        words = [_for_systemd(word) for word in words]
    before = [masked("", word) for word in plan.before]
    command = " ".join((*pairs, *before, *map(_quoted, words)))
    command = plan.inside.replace("{command}", command)
    if plan.wrapper:
        command = " ".join((*plan.wrapper, shlex.quote(command)))
    return clean(plan.place.replace("{command}", command))


def _for_systemd(word: str) -> str:
    doubled = re.sub(r"%(?![A-Za-z])", "%%", word)  # and not in %i, the instance
    if not isinstance(word, _Shell):
        return doubled
    default = with_defaults(doubled)
    return default if default is not None else _Shell(doubled)


def _quoted(word: str) -> str:
    if not isinstance(word, _Shell):
        return shlex.quote(word)
    rest = word.translate(dict.fromkeys(map(ord, "${}")))
    if shlex.quote(rest) == rest:
        return str(word)
    escaped = re.sub(r'["`]', lambda match: f"\\{match[0]}", word)
    return f'"{escaped}"'


# --- wsgi_async.toml


def toml_lines(plan: Plan) -> list[str] | None:
    """The lines of the file; None where TOML cannot say something that is in it."""
    lines = []
    shown = _shown(plan)
    if plan.application:
        shown = {"app": _masked_application(plan), **shown}
    for name, spec in KNOWN.items():
        if name in shown:
            try:
                line = f"{name} = {as_toml(spec, shown[name])}"
            except ValueError:
                return None
            if name in plan.variables:
                line += f"  # or ${_variable(spec)}, from {_masked_variable(plan, name)}"
            lines.append(clean(line))
        elif name in plan.variables:
            text = f"# {name}: set ${_variable(spec)} to {_masked_variable(plan, name)}"
            lines.append(clean(text))
    return lines


def _variable(spec: Option) -> str:
    return f"WSGI_ASYNC_{spec.name.upper()}"


def _masked_variable(plan: Plan, name: str) -> str:
    texts = [masked(name, text) for text in plan.variables[name].split("\n")]
    return KNOWN[name].separator.join(texts)


def _shown(plan: Plan) -> dict[str, Any]:
    """The options without what is secret in them."""
    return {name: _hidden(KNOWN[name], value) for name, value in plan.options.items()}


def _hidden(spec: Option, value: Any) -> Any:
    if spec.is_secret and value and password_file(value) is None:
        return HIDDEN
    if spec.name == "env":
        return tuple(map(masked_pair, value))
    if isinstance(value, Mapping):
        return _hidden_table(value)
    if isinstance(value, str):
        return masked("", value)
    if spec.kind == "texts" and value is not None:
        return tuple(masked("", text) for text in value)
    return value


def _hidden_table(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {name: _hidden_table(part, str(name)) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden_table(part, key) for part in value]
    return masked(key, value) if isinstance(value, str) else value


# --- What is said


def _notes(plan: Plan, width: int, *, has_secret: bool) -> list[str]:
    notes = []
    if _application(plan) == [_NO_APP]:
        notes.append(f"{_NO_APP} is the application, module:object; nothing here names it.")
    if has_secret:
        notes.append(
            f"What is shown as {HIDDEN} is a secret: write it in yourself, or better into a file "
            "for --env-file."
        )
    return [line for note in notes for line in ("", *textwrap.wrap(note, width))]


def _in_order(findings: list[Finding]) -> list[Finding]:
    """As they stand in their files: what is not written in one comes last."""
    names = list(dict.fromkeys(finding.where.rpartition(":")[0] for finding in findings))

    def place(finding: Finding) -> tuple[int, int]:
        name, _, line = finding.where.rpartition(":")
        if not line.isdecimal():
            return len(names), 0
        return names.index(name), int(line)

    return sorted(findings, key=place)


def _finding_lines(finding: Finding, between: str, screen: Screen, width: int) -> list[str]:
    value = masked(finding.setting, " ".join(finding.value.split()))
    setting = masked("", finding.setting)  # a word that is none may be a value
    if value:
        setting = f"{setting}{between}{value}"
    if finding.setting.startswith("-") and value:
        setting = f"{finding.setting} {value}"
    mark = "!" if finding.matters else " "
    head = f"{mark} {clean(finding.where)}  {cut(clean(setting), _LONGEST)}"
    paint = Paint.BAD if finding.matters else Paint.PLAIN
    text = clean(masked_prose(finding.text))
    if text and not text.endswith((".", "?")):
        text += "."
    wrapped = textwrap.wrap(
        text, width, initial_indent=" " * 6, subsequent_indent=" " * 6, break_on_hyphens=False
    )
    return [screen.painted(head, paint), *wrapped]


def _end_lines(plan: Plan, screen: Screen, width: int) -> list[str]:
    count = sum(finding.matters for finding in plan.findings)
    if not count:
        return [screen.painted("Nothing of consequence is lost.", Paint.GOOD)]
    wait = "waits" if count == 1 else "wait"
    text = f"Before the move {many(count, 'setting')} {wait} for a decision: the lines with !"
    return [screen.painted(line, Paint.BAD) for line in textwrap.wrap(text, width)]
