"""gunicorn's hooks: the right ones, in the right process, with what they need."""

from __future__ import annotations

import io
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from processes import Site
from tools import python, running

from wsgi_async.errors import ConfigError
from wsgi_async.foreign.hooks import GunicornHooks, RequestHooks
from wsgi_async.wsgi.file_wrapper import FileWrapper

HOOKED = """
import os, sys
workers = 2
threads = 2
def say(hook, *facts):
    os.write(2, " ".join(["hook", hook, str(os.getpid()), *map(str, facts)]).encode() + b"\\n")
def on_starting(server): say("on_starting", server.pid)
def when_ready(server): say("when_ready", server.cfg.workers); server.log.info("from %s", "a hook")
def pre_fork(server, worker): say("pre_fork", worker.age)
def post_fork(server, worker): say("post_fork", worker.pid, "site_app" in sys.modules)
def post_worker_init(worker): say("post_worker_init", worker.pid, "site_app" in sys.modules)
def worker_exit(server, worker): say("worker_exit", worker.pid)
def child_exit(server, worker): say("child_exit", worker.pid)
def nworkers_changed(server, new, old): say("nworkers_changed", new, old)
def on_reload(server): say("on_reload")
def on_exit(server): say("on_exit")
def pre_request(worker, req): say("pre_request", req.method, req.path)
def post_request(worker, req, environ, resp): say("post_request", resp.status_code)
"""


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_hooks_are_called_where_gunicorn_calls_them(site: Site, preload: bool) -> None:
    (site.directory / "gunicorn.conf.py").write_text(HOOKED + f"preload_app = {preload}\n")
    with site.serve("-c", "gunicorn.conf.py") as servers:
        parent = servers.process.pid
        servers.wait_for("Listening on ")
        for hook, facts in (
            ("nworkers_changed", "2 None"),
            ("on_starting", str(parent)),
            ("when_ready", "2"),
            ("pre_fork", "1"),
            ("pre_fork", "2"),
        ):
            servers.wait_for(rf"^hook {hook} {parent} {facts}$")
        servers.wait_for(r"\[INFO\] from a hook$")
        pids = servers.wait_for_pids(2)
        for pid in pids:
            servers.wait_for(rf"^hook post_fork {pid} {pid} {preload}$")
            servers.wait_for(rf"^hook post_worker_init {pid} {pid} True$")
        servers.wait_for(rf"^hook pre_request ({pids[0]}|{pids[1]}) GET /$")
        servers.wait_for(rf"^hook post_request ({pids[0]}|{pids[1]}) 200$")
        servers.signal(signal.SIGTTIN)
        servers.wait_for(rf"^hook nworkers_changed {parent} 3 2$")
        servers.signal(signal.SIGHUP)
        servers.wait_for(rf"^hook on_reload {parent}$")
        for pid in pids:
            servers.wait_for(rf"^hook worker_exit {pid} {pid}$")
            servers.wait_for(rf"^hook child_exit {parent} {pid}$")
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        assert servers.count(rf"^hook on_exit {parent}$") == 1
        names = [line.split()[1] for line in servers.lines if line.startswith("hook ")]
        assert names[:3] == ["nworkers_changed", "on_starting", "when_ready"]
        assert names[-1] == "on_exit"


@pytest.mark.parametrize(
    "hook",
    [
        *("on_starting(a)", "when_ready(a)", "nworkers_changed(a, b, c)", "pre_fork(a, b)"),
        *("post_fork(a, b)", "post_worker_init(a)"),
    ],
)
def test_a_hook_that_raises_before_there_is_service(site: Site, hook: str) -> None:
    (site.directory / "conf.py").write_text(f"def {hook}:\n    raise ValueError('no')\n")
    with site.serve("-c", "conf.py") as servers:
        assert servers.wait() == 1
        name = hook.partition("(")[0]
        assert servers.lines[-1] == f"wsgi-async: error: conf.py: {name} raised ValueError: no"
        assert any(re.search(rf"conf.py\", line 2, in {name}$", line) for line in servers.lines)


def test_a_hook_that_raises_later_stops_nothing(site: Site) -> None:
    (site.directory / "conf.py").write_text(
        "".join(
            f"def {hook}:\n    raise ValueError('no')\n"
            for hook in ("child_exit(a, b)", "on_reload(a)", "worker_exit(a, b)", "on_exit(a)")
        )
    )
    with site.serve("-c", "conf.py") as servers:
        servers.wait_for("Listening on ")
        servers.reload()
        for name in ("on_reload", "worker_exit", "child_exit"):
            servers.wait_for(rf"\[ERROR\] conf.py: {name} raised ValueError: no$")
        assert servers.ask()[1] == "v0"
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.wait_for(r"on_exit raised ValueError: no$")


def test_a_file_of_uwsgi(site: Site) -> None:
    (site.directory / "uwsgi.ini").write_text(
        "[uwsgi]\nmodule = site_app\nprocesses = 2\nhttp-socket = 127.0.0.1:0\nvacuum = true\n"
        "env = FROM_INI=yes\nstats = /x\n"
    )
    with site.serve("-c", "uwsgi.ini", app="", bind="") as servers:
        servers.wait_for_pids(2)
        servers.wait_for(r"\[WARNING\] uwsgi.ini: ignored here: stats$")
        assert servers.facts()["environ"]["FROM_INI"] == "yes"


# --- Around a request


class Calls(list[Any]):
    def before(self, worker: object, request: Any) -> None:
        self.append((worker, request.method, request.uri))

    def after(self, worker: object, request: Any, environ: Any, response: Any) -> None:
        self.append((response.status, response.status_code, dict(response.headers)))


def environ(**more: str) -> dict[str, Any]:
    variables: dict[str, Any] = {
        "QUERY_STRING": "a=1",
        "PATH_INFO": "/x",
        "SCRIPT_NAME": "",
        **more,
    }
    setup_testing_defaults(variables)
    return variables


def ask(application: Callable[..., Any]) -> Any:
    return application(environ(), lambda status, headers, exc_info=None: lambda data: None)


PLAIN = ("200 OK", 200, {"Content-Type": "text/plain"})


def stream(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"a"
    yield b"b"


def test_requests_that_are_validated() -> None:
    calls = Calls()
    application = validator(
        RequestHooks(validator(stream), "worker", calls.before, calls.after)  # type: ignore[arg-type]
    )
    result = ask(application)
    chunks = iter(result)
    assert next(chunks) == b"a"
    assert calls == [("worker", "GET", "/x?a=1")]
    assert list(chunks) == [b"b"]
    result.close()
    assert calls[1:] == [PLAIN]


def test_a_list_goes_through_as_it_is() -> None:
    calls, body = Calls(), [b"x"]

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return body

    assert ask(RequestHooks(application, None, None, calls.after)) is body
    assert calls == [PLAIN]


def test_a_file_stays_a_file_and_is_closed_once() -> None:
    calls, file = Calls(), io.BytesIO(b"x")

    def application(environ: Any, start_response: Any) -> FileWrapper:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return FileWrapper(file)

    result = ask(RequestHooks(application, None, None, calls.after))
    assert type(result) is FileWrapper
    assert calls == []
    result.close()
    result.close()
    assert file.closed
    assert calls == [PLAIN]


def test_an_application_that_raises_has_its_post_request() -> None:
    calls = Calls()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        ask(RequestHooks(application, None, None, calls.after))
    assert calls == [("", 0, {})]


def test_a_pre_request_that_raises_is_the_requests_error() -> None:
    def before(worker: object, request: object) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        ask(RequestHooks(stream, None, before, None))


def test_a_post_request_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def after(worker: object, request: object) -> None:
        raise ValueError("no")

    result = ask(RequestHooks(stream, None, None, after))
    assert list(result) == [b"a", b"b"]
    result.close()
    assert "post_request raised" in caplog.text


def test_no_hook_is_no_wrapper() -> None:
    hooks = GunicornHooks({}, {}, "conf.py", {}, {})
    hooks.forked(0)
    assert hooks.loaded(stream) is stream


def test_what_the_stand_ins_lack_is_said() -> None:
    def post_fork(server: Any, worker: Any) -> None:
        worker.tmp.fileno()

    hooks = GunicornHooks({"post_fork": post_fork}, {}, "conf.py", {}, {})
    with pytest.raises(ConfigError, match="the worker that hooks get from wsgi_async has no 'tmp'"):
        hooks.forked(0)


def test_a_file_is_not_executed_unless_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text("raise SystemExit('executed')")
    (tmp_path / "site_plain.py").write_text("def app(environ, start_response): pass")
    command = python("-m", "wsgi_async", "--check-config", "site_plain:app")
    variables = {"GUNICORN_CMD_ARGS": "-c gunicorn.conf.py"}
    with running(*command, cwd=tmp_path, env=variables) as process:
        assert process.wait() == 0
        assert "are good" in process.output
