"""gunicorn's settings, wherever they stand, as a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wsgi_async.errors import ConfigError
from wsgi_async.foreign.gunicorn import OPTIONS, REFUSED, SETTINGS, options_of, script_name
from wsgi_async.foreign.gunicorn_logs import LOG_SETTINGS, log_options
from wsgi_async.foreign.hooks import HOOKS

from .checked import KNOWN
from .gunicorn_fates import FATES, Fate, Setting, Settings
from .gunicorn_judges import JUDGES, is_sync
from .report import COMMAND, Plan, Verdict
from .rules import single_threaded
from .words import names_alone, with_defaults

__all__ = ["fill"]

_READ_ANYWAY = {"bind": "$PORT", "workers": "$WEB_CONCURRENCY"}
"""What ``wsgi-async`` reads without being told: for which setting, and which variable."""

_ALL_INTERFACES = ("0.0.0.0", "[::]", "", "*", "::")


def fill(
    plan: Plan, found: Sequence[Setting], name: str, environ: Mapping[str, str] | None = None
) -> None:
    """Put what the settings come to into the plan.

    :param found: in the order in which they are read; the last of a name counts.
    :param name: of the source, for what is not written there.
    :param environ: variables that are known to be set.
    """
    settings = {setting.name: setting for setting in found}
    for setting in found:
        if (last := settings[setting.name]) is not setting:
            where = "the command line" if last.where == COMMAND else last.where
            text = f"what {where} says counts"
            _say(plan, setting, Fate(Verdict.WITHOUT_EFFECT, text))
    given: dict[str, Any] = {}
    for setting in settings.values():
        fate = _fate(plan, setting, settings)
        plan.options |= fate.options
        plan.besides_kept |= fate.options.keys()
        converted = _converted(setting, fate)
        if isinstance(converted, ConfigError):
            _say(plan, setting, Fate(Verdict.MISSING, str(converted).partition(": ")[2], True))
            continue
        given |= converted
        _say(plan, setting, fate)
    options, _ = options_of(given, name)
    if given.get("control_socket_disable"):
        options["control_socket"] = ""
    plan.options |= options
    _logs(plan, settings, name)
    application = plan.options.pop("app", None)
    if application and not plan.application:
        plan.application = str(application)
    raw_env = settings.get("raw_env")
    if path := script_name(raw_env.value if raw_env else None, environ or {}):
        plan.options["root_path"] = path
        plan.add(name, "SCRIPT_NAME", path, Verdict.TAKEN_OVER, "as --root-path")
    _defaults(plan, settings, name)


def _fate(plan: Plan, setting: Setting, settings: Settings) -> Fate:
    if setting.name in HOOKS:
        if setting.is_known and setting.value is None:
            return Fate(Verdict.TAKEN_OVER)
        plan.needs_kept = "the hooks in it"
        return Fate(
            Verdict.TAKEN_OVER,
            "called as there, as long as the file is kept: TOML has no functions",
        )
    if setting.name not in SETTINGS:
        return Fate(Verdict.MISSING, "no such flag of gunicorn is known here", True)
    if not setting.is_known:
        return _unknown(plan, setting)
    if _is_nothing(setting):
        return Fate(Verdict.TAKEN_OVER, is_left_out=True)
    if setting.name in REFUSED and setting.name not in OPTIONS:
        if not setting.flag:
            plan.without.append(setting.name)
        return Fate(Verdict.MISSING, REFUSED[setting.name], True)
    if setting.name in JUDGES:
        fate = JUDGES[setting.name](setting, settings)
    elif setting.name in FATES:
        fate = FATES[setting.name]
    else:
        fate = Fate(Verdict.TAKEN_OVER)
    option = OPTIONS.get(setting.name)
    if option is not None and option not in KNOWN and fate == Fate(Verdict.TAKEN_OVER):
        fate = Fate(Verdict.WITHOUT_EFFECT, "there is no need of it here")
    return _from_variable(plan, setting, fate)


def _is_nothing(setting: Setting) -> bool:
    """Whether it says that there is to be nothing of it, or what is so anyway."""
    if setting.name in OPTIONS:
        spec = KNOWN.get(OPTIONS[setting.name])
        is_zero = str(setting.value) == "0" and spec is not None and spec.default == 0
        return setting.value is None or setting.value is False or is_zero
    if setting.name == "sendfile":
        return setting.value in (None, True)
    return not setting.value


def _unknown(plan: Plan, setting: Setting) -> Fate:
    """Of a setting whose value nobody knows who does not run the code, or see the variable."""
    option = OPTIONS.get(setting.name)
    fate = FATES.get(setting.name)
    if fate is not None and fate.verdict is Verdict.WITHOUT_EFFECT:
        return fate
    if setting.variable and option in KNOWN:
        return _from_variable(plan, setting, Fate(Verdict.TAKEN_OVER))
    return Fate(
        Verdict.CHANGED,
        setting.note or "what it comes to cannot be seen here: keep the file, or see --execute",
        True,
    )


def _from_variable(plan: Plan, setting: Setting, fate: Fate) -> Fate:
    """With what is to be said of how its value was found, and of variables in it."""
    option = OPTIONS.get(setting.name, "")
    if setting.note:
        fate = fate._replace(text=_joined(setting.note, fate.text))
    if not setting.variable or option not in KNOWN or fate.is_left_out:
        return fate
    anyway = _READ_ANYWAY.get(setting.name)
    host, colon, port = names_alone(setting.variable).rpartition(":")
    is_read_anyway = port == anyway and host in (_ALL_INTERFACES if colon else ("",))
    default = with_defaults(setting.variable)
    if is_read_anyway and default is None and not plan.kept:  # what the kept file says would win
        said = f"wsgi-async reads {anyway} without being told"
        return fate._replace(text=_joined(said, fate.text), is_left_out=True)
    plan.variables[option] = setting.variable
    said = "the variable says it" if default is None else f"{default} where no variable says it"
    if is_read_anyway:
        said += f", and where this option is left out wsgi-async reads {anyway} itself"
    return fate._replace(text=_joined(said, fate.text))


def _converted(setting: Setting, fate: Fate) -> dict[str, Any] | ConfigError:
    """The setting, where it is an option of ours; or why it cannot be."""
    if setting.name == "control_socket_disable":
        return {setting.name: setting.value}
    if setting.name not in OPTIONS or fate.is_left_out or setting.value is None:
        return {}
    if not setting.is_known or fate.verdict is Verdict.MISSING:
        return {}
    try:
        options, _ = options_of({setting.name: setting.value}, setting.where)
        for option, value in options.items():
            KNOWN[option].parse(value)
    except ConfigError as error:
        return error
    return {setting.name: setting.value} if options else {}


def _say(plan: Plan, setting: Setting, fate: Fate) -> None:
    text = fate.text
    option = OPTIONS.get(setting.name, "")
    if not text and fate.verdict is Verdict.TAKEN_OVER and option in KNOWN:
        spec = KNOWN[option]
        is_named_so = setting.flag in (*spec.flags, spec.flag, *spec.aliases)
        if not is_named_so and option not in (setting.name, "app"):
            text = f"as {spec.flag}"
    plan.add(
        setting.where,
        setting.flag or setting.name,
        setting.written,
        fate.verdict,
        text,
        matters=fate.matters,
    )


def _logs(plan: Plan, settings: Settings, name: str) -> None:
    """Where logs go, which several settings say together."""
    given = {
        setting.name: setting.value
        for setting in settings.values()
        if setting.name in LOG_SETTINGS and setting.is_known
    }
    title = settings["proc_name"].value if "proc_name" in settings else None
    try:
        options, _ = log_options(given, str(plan.options.get("chdir", "")), str(title or ""), name)
    except ConfigError as error:  # a file that is elsewhere
        plan.add(name, "logging", "", Verdict.MISSING, str(error), matters=True)
        return
    plan.options |= options
    if "log_syslog_to" in options:
        prefix = options["log_syslog_prefix"]
        plan.add(
            name,
            "syslog",
            "",
            Verdict.CHANGED,
            f"messages are of {prefix} and {prefix}.access here, and of gunicorn.NAME.error and "
            "gunicorn.NAME.access there, which filters of the syslog may go by. The access log "
            "goes there where --access-logfile is set",
        )


def _defaults(plan: Plan, settings: Settings, name: str) -> None:
    """What is not written, and differs."""
    is_green = plan.options.get("threads") and "threads" not in settings
    if "threads" not in settings and not is_green:
        rule = single_threaded("gunicorn")
        plan.add(name, "threads", "", rule.verdict, rule.text)
    if "timeout" not in settings and is_sync(settings):
        plan.add(
            name,
            "timeout",
            "",
            Verdict.CHANGED,
            "not set, where gunicorn kills a worker that is at a request for longer than 30 s; "
            "here a request takes as long as it likes without --request-timeout",
        )


def _joined(*texts: str) -> str:
    return "; ".join(text for text in texts if text)
