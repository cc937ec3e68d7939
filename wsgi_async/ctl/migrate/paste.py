"""A PasteDeploy file, as ``pserve`` starts a server by it: its section [server:NAME]."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from wsgi_async.config.option import parse_bool
from wsgi_async.errors import ConfigError
from wsgi_async.foreign.paste_options import convert

from . import gunicorn, waitress
from .gunicorn_fates import Setting
from .report import Command, Plan, Source, Verdict
from .words import Given, Taking, Word, given, has_variable

__all__ = ["FLAGS", "is_paste", "read", "read_command"]

_OURS = "wsgi-async"
_SECTION = re.compile(r"\[([^\]]+)\]\s*")
_SERVED = re.compile(r"(?:app|application|composite|composit|pipeline|filter-app):")
_REFERENCE = re.compile(r"%\((\w+)\)s")

FLAGS: dict[str, Taking] = {
    **dict.fromkeys(("-n", "--app-name"), Taking("app_name")),
    **dict.fromkeys(("-s", "--server"), Taking("server")),
    "--server-name": Taking("server_name"),
    "--reload": Taking("reload", False),
    "--reload-interval": Taking("reload_interval"),
    **dict.fromkeys(("-b", "--browser"), Taking("browser", False)),
    **dict.fromkeys(("-v", "--verbose"), Taking("verbose", False)),
    **dict.fromkeys(("-q", "--quiet"), Taking("quiet", False)),
}
"""pserve's flags."""


class _Entry(NamedTuple):
    section: str
    key: str
    value: str
    line: int


def is_paste(source: Source) -> str:
    """Whether it is such a file, by its sections."""
    found = re.search(r"^\[(server:[^\]]+)\]", source.text, re.MULTILINE)
    return f"by its section [{found[1]}]" if found else ""


def read(source: Source) -> list[Plan]:
    """What the file comes to here."""
    plan = Plan()
    _fill(plan, source, "main", {})
    return [plan]


def read_command(command: Command) -> Plan:
    """What ``pserve FILE.ini [NAME=VALUE]...`` comes to here."""
    plan = Plan()
    names = {"server_name": "main", "app_name": ""}
    files: list[Word] = []
    variables: dict[str, str] = {}
    for each in given(command.words, FLAGS):
        if each.flag:
            _take(plan, each, names)
        elif "=" in each.value and files:
            name, _, variables[name] = each.value.partition("=")
            text = "as --paste-global"
            plan.add(each.where, "variable", each.value, Verdict.TAKEN_OVER, text)
        else:
            files.append(Word(each.value, each.where))
    if not files:
        raise ConfigError(f"{command.source.name}: pserve names no file")
    file = files[0]
    plan.application = f"{file.text}#{names['app_name']}" if names["app_name"] else file.text
    if variables:
        pairs = [f"{name}={value}" for name, value in variables.items()]
        if any(map(has_variable, pairs)):
            plan.variables["paste_global"] = "\n".join(pairs)
        else:
            plan.options["paste_global"] = pairs
        plan.besides_kept |= {"paste_global"}
    source = command.source.beside(file.text, command.directory)
    if source is None:
        plan.add(
            file.where,
            "the file",
            file.text,
            Verdict.MISSING,
            "it is not where this says, so that its settings are not in here: run migrate where it "
            "is, or give the file itself",
            matters=True,
        )
        return plan
    plan.files.append(source.name)
    _fill(plan, source, names["server_name"], variables)
    plan.kept = file.text
    return plan


def _take(plan: Plan, each: Given, names: dict[str, str]) -> None:
    setting = each.taking.setting if each.taking is not None else ""
    value = each.value if each.taking is not None and each.taking.takes_value else ""
    if setting in names:
        names[setting] = each.value
        plan.add(each.where, each.flag, value, Verdict.TAKEN_OVER)
    elif setting == "reload":
        plan.options["reload"] = True
        plan.besides_kept |= {"reload"}
        plan.add(each.where, each.flag, value, Verdict.TAKEN_OVER, "it needs wsgi_async[reload]")
    elif setting in ("reload_interval", "browser", "verbose", "quiet"):
        plan.add(
            each.where, each.flag, value, Verdict.WITHOUT_EFFECT, "there is no need of it here"
        )
    else:
        text = "the server is named in the file: see its section [server:main]"
        plan.add(each.where, each.flag, value, Verdict.MISSING, text, matters=True)


def _entries(source: Source) -> list[_Entry]:
    found: list[_Entry] = []
    section = ""
    for number, line in enumerate(source.text.splitlines(), 1):
        text = line.strip()
        if not text or text[0] in "#;":
            continue
        if match := _SECTION.fullmatch(text):
            section = match[1].strip()
        elif line[0].isspace() and found and found[-1].section == section:
            found[-1] = found[-1]._replace(value=f"{found[-1].value}\n{text}".strip())
        else:
            key, *rest = re.split(r"\s*[=:]\s*", text, maxsplit=1)
            if not rest:
                raise ConfigError(f"{source.name}, line {number}: expected KEY = VALUE")
            found.append(_Entry(section, key, rest[0], number))
    return found


def _fill(plan: Plan, source: Source, name: str, variables: Mapping[str, str]) -> None:
    entries = _entries(source)
    known = {entry.key: entry.value for entry in entries if entry.section == "DEFAULT"}
    known |= {"here": str(source.directory), "__file__": source.name, **variables}
    section = f"server:{name}"
    found = [
        entry._replace(
            value=_REFERENCE.sub(lambda match: known.get(match[1], match[0]), entry.value)
        )
        for entry in entries
        if entry.section == section
    ]
    if not found:
        raise ConfigError(f"{source.name} has no section [{section}]")
    plan.kept = source.name
    if plan.application is None:
        plan.application = source.name
    use = next((entry for entry in found if entry.key in ("use", "paste.server_runner")), None)
    match = re.match(r"(?:egg:|call:)?\s*([\w.-]+)", use.value) if use is not None else None
    plan.server = match[1].lower() if match else "PasteDeploy"
    if plan.server.replace("_", "-") == _OURS:
        plan.server = _OURS
    if use is not None:
        where = f"{source.name}:{use.line}"
        text = "write use = egg:wsgi_async#main where pserve is to start this server"
        plan.add(where, use.key, use.value, Verdict.TAKEN_OVER, text)
    settings = [entry for entry in found if entry is not use]
    if plan.server == "waitress":
        waitress.fill(plan, list(_as_flags(settings, source)), source.name)
    elif plan.server == "gunicorn":
        gunicorn.fill(plan, list(_as_settings(settings, source)), source.name)
    else:
        _others(plan, settings, source, use.value if use is not None else "")
    _beside(plan, source)


def _beside(plan: Plan, source: Source) -> None:
    """What else there is in the file, and is read as there."""
    sections = re.findall(r"^\[([^\]\n]+)\]", source.text, re.MULTILINE)
    served = [section for section in sections if _SERVED.match(section)]
    if served:
        text = "made by PasteDeploy, as there: it needs wsgi_async[paste]"
        plan.add(source.name, f"[{served[0]}]", "", Verdict.TAKEN_OVER, text)
    if "loggers" in sections:
        text = "logging is set up as the file says"
        plan.add(source.name, "[loggers]", "", Verdict.TAKEN_OVER, text)


def _as_flags(entries: Iterable[_Entry], source: Source) -> Iterable[Given]:
    for entry in entries:
        key = entry.key.replace("-", "_").lower()
        taking = waitress.FLAGS.get(f"--{key.replace('_', '-')}")
        value = entry.value
        if taking is not None and not taking.takes_value:
            value = "true" if value.lower() in ("t", "true", "y", "yes", "on", "1") else "false"
            taking = taking._replace(takes_value=True)
        yield Given(entry.key, value, f"{source.name}:{entry.line}", taking)


def _as_settings(entries: Iterable[_Entry], source: Source) -> Iterable[Setting]:
    address: dict[str, str] = {}
    where = ""
    for entry in entries:
        key, where = entry.key.replace("-", "_").lower(), f"{source.name}:{entry.line}"
        value: Any = entry.value
        if key in ("host", "port"):
            address[key] = value
            continue
        if value.lower() in ("true", "false"):
            value = parse_bool(value)
        elif key == "raw_env":
            value = [part.strip() for part in value.split(",")]
        yield Setting(key, value, where, entry.value)
    if address:
        text = _joined(address)
        yield Setting("bind", text, where, text)


def _joined(address: Mapping[str, str]) -> str:
    return f"{address.get('host', '127.0.0.1')}:{address.get('port', '8000')}"


def _others(plan: Plan, entries: Iterable[_Entry], source: Source, use: str) -> None:
    """The settings of this server, or of one that is not known."""
    address: dict[str, str] = {}
    own: dict[str, str] = {}
    for entry in entries:
        where, key = f"{source.name}:{entry.line}", entry.key.replace("-", "_").lower()
        if plan.server == _OURS:
            own[key] = entry.value
            plan.add(where, entry.key, entry.value, Verdict.TAKEN_OVER)
        elif key in ("host", "port"):
            address[key] = entry.value
            plan.add(where, entry.key, entry.value, Verdict.TAKEN_OVER, "as --bind")
        else:
            text = f"what {plan.server} makes of it is not known here: see --guide options"
            plan.add(where, entry.key, entry.value, Verdict.MISSING, text, matters=True)
    if address:
        plan.options["bind"] = [_joined(address)]
    options = dict(convert(own, use, source.name, {}).options)
    host, port = options.pop("host", None), options.pop("port", None)
    if host is not None or port is not None:
        options["bind"] = [f"{host or 'localhost'}:{port or 8000}"]
    plan.options |= options
