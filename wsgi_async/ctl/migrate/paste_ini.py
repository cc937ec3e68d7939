"""What the section [server:main] of a PasteDeploy file comes to.

The application stays where it is described, and the file can be read as it is by ``wsgi-async -c``.
PasteDeploy itself is not needed for the report: no section is loaded for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import NamedTuple

from wsgi_async.config.option import did_you_mean
from wsgi_async.config.paste_spec import MAIN
from wsgi_async.errors import ConfigError
from wsgi_async.foreign.gunicorn import OPTIONS, SETTINGS, options_of
from wsgi_async.foreign.paste import is_application
from wsgi_async.foreign.paste_options import Speaker, places_in, speaker_of
from wsgi_async.foreign.waitress import is_true
from wsgi_async.system.sockets import DEFAULT_PORT

from . import gunicorn, waitress
from .checked import KNOWN, address_by_default, joined
from .gunicorn_fates import Setting
from .report import Plan, Source, Verdict
from .words import Given, has_variable

__all__ = ["fill", "sections_of"]

_SECTION = re.compile(r"\[([^\]]+)\]")
_PAIR = re.compile(r"([^=:\s][^=:]*?)\s*[=:]\s*(.*)")
_REFERENCE = re.compile(r"%(?:\(([^)]*)\)s|%)")
_DEPTH = 8
"""Sections that one may lead to by ``use``, and references that one may lead to."""
_NOT_HERE = ("app", "config", "factory", "paste_global")


class _Line(NamedTuple):
    value: str
    where: str


Sections = dict[str, dict[str, _Line]]


def fill(
    plan: Plan,
    source: Source,
    *,
    application: str = "",
    server: str = "",
    variables: Mapping[str, str] | None = None,
    name: str = "",
) -> None:
    """Put what the file says into the plan.

    :param application: NAME of its section, where it is said.
    :param server: likewise.
    :param variables: what the file may refer to.
    :param name: what to call the file on a command line; empty where the source's name is that.
    """
    file = name or source.name
    sections = sections_of(source)
    plan.application = plan.kept = f"{file}#{application}" if application else file
    own = application or MAIN
    applications = [name for name in sections if is_application(name)]
    found = [name for name in applications if name.partition(":")[2].strip() == own]
    for name in found:
        text = "the application, which is loaded in each process; it needs wsgi_async[paste]"
        plan.add(_where(source, name), f"[{name}]", "", Verdict.TAKEN_OVER, text)
    if not found:
        names = ", ".join(name.partition(":")[2].strip() for name in applications)
        text = "there is no such section, and so nothing to serve"
        text += f": write {file}#NAME, of which there are {names}" if names else ""
        plan.add(source.name, f"[app:{own}]", "", Verdict.MISSING, text, matters=True)
    if "loggers" in sections:
        text = "as --log-config, unless another one is named"
        plan.add(_where(source, "loggers"), "[loggers]", "", Verdict.TAKEN_OVER, text)
    name = f"server:{server or own}"
    if name not in sections and not server:
        name = f"server:{MAIN}"
    if name in sections:
        _Section(plan, source, variables or {}).fill(name, sections)
        return
    text = f"not there: without it a server listens on {address_by_default()}"
    plan.add(source.name, f"[{name}]", "", Verdict.CHANGED, text)


def _where(source: Source, section: str) -> str:
    for number, line in enumerate(source.text.split("\n"), 1):
        if line.startswith(f"[{section}]"):
            return f"{source.name}:{number}"
    return source.name


def sections_of(source: Source) -> Sections:
    """Settings by section and name; a later one of a name counts."""
    found: Sections = {}
    current: dict[str, _Line] | None = None
    key = ""
    for number, raw in enumerate(source.text.split("\n"), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if match := _SECTION.match(raw):
            current, key = found.setdefault(match[1], {}), ""
        elif current is None:
            continue
        elif raw[0] in " \t" and key:
            current[key] = current[key]._replace(value=f"{current[key].value}\n{line}".strip())
        elif match := _PAIR.fullmatch(line):
            key = match[1].strip()
            current[key] = _Line(match[2], f"{source.name}:{number}")
    return found


class _Section:
    """One reading of a server's section."""

    def __init__(self, plan: Plan, source: Source, variables: Mapping[str, str]) -> None:
        self._plan = plan
        self._source = source
        self._variables = variables
        self._waitress: list[Given] = []
        self._gunicorn: list[Setting] = []
        self._address: dict[str, _Line] = {}

    def fill(self, name: str, sections: Sections) -> None:
        lines, use = self._followed(name, sections, self._source, _DEPTH)
        speaker = speaker_of(use)
        for key, line in lines.items():
            self._take(key.replace("-", "_").lower(), line, speaker)
        self._finish(speaker, _where(self._source, name))

    # --- What stands there, and where that leads to

    def _followed(
        self, name: str, sections: Sections, source: Source, depth: int
    ) -> tuple[dict[str, _Line], str]:
        """The settings of a section, references resolved, and those that its ``use`` leads to; and
        what that says at its end."""
        lines = self._resolved(name, sections, source)
        line = lines.pop("use", _Line("", ""))
        use = line.value
        if not use or not depth:
            return lines, ""
        if re.match(r"(?:egg|call):", use, re.IGNORECASE):
            is_ours = speaker_of(use) is Speaker.OURS
            text = "" if is_ours else "-c passes over it; for pserve write egg:wsgi_async#main"
            self._plan.add(line.where, "use", use, Verdict.TAKEN_OVER, text)
            return lines, use
        other: Source | None = source
        section = use
        if use.startswith("config:"):
            file, _, section = use.removeprefix("config:").partition("#")
            other = source.beside(file)
            if other is None:
                text = f"{file} is not here to be read: what it says is left out"
                self._plan.add(line.where, "use", use, Verdict.CHANGED, text, matters=True)
                return lines, ""
            self._plan.files.append(other.name)
            sections = sections_of(other)
        assert other is not None
        below, use = self._followed(f"server:{section or MAIN}", sections, other, depth - 1)
        return {**below, **lines}, use

    def _resolved(self, name: str, sections: Sections, source: Source) -> dict[str, _Line]:
        known = {key: line.value for key, line in sections.get("DEFAULT", {}).items()}
        lines = {
            key.removeprefix("set ").strip(): line
            for key, line in sections.get(name, {}).items()
            if key not in known  # else PasteDeploy takes it for that one
        }
        known |= {key: line.value for key, line in lines.items()}
        known |= {"here": str(PurePath(source.name).parent), "__file__": source.name}
        known |= self._variables
        resolved = {}
        for key, line in lines.items():
            try:
                resolved[key] = line._replace(value=_resolved(line.value, known))
            except KeyError as missing:
                text = f"it is left out: beside -c say --paste-global {missing.args[0]}=VALUE"
                self._plan.add(line.where, key, line.value, Verdict.CHANGED, text, matters=True)
        return resolved

    # --- What becomes of it

    def _take(self, key: str, line: _Line, speaker: Speaker) -> None:
        plan, value = self._plan, line.value
        is_ours = speaker is Speaker.OURS
        flag = f"--{key.replace('_', '-')}"
        if key in ("host", "port") and speaker is not Speaker.WAITRESS:
            self._address[key] = line
        elif is_ours and key in KNOWN and key not in _NOT_HERE:
            if has_variable(value):
                plan.variables[key] = value
            else:
                plan.options[key] = value.split(",") if key == "bind" else value
            plan.add(line.where, key, value, Verdict.TAKEN_OVER)
        elif is_ours and key in OPTIONS:
            self._convert(key, line)
        elif speaker in (Speaker.OURS, Speaker.GUNICORN) and key in SETTINGS:
            given = {"true": True, "false": False}.get(value.lower(), value)
            self._gunicorn.append(Setting(key, given, line.where, value))
        elif speaker in (Speaker.OURS, Speaker.WAITRESS) and flag in waitress.FLAGS:
            taking = waitress.FLAGS[flag]
            if not taking.takes_value:
                taking = taking._replace(takes_value=True)
                value = "true" if is_true(value) else "false"
            self._waitress.append(Given(key, value, line.where, taking))
        elif speaker is Speaker.OTHER:
            text = "what its server makes of it is not known here: see --guide options"
            plan.add(line.where, key, value, Verdict.MISSING, text, matters=True)
        else:
            hint = did_you_mean(key, list(KNOWN)).removeprefix(" Did you mean ").removesuffix("?")
            text = "no such setting is known here" + (f", but {hint} is" if hint else "")
            plan.add(line.where, key, value, Verdict.MISSING, text, matters=True)

    def _convert(self, key: str, line: _Line) -> None:
        """A setting by gunicorn's name that means what our option does."""
        try:
            options, _ = options_of({key: line.value}, line.where)
        except ConfigError as error:
            text = str(error).partition(": ")[2]
            self._plan.add(line.where, key, line.value, Verdict.MISSING, text, matters=True)
            return
        self._plan.options |= options
        text = "".join(f"as {KNOWN[name].flag}" for name in options)
        verdict = Verdict.TAKEN_OVER if options else Verdict.WITHOUT_EFFECT
        self._plan.add(line.where, key, line.value, verdict, text or "there is no need of it here")

    def _finish(self, speaker: Speaker, where: str) -> None:
        plan = self._plan
        if self._gunicorn or speaker is Speaker.GUNICORN:
            part = Plan()
            gunicorn.fill(part, self._gunicorn, where)
            self._put(part, speaker, where)
        if self._waitress or speaker is Speaker.WAITRESS:
            part = Plan()
            waitress.fill(part, self._waitress, where)
            self._put(part, speaker, where)
        if self._address:
            host = self._address.get("host", _Line("", "")).value or "localhost"
            port = self._address.get("port", _Line(str(DEFAULT_PORT), "")).value
            is_alone = "port" not in self._address and not has_variable(host)
            places = (places_in(host) if is_alone else []) or [joined(host, port)]
            if has_variable(f"{host}{port}"):
                plan.variables["bind"] = "\n".join(places)
            else:
                plan.options["bind"] = places
            for key, line in self._address.items():
                plan.add(line.where, key, line.value, Verdict.TAKEN_OVER, "as --bind")

    def _put(self, part: Plan, speaker: Speaker, where: str) -> None:
        """Take over what becomes of settings in another server's words.

        What that server has where nothing is said is of no account under ours.
        """
        if speaker is Speaker.OURS:
            part.findings = [each for each in part.findings if each.value or each.where != where]
            if {each.flag for each in self._waitress}.isdisjoint(("listen", "unix_socket")):
                part.options.pop("bind", None)
        plan = self._plan
        plan.options |= part.options
        plan.variables |= part.variables
        plan.besides_kept |= part.besides_kept
        plan.needs_kept = plan.needs_kept or part.needs_kept
        plan.without += part.without
        plan.findings += part.findings


def _resolved(text: str, known: Mapping[str, str], depth: int = _DEPTH) -> str:
    """The text with its references.

    :raises KeyError: one is not known, or leads to itself.
    """

    def put(match: re.Match[str]) -> str:
        if match[1] is None:
            return "%"
        if not depth:
            raise KeyError(match[1])
        return _resolved(known[match[1]], known, depth - 1)

    return _REFERENCE.sub(put, text)
