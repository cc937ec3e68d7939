"""A PasteDeploy file, and the command line of ``pserve``, which starts a server by it."""

from __future__ import annotations

from wsgi_async.config.paste_spec import MAIN, PasteSpec, paste_spec
from wsgi_async.errors import ConfigError
from wsgi_async.foreign.paste import is_paste as is_pastes

from . import paste_ini
from .report import Command, Plan, Source, Verdict
from .rules import FILE_ELSEWHERE
from .words import Given, Taking, Word, given, has_variable

__all__ = ["FLAGS", "is_paste", "read", "read_command"]

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


def is_paste(source: Source) -> str:
    """Whether it is such a file, by its sections; or, where its name says no other, by that of an
    application alone."""
    sections = list(paste_ini.sections_of(source))
    if not source.name.endswith(".ini"):
        sections = [name for name in sections if name.startswith("server:")]
    first = next((name for name in sections if is_pastes([name])), "")
    return f"by its section [{first}]" if first else ""


def read(source: Source) -> list[Plan]:
    """What the file comes to here."""
    plan = Plan()
    paste_ini.fill(plan, source)
    return [plan]


def read_command(command: Command) -> Plan:
    """What ``pserve FILE.ini [NAME=VALUE]...`` comes to here."""
    plan = Plan()
    names = {"server_name": "", "app_name": ""}
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
    spec = paste_spec(file.text.removeprefix("config:")) or PasteSpec(file.text, "")
    application = names["app_name"] or spec.name
    plan.application = f"{spec.file}#{application}" if application else spec.file
    if variables:
        pairs = [f"{name}={value}" for name, value in variables.items()]
        if any(map(has_variable, pairs)):
            plan.variables["paste_global"] = "\n".join(pairs)
        else:
            plan.options["paste_global"] = pairs
        plan.besides_kept |= {"paste_global"}
    source = command.source.beside(spec.file, command.directory)
    if source is None:
        plan.add(
            file.where,
            "the file",
            file.text,
            Verdict.MISSING,
            FILE_ELSEWHERE.text,
            matters=True,
        )
        return plan
    plan.files.append(source.name)
    server = names["server_name"]
    paste_ini.fill(
        plan, source, application=application, server=server, variables=variables, name=spec.file
    )
    if server and server != (application or MAIN):
        text = f"-c reads [server:{MAIN}]: what [server:{server}] says is written out here"
        plan.add(file.where, "--server-name", server, Verdict.CHANGED, text)
        plan.kept = ""
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
