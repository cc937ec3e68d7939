"""The command line ``wsgi-asyncctl``, and what it prints.

What was asked for goes to standard output, an error as one line to standard error. Exit codes are
those of :class:`~wsgi_async.ctl.exits.Exit`.
"""

from __future__ import annotations

import functools
import io
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from wsgi_async._imports import StandardFirst
from wsgi_async._version import __version__
from wsgi_async.config.option import parse_duration
from wsgi_async.errors import ConfigError
from wsgi_async.system.surroundings import keep_standard_descriptors

from .client import PATIENCE, Client
from .exits import Exit, Failed
from .finding import PID_VARIABLE, SOCKET_VARIABLE, find_socket
from .following import Follower, Outcome
from .in_flight import describe_requests
from .profiles import Files, describe_profile
from .reports import describe_config, describe_errors, describe_level
from .status import describe_status, fleet_parts
from .text import Screen, clean, listed

__all__ = ["commands", "main"]

FOLLOWED = 300.0
"""Seconds that a reload, a drain and a change of processes are followed."""

SHORTEST_INTERVAL = 0.1
"""Seconds from one question of top to the next."""

Call = TypeVar("Call", bound=Callable[..., Any])
Answer = dict[str, Any]


def main(args: Sequence[str] | None = None, *, prog_name: str = "wsgi-asyncctl") -> NoReturn:
    """Run the command line and end the process.

    :param args: the arguments; None for the process's own.
    """
    keep_standard_descriptors()
    sys.stdin = sys.stdin or io.StringIO()  # where somebody has closed it
    sys.stdout = sys.stdout or io.StringIO()
    with StandardFirst():  # it never runs code of a project
        code = _run(list(sys.argv[1:] if args is None else args), prog_name)
    sys.exit(code)


def _run(args: list[str], prog_name: str) -> int:
    try:
        result = commands.main(args, prog_name, standalone_mode=False)
        return int(result or 0)
    except Failed as failed:
        return _complain(prog_name, str(failed), failed.code)
    except click.ClickException as error:
        message = error.format_message().replace("\n", " ")
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
            click.echo(error.format_message())
            return Exit.WRONG
        return _complain(prog_name, f"{clean(message)} See {prog_name} --help", Exit.WRONG)
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except OSError as error:
        _forget_output()
        return _complain(prog_name, f"Cannot write: {error.strerror}", Exit.WRONG)


def _complain(prog_name: str, message: str, code: Exit) -> int:
    click.echo(f"{prog_name}: error: {message}", err=True)
    return code


def _forget_output() -> None:
    """The interpreter would try again, at its end, to write what is left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


# --- What commands share


if TYPE_CHECKING:
    _Seconds = click.ParamType[float]
else:  # the oldest click that will do has no type arguments there
    _Seconds = click.ParamType


class _Duration(_Seconds):
    name = "TIME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            return parse_duration(value)
        except ValueError:
            self.fail(f"{value!r} is no duration such as 500ms, 30s or 5m.", param, ctx)


class _Session:
    """One call of a command: whom to ask, and how to show the answer."""

    def __init__(self, *, socket: str, pid: str, timeout: float, as_json: bool) -> None:
        self.timeout = timeout
        self.as_json = as_json
        self._where = socket, pid
        self.screen = Screen.of(sys.stdout, os.environ)

    def client(self, patience: float | None = None) -> Client:
        """Of the server that was named.

        :raises Failed: there is none.
        """
        return Client(
            find_socket(*self._where, os.environ), self.timeout if patience is None else patience
        )

    def show(self, answer: Answer, describe: Callable[[], list[str]]) -> None:
        """Print an answer, as it is or as text."""
        # JSON is escaped by its own means, so that it steers no terminal either.
        _print(json.dumps(answer, indent=2) if self.as_json else "\n".join(_understood(describe)))

    def end(self, outcome: Outcome) -> int:
        """Say how it has ended."""
        if self.as_json:
            end = {"outcome": outcome.code.name.lower(), "text": outcome.text}
            _print(json.dumps({**end, "fleet": outcome.status.get("fleet")}, indent=2))
        elif outcome.code is Exit.DONE:
            _print(outcome.text)
        if outcome.code is not Exit.DONE:
            raise Failed(outcome.code, outcome.text)
        return Exit.DONE


def _understood(work: Callable[[], Any]) -> Any:
    """What work on an answer comes to, which may be that of another version."""
    try:
        return work()
    except (LookupError, TypeError, ValueError, AttributeError):
        raise Failed(
            Exit.UNREACHABLE,
            f"The answer is none that wsgi-asyncctl {__version__} understands: use that of the "
            "server's own environment, or --json",
        ) from None


def _print(text: str) -> None:
    encoding = sys.stdout.encoding or "ascii"
    try:
        click.echo(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has seen enough
        _forget_output()
        raise click.exceptions.Exit(Exit.DONE) from None


def _where(command: Call) -> Call:
    for decorate in (
        click.option(
            "-s",
            "--socket",
            metavar="PATH",
            help=f"The server's --control-socket. [${SOCKET_VARIABLE}]",
        ),
        click.option(
            "-p",
            "--pid",
            metavar="FILE",
            help=f"The server's pid file, or its number: the socket is found from it. "
            f"[${PID_VARIABLE}]",
        ),
        click.option("as_json", "--json", is_flag=True, default=None, help="Print JSON."),
    ):
        command = decorate(command)
    return command


def _command(name: str, timeout: float = PATIENCE) -> Callable[[Callable[..., int]], click.Command]:
    """A command of the group, whose function is given a session first.

    :param timeout: seconds, where none is given.
    """

    def decorate(function: Callable[..., int]) -> click.Command:
        @functools.wraps(function)
        def run(
            socket: str | None,
            pid: str | None,
            as_json: bool | None,
            timeout: float,
            **options: Any,
        ) -> int:
            outer = click.get_current_context().obj
            is_said = socket or pid  # here, and so not what stands before the command
            session = _Session(
                socket=(socket if is_said else outer["socket"]) or "",
                pid=(pid if is_said else outer["pid"]) or "",
                timeout=timeout,
                as_json=bool(as_json or outer["as_json"]),
            )
            return function(session, **options)

        with_timeout = click.option(
            "--timeout",
            type=_Duration(),
            default=f"{timeout:g}s",
            show_default=True,
            help="How long to wait for it.",
        )(run)
        return commands.command(name)(_where(with_timeout))

    return decorate


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=True,
)
@click.version_option(__version__, prog_name="wsgi-asyncctl")
@_where
@click.pass_context
def commands(ctx: click.Context, /, **where: Any) -> None:
    """Ask a running wsgi-async server, and steer it, over its --control-socket.

    All is told at more length by wsgi-async --guide control.
    """
    ctx.obj = where


# --- Commands that ask


@_command("status")
def status(session: _Session) -> int:
    """How the server is: its fleet, its figures, each of its processes."""
    answer = session.client().get("/status")
    session.show(answer, lambda: describe_status(answer, session.screen))
    return Exit.DONE


@_command("requests")
@click.option("--stacks", is_flag=True, help="With the stack of each request's thread.")
def requests(session: _Session, stacks: bool) -> int:
    """The requests in flight: how old they are, where they stand, and with --stacks, where their
    threads are."""
    answer = session.client().get(f"/requests?stacks={int(stacks)}")
    session.show(answer, lambda: describe_requests(answer, session.screen))
    return int(_understood(lambda: _complete(answer)))


@_command("errors")
def errors(session: _Session) -> int:
    """The last errors, refusals, slow requests and notes of the parent."""
    answer = session.client().get("/errors")
    session.show(answer, lambda: describe_errors(answer, session.screen))
    return Exit.DONE


@_command("config")
def config(session: _Session) -> int:
    """Each option with its value, and where that comes from."""
    answer = session.client().get("/config")
    session.show(answer, lambda: describe_config(answer, session.screen))
    return Exit.DONE


def _complete(answer: Answer) -> int:
    """The exit code of what several processes were asked."""
    has_failed = any(isinstance(each, dict) and each.get("error") for each in answer["processes"])
    return Exit.PARTLY if has_failed or answer.get("missing") else Exit.DONE


@_command("profile")
@click.argument("seconds", type=_Duration())
@click.option("--hz", type=click.IntRange(min=1), default=100, help="Samples a second. [100]")
@click.option(
    "-o", "prefix", metavar="PREFIX", default="", help="Names of the files, up to their endings."
)
def profile(session: _Session, seconds: float, hz: int, prefix: str) -> int:
    """Sample for SECONDS what the threads of the application do: collapsed stacks, speedscope's
    JSON and a flame graph, each in a file."""
    client = session.client()
    files = Files(prefix)
    is_done = False
    try:
        question: dict[str, object] = {"seconds": seconds, "hz": hz}
        answer = client.post("/profile", question, patience=seconds + client.patience)
        title = f"{hz} Hz for {seconds:g} s, {time.strftime('%Y-%m-%d %H:%M:%S')}"
        _understood(lambda: files.write(answer, title))
        is_done = True
    finally:
        if not is_done:
            files.discard()
    session.show(answer, lambda: describe_profile(answer, files, session.screen))
    return int(_understood(lambda: _complete(answer)))


@_command("top")
@click.option(
    "-i", "--interval", type=_Duration(), default="1s", show_default=True, help="How often to ask."
)
def top(session: _Session, interval: float) -> int:
    """The server live: figures, processes, requests in flight with their stacks; ? tells the keys.
    Where there is no terminal, and with --json, it is printed once."""
    from .top.showing import top  # for the others there is nothing in it

    if interval < SHORTEST_INTERVAL:
        raise click.UsageError(f"--interval is at least {SHORTEST_INTERVAL * 1000:g}ms.")
    client = session.client()
    return top(client.get, interval=interval, as_data=session.as_json, write=_print)


# --- Commands that steer


_no_wait = click.option("--no-wait", is_flag=True, help="Do not wait until it is done.")


def _steer(
    session: _Session,
    target: str,
    body: dict[str, object],
    follow: Callable[[Follower, Answer], Outcome],
    *,
    no_wait: bool,
) -> int:
    """Ask for something that takes its time, and follow it."""
    patience = min(session.timeout or PATIENCE, PATIENCE)
    client = session.client(patience)
    follower = Follower(client, session.timeout)
    try:
        answer = client.post(target, body)
        if no_wait:
            fleet = answer.get("before", {})
            session.show(answer, lambda: listed("asked; now ", fleet_parts(fleet), session.screen))
            return Exit.DONE
        outcome: Outcome = _understood(lambda: follow(follower, answer["before"]))
    finally:
        follower.close()
    return session.end(outcome)


@_command("reload", FOLLOWED)
@_no_wait
def reload(session: _Session, no_wait: bool) -> int:
    """Replace the processes one by one, as SIGHUP does, and say how it ended."""
    return _steer(
        session, "/reload", {}, lambda follower, before: follower.reload(before), no_wait=no_wait
    )


@_command("drain", FOLLOWED)
@_no_wait
def drain(session: _Session, no_wait: bool) -> int:
    """End the server, as SIGTERM does: what is in flight is finished."""
    return _steer(session, "/drain", {}, lambda follower, _: follower.drain(), no_wait=no_wait)


@_command("scale", FOLLOWED)
@click.argument("processes", type=click.IntRange(min=1), metavar="N")
@_no_wait
def scale(session: _Session, processes: int, no_wait: bool) -> int:
    """Have N processes serve, from now until a restart."""
    return _steer(
        session,
        "/scale",
        {"processes": processes},
        lambda follower, _: follower.scale(processes),
        no_wait=no_wait,
    )


@_command("interrupt")
@click.argument("id")
def interrupt(session: _Session, id: str) -> int:
    """End the request ID, as --interrupt-late does: RequestTimeout is raised where it is, and its
    client gets a 504."""
    answer = session.client().post("/interrupt", {"id": id})
    why = clean(answer.get("why") or "")
    if not answer.get("interrupted"):
        if session.as_json:
            session.show(answer, list)
        raise Failed(Exit.FAILED, why or f"There is no request {clean(id)} in flight: see requests")
    session.show(answer, lambda: [why or f"Interrupted {clean(id)}"])
    return Exit.DONE


@_command("log-level")
@click.argument("level")
def log_level(session: _Session, level: str) -> int:
    """Have the processes log from LEVEL on (debug, info, warning, error), until a reload."""
    answer = session.client().post("/log-level", {"level": level.lower()})
    session.show(answer, lambda: describe_level(answer, clean(level.lower()), session.screen))
    return int(_understood(lambda: _complete(answer)))


# --- A command that asks no server


class _WithCommandLine(click.Command):
    """A command that takes another one behind ``--``, whose options are none of its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.meta["words"] = args[at + 1 :]
        return super().parse_args(ctx, args[:at])


@commands.command("migrate", cls=_WithCommandLine)
@click.argument("files", nargs=-1, type=click.Path(), metavar="[FILE]... [-- COMMAND LINE]")
@click.option("--kind", default="", help="What FILE is, where its name and content do not say it.")
@click.option("--execute", is_flag=True, help="Run a gunicorn.conf.py, to see what it comes to.")
@click.pass_context
def migrate(ctx: click.Context, files: tuple[str, ...], kind: str, execute: bool) -> int:
    """Say what another server's configuration comes to here: the command line and wsgi_async.toml
    to use, and what becomes of each setting. Nothing is changed.

    FILE is a gunicorn.conf.py, a uwsgi.ini, a PasteDeploy file, Apache's configuration with
    mod_wsgi, a Procfile, a systemd unit, or a script with a command line; - is standard input.
    Behind -- stands a command line itself. All is told at more length by wsgi-async --guide
    migrating.
    """
    from .migrate.reporting import report  # for the others there is nothing in it

    words = ctx.meta["words"]
    if not files and not words:
        raise click.UsageError("Give a FILE, or a command line behind --.")
    if any(ctx.obj.values()):
        raise click.UsageError("migrate asks no server: leave --socket, --pid and --json out.")
    try:
        found = report(
            files, words, Screen.of(sys.stdout, os.environ), kind=kind, may_execute=execute
        )
    except ConfigError as error:
        for note in getattr(error, "__notes__", ()):  # the traceback of code that was run
            click.echo(note, err=True, nl=False)
        raise Failed(Exit.WRONG, clean(error)) from None
    _print("\n".join(found.lines))
    return Exit.LOST if found.loses_something else Exit.DONE
