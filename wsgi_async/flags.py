"""The flags of the command line, for click: all that it takes, in every spelling, and its help.

Imported where words are not as plain as :mod:`wsgi_async.config.plain` takes them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import click

from .config import other_servers, tls_options
from .config.metrics_address import other_address
from .config.option import OFF, Option, did_you_mean
from .config.options import ALL_OPTIONS, in_groups
from .config.paste_spec import paste_spec
from .errors import ConfigError
from .system.syslog import DEFAULT_SYSLOG

__all__ = ["NO_TOPIC", "Flag", "flags", "parse"]

NO_TOPIC = "topics"

_ACTIONS = (
    ("check_config", "Load the configuration and the application, say whether both are good."),
    ("print_config", "Print each option (as TOML) with its value and where that comes from."),
    ("version", "Print the versions of the server and of what it runs on."),
)
_UNUSED = "unused_"
_UWSGI_SOCKETS = ("fastcgi_socket", "http", "http_socket", "scgi_socket", "socket", "uwsgi_socket")


class _Flag(click.Option):
    """An option of the command line, with the hidden spellings that mean the same."""

    def __init__(self, spec: Option) -> None:
        self.spec = spec
        long = f"{spec.flag}/--no-{spec.flag[2:]}" if spec.kind == "bool" else spec.flag
        self.shown = ", ".join((*spec.flags, long.replace("/", " / ")))
        names = [*spec.flags, long, *spec.aliases]
        if spec.bare:
            names.append(_negated(spec))
        if spec.kind == "bool":
            # Without a default, so that the parameter's source tells whether it was given.
            super().__init__([spec.name, *names], default=None)
        else:
            super().__init__([spec.name, *names], type=str, multiple=spec.kind == "texts")

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        spec = self.spec
        suffix = f"  [{spec.shown_default}]" if spec.shown_default else ""
        return f"{self.shown} {_metavar(spec)}".rstrip(" "), spec.help + suffix


def _metavar(spec: Option) -> str:
    if spec.bare:
        return f"[{_value_name(spec)}]"
    return _value_name(spec)


def _value_name(spec: Option) -> str:
    if spec.kind == "bool":
        return ""
    return spec.metavar or {
        "choice": "|".join(spec.choices),
        "duration": "TIME",
        "size": "SIZE",
        "mode": "MODE",
        "number": "N",
    }.get(spec.kind, "TEXT")


def _negated(spec: Option) -> str:
    return f"--no-{spec.flag[2:]}"


def _with_uwsgis_letters(args: list[str]) -> list[str]:
    """The arguments, where with an address of uWSGI's ``-w`` names a module and ``-p`` is a number
    of processes, if they can be nothing else: there is no number ``app``, and no pid file ``4``."""
    pairs = list(itertools.pairwise([*itertools.takewhile("--".__ne__, args), ""]))
    of_uwsgi = {f"--{name.replace('_', '-')}" for name in _UWSGI_SOCKETS} | {"-s"}
    if not any(
        flag in of_uwsgi and (value if equals else following) not in other_servers.UVICORN_HTTP
        for word, following in pairs
        for flag, equals, value in [word.partition("=")]
    ):
        return args
    words = [
        "--module"
        if word == "-w" and following[:1].isalpha()
        else "--processes"
        if word == "-p" and following.isdigit()
        else word
        for word, following in pairs
    ]
    return [*words, *args[len(words) :]]


def _filled(args: list[str], options: Iterable[Option] = ALL_OPTIONS) -> list[str]:
    """The arguments, where a flag that may stand alone has its value in any case: what follows it
    may be APP, and click would take that."""
    optional = {name: spec for spec in options if spec.bare for name in _optional_names(spec)}
    negated = {_negated(spec): spec for spec in options if spec.bare}
    filled: list[str] = []
    for number, word in enumerate(args):
        if word == "--":
            return [*filled, *args[number:]]
        spec = optional.get(word)
        if spec is not None and not (
            args[number + 1 : number + 2] and spec.takes_word(args[number + 1])
        ):
            word = f"{spec.flag}={spec.bare}"
        elif word in negated:
            word = f"{negated[word].flag}={OFF}"
        filled.append(word)
    return filled


def _not_taken(args: Sequence[str], options: Iterable[Option] = ALL_OPTIONS) -> list[str]:
    """Of words that follow a flag that may stand alone, and were no values of it, so that they went
    for APP: what the flag takes."""
    optional = {name: spec for spec in options if spec.bare for name in _optional_names(spec)}
    said = []
    for word, following in itertools.pairwise(itertools.takewhile("--".__ne__, args)):
        if word in optional and following[:1] != "-":
            try:
                optional[word].parse(following)
            except ConfigError as error:
                said.append(str(error))
    return said


def _optional_names(spec: Option) -> tuple[str, ...]:
    return (spec.flag, *spec.flags, *spec.aliases)


class _Command(click.Command):
    """The command; in its help everyday options come first, the others by what they are about."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        everyday: list[tuple[str, str]] = []
        sections: dict[str, list[tuple[str, str]]] = {"Everyday options": everyday}
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        records = {
            param.spec.name: param.get_help_record(ctx)
            for param in options
            if isinstance(param, _Flag)
        }
        for group, specs in in_groups().items():
            rest: list[tuple[str, str]] = []
            sections[group.value] = rest
            for spec in specs:
                (everyday if spec.is_everyday else rest).append(records[spec.name])
        others = [param.get_help_record(ctx) for param in options if not isinstance(param, _Flag)]
        sections["Instead of serving"] = [record for record in others if record is not None]
        for heading, lines in sections.items():
            with formatter.section(heading):
                formatter.write_dl(lines)


def _command() -> click.Command:
    params: list[click.Parameter] = [click.Argument(["argument"], metavar="[APP]", required=False)]
    params += [_Flag(spec) for spec in ALL_OPTIONS]
    # Other servers' ways to say what an option here says with a value.
    params += [
        click.Option(["--uds"], multiple=True, hidden=True),
        click.Option(["--fd"], multiple=True, hidden=True),
        click.Option(["--access-log/--no-access-log"], default=None, hidden=True),
        click.Option(["--ident"], hidden=True),
        click.Option(["-D", "--daemon"], is_flag=True, hidden=True),
        click.Option(["worker_class", "-k", "--worker-class"], hidden=True),
        click.Option(["--log-syslog"], is_flag=True, hidden=True),
        click.Option(["--paste", "--paster"], hidden=True),
        click.Option(["--unix-socket"], multiple=True, hidden=True),
        click.Option(["--static-path-mount"], multiple=True, hidden=True),
        click.Option(["--static-path-route"], multiple=True, hidden=True),
        click.Option(["--ssl-version"], hidden=True),
        click.Option(["--ssl-client-verify/--no-ssl-client-verify"], default=None, hidden=True),
        click.Option(["--metrics/--no-metrics"], default=None, hidden=True),
        click.Option(["--metrics-address"], hidden=True),
        click.Option(["--metrics-port"], hidden=True),
        click.Option(["--no-control-socket"], is_flag=True, hidden=True),
        click.Option(["-s", "--socket"], multiple=True, hidden=True),
        click.Option(["--uwsgi-socket"], multiple=True, hidden=True),
        click.Option(["--fastcgi-socket"], multiple=True, hidden=True),
        click.Option(["--scgi-socket"], multiple=True, hidden=True),
        click.Option(["--http-socket"], multiple=True, hidden=True),
        click.Option(["--http"], multiple=True, hidden=True),
        click.Option(["--module", "--wsgi-file"], hidden=True),
        click.Option(["--callable"], hidden=True),
        click.Option(["fulfilled", *other_servers.FULFILLED_FLAGS], is_flag=True, hidden=True),
    ]
    params += [
        click.Option([flag, f"{_UNUSED}{number}"], hidden=True, multiple=True)
        for number, flag in enumerate(other_servers.IGNORED)
    ]
    params += [
        click.Option([flag, f"{_UNUSED}{number}"], hidden=True, is_flag=True)
        for number, flag in enumerate(other_servers.IGNORED_FLAGS, len(other_servers.IGNORED))
    ]
    params += [
        click.Option([f"--{name.replace('_', '-')}", name], is_flag=True, help=text)
        for name, text in _ACTIONS
    ]
    params.append(
        click.Option(
            ["--guide"],
            is_flag=False,
            flag_value=NO_TOPIC,
            metavar="[TOPIC]",
            help="Show a page of the guide, or without TOPIC which there are.",
        )
    )
    return _Command(
        "wsgi-async",
        params=params,
        help="Serve the WSGI application APP: module:object, module:factory(), module, "
        "path/file.py, or path/file.ini of PasteDeploy.\n\nAn option may also be set in "
        "wsgi_async.toml (names with underscores) or as WSGI_ASYNC_<NAME>. Durations take ms, s, m "
        "and h, sizes K, M and G. All is told at more length by --guide.",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )


class Flag(NamedTuple):
    """A flag of the command line, in all its spellings."""

    names: tuple[str, ...]
    takes_value: bool
    help: str
    """Empty where it is hidden."""
    is_value_optional: bool = False


def flags() -> list[Flag]:
    """All that the command line takes, besides APP; for another parser of the same."""
    found = []
    for param in _command().params:
        if not isinstance(param, click.Option):
            continue
        shown, text = tuple(param.opts), "" if param.hidden else param.help or ""
        is_value_optional = param.name == "guide"
        others = [*param.opts, *param.secondary_opts]
        if isinstance(param, _Flag):
            shown, text = (*param.spec.flags, param.spec.flag), param.spec.help
            if param.spec.bare:
                is_value_optional = True
                others.remove(negated := _negated(param.spec))
                found.append(Flag((negated,), False, ""))
        hidden = [name for name in others if name not in shown]
        found.append(Flag(shown, not param.is_flag, text, is_value_optional))
        found += [Flag((name,), not param.is_flag and name in param.opts, "") for name in hidden]
    return found


def parse(args: list[str], prog_name: str, notices: list[str]) -> dict[str, object] | int:
    """The options that `args` give, by name; or, where they ask for the help, the exit code.

    :param notices: takes a line on each kind of option that is accepted and not used.
    :raises ConfigError: instead of click's usage errors.
    """
    try:
        with _command().make_context(prog_name, _filled(_with_uwsgis_letters(args))) as ctx:
            given = {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in ctx.params.items()
                if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
            }
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.NoSuchOption as error:
        raise ConfigError(_unknown(error.option_name)) from None
    except click.UsageError as error:
        what = error.format_message().rstrip(".")
        raise ConfigError("; ".join([what, *_not_taken(args)])) from None
    _ignore(given, notices)
    _combine(given)
    return given


def _unknown(flag: str) -> str:
    """What to say of an option that there is not."""
    absent = other_servers.absence(flag)
    if absent is not None:
        return absent
    specs = ALL_OPTIONS
    names = {alias.split("/")[0]: spec.flag for spec in specs for alias in spec.aliases}
    names |= {spec.flag: "" for spec in specs}
    hint = did_you_mean(flag, names)
    ours = names.get(hint.removeprefix(" Did you mean ").removesuffix("?"))
    return f"No such option: {flag}." + (f"{hint[:-1]}, which is {ours} here?" if ours else hint)


def _ignore(given: dict[str, Any], notices: list[str]) -> None:
    """Take out what is accepted for the sake of other servers' command lines, and say so."""
    worker_class = given.pop("worker_class", None)
    if worker_class is not None:
        known = "" if worker_class in other_servers.WORKER_CLASSES else ", and not known"
        notices.append(
            f"--worker-class {worker_class} is not used{known}: an event loop takes the "
            "connections, and --threads run the application"
        )
    flags = (*other_servers.IGNORED, *other_servers.IGNORED_FLAGS)
    numbers = sorted(int(name.removeprefix(_UNUSED)) for name in given if name.startswith(_UNUSED))
    for number in numbers:
        del given[f"{_UNUSED}{number}"]
    if numbers:
        names = ", ".join(flags[number] for number in numbers)
        notices.append(f"{names}: of no use here, and ignored")
    given.pop("fulfilled", None)
    parsers = [word for word in given.get("http", ()) if word in other_servers.UVICORN_HTTP]
    if parsers:
        notices.append(f"--http {', '.join(parsers)}: of no use here, and ignored")
        given["http"] = [word for word in given["http"] if word not in parsers]


def _combine(given: dict[str, Any]) -> None:
    """Express the ways of other servers, and the argument APP, by the options there are."""
    if "paste" in given and paste_spec(given["paste"]) is None:
        raise ConfigError(f"--paste takes FILE.ini or FILE.ini#NAME, not {given['paste']!r}")
    names = {"argument": "APP", "app": "--app", "module": "--module", "paste": "--paste"}
    named = [name for name in names if name in given]
    if len(named) > 1:
        both = " and ".join(names[name] for name in named[:2])
        raise ConfigError(f"{both} are the same: give one of them")
    if named:
        given["app"] = given.pop(named[0])
    if (name := given.pop("callable", None)) is not None:
        if "app" not in given:
            raise ConfigError("--callable goes with --module")
        given["app"] = f"{str(given['app']).partition(':')[0]}:{name}"
    if given.pop("daemon", False):
        raise ConfigError(
            "-D, --daemon: this server stays in the foreground, where systemd and Docker want it; "
            "examples/deploy has a unit for systemd, and a shell puts it behind with &"
        )
    addresses = [f"unix:{path}" for name in ("uds", "unix_socket") for path in given.pop(name, ())]
    addresses += [f"fd://{number}" for number in given.pop("fd", ())]
    addresses += _uwsgi_sockets(given)
    if addresses:
        given["bind"] = [*given.get("bind", ()), *addresses]
    directories = given.pop("static_path_mount", ())
    routes = given.pop("static_path_route", ("/static",) if directories else ())
    if len(directories) != len(routes):
        raise ConfigError("Give each --static-path-mount its --static-path-route, or --static")
    if directories:
        pairs = [f"{route}={path}" for route, path in zip(routes, directories, strict=True)]
        given["static"] = [*given.get("static", ()), *pairs]
    if given.pop("log_syslog", False):
        given.setdefault("log_syslog_to", DEFAULT_SYSLOG)
    version = tls_options.lowest_version(given.pop("ssl_version", "tls"))
    if version is not None:
        given.setdefault("tls_min", version)
    if (verify := given.pop("ssl_client_verify", None)) is not None:
        given.setdefault("cert_reqs", tls_options.REQUIRED if verify else tls_options.NONE)
    metrics = given.pop("metrics", None)
    where = [given.pop(name, None) for name in ("metrics_address", "metrics_port")]
    if metrics:
        given.setdefault("metrics_bind", other_address(*where))
    elif metrics is None and any(where):
        raise ConfigError(
            "--metrics-address and --metrics-port go with --metrics; or write --metrics-bind"
        )
    if given.pop("no_control_socket", False):
        given["control_socket"] = ""
    ident = given.pop("ident", None)
    if ident:
        given["header"] = [*given.get("header", ()), f"Server: {ident}"]
    elif ident is not None:
        given.setdefault("server_header", False)
    if "pythonpath" in given:
        given["pythonpath"] = [
            part for text in given["pythonpath"] for part in text.split(",") if part
        ]
    access_log = given.pop("access_log", None)
    if access_log is not None:
        given["access_logfile"] = given.get("access_logfile", "-") if access_log else ""


def _uwsgi_sockets(given: dict[str, Any]) -> list[str]:
    """Take out uWSGI's addresses; what they are as those of ``--bind``."""
    names = {name for name in _UWSGI_SOCKETS if given.get(name)}
    found: list[str] = []
    if names:
        from .foreign import uwsgi_addresses

        default = given.get("protocol", uwsgi_addresses.DEFAULT_PROTOCOL)
        for name in sorted(names):
            protocol = uwsgi_addresses.SOCKETS[name.replace("_", "-")] or default
            found += [uwsgi_addresses.address(text, protocol) for text in given[name]]
    for name in _UWSGI_SOCKETS:
        given.pop(name, None)
    return found
