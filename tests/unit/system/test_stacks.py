"""What other threads do: their stacks, whose code it is, and how they are broken off."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wsgi_async.connection.telling import _SEEN, EnvironExchange, application_for
from wsgi_async.errors import ClientDisconnected, RequestTimeout
from wsgi_async.middleware import AccessLog, Errors
from wsgi_async.system.stacks import DEPTH, is_in_application, raise_in, stack_of
from wsgi_async.threads import InputStream
from wsgi_async.threads.pool import Call, ThreadPool
from wsgi_async.wsgi.calling import WSGIResponse

WAIT = 10.0


class Blocked:
    """A thread that waits somewhere inside a function, until the test lets it go on."""

    def __init__(self, run: Callable[[Blocked], object]) -> None:
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.seen: list[type[BaseException]] = []
        self._run = run
        self.thread = threading.Thread(target=self._catch, daemon=True)

    def _catch(self) -> None:
        try:
            self._run(self)
        except BaseException as error:
            self.seen.append(type(error))

    def wait(self) -> None:
        self.entered.set()
        assert self.gate.wait(WAIT)

    @property
    def ident(self) -> int:
        assert self.thread.ident is not None
        return self.thread.ident


def test_an_import_is_shown_without_the_frames_of_importlib(tmp_path: Path) -> None:
    """As a traceback has it: else they are all that is seen of one module that imports another."""
    (tmp_path / "seen_importing.py").write_text(
        "import threading\nfrom wsgi_async.system.stacks import stack_of\n"
        "lines = stack_of(threading.get_ident())\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        lines = importlib.import_module("seen_importing").lines
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("seen_importing", None)
    assert "seen_importing.py" in "".join(lines)
    assert "importlib.import_module" in "".join(lines)
    assert "<frozen importlib" not in "".join(lines)


@pytest.fixture
def block() -> Iterator[Callable[[Callable[[Blocked], object]], Blocked]]:
    started: list[Blocked] = []

    def start(run: Callable[[Blocked], object]) -> Blocked:
        blocked = Blocked(run)
        started.append(blocked)
        blocked.thread.start()
        assert blocked.entered.wait(WAIT)
        return blocked

    yield start
    for blocked in started:
        blocked.gate.set()
        blocked.thread.join(WAIT)
        assert not blocked.thread.is_alive()


class Waiting:
    """A writer that waits when it is called, as one does whose client takes nothing."""

    def __init__(self, blocked: Blocked | None = None) -> None:
        self._blocked = blocked

    def app_error(self, message: str, error: BaseException | None) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., bool]:
        def method(*args: object) -> bool:
            if self._blocked is not None:
                self._blocked.wait()
            raise ClientDisconnected

        return method


def respond(application: Callable[..., Any], writer: Any) -> None:
    response = WSGIResponse(application, writer, writer, False)
    response.begin({})


def in_application(blocked: Blocked) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        def view() -> None:
            blocked.wait()

        view()
        return []

    respond(application, Waiting())


def test_a_stack_begins_where_the_application_does(block: Any) -> None:
    lines = stack_of(block(in_application).ident)
    assert lines[0].startswith(f'File "{__file__}", line ')
    assert lines[0].endswith("in application")
    assert lines[1] == "  view()"
    assert lines[2].endswith("in view")
    assert lines[3] == "  blocked.wait()"
    assert not any("wsgi/calling.py" in line for line in lines)


def test_the_stack_of_any_other_thread_is_whole(block: Any) -> None:
    lines = stack_of(block(Blocked.wait).ident)
    assert any("in _catch" in line for line in lines)
    assert any("self.gate.wait(WAIT)" in line for line in lines)


def test_of_a_pool_thread_without_an_application_all_is_shown() -> None:
    pool: ThreadPool[Call] = ThreadPool(1, 1, on_error=pytest.fail)
    stopped, entered, gate = threading.Event(), threading.Event(), threading.Lock()
    gate.acquire()
    pool.start()
    assert pool.submit(Call(lambda: (entered.set(), gate.acquire())))
    assert entered.wait(WAIT)
    [running] = pool.running()
    assert stack_of(running.ident)
    gate.release()
    pool.stop(stopped.set)
    assert stopped.wait(WAIT)


def test_a_thread_that_has_ended_has_no_stack(block: Any) -> None:
    blocked = block(Blocked.wait)
    ident = blocked.ident
    blocked.gate.set()
    blocked.thread.join(WAIT)
    assert stack_of(ident) == []
    assert not is_in_application(ident)


def test_a_deep_stack_is_shown_from_its_end(block: Any) -> None:
    def recurse(blocked: Blocked, depth: int) -> None:
        if depth:
            recurse(blocked, depth - 1)
        else:
            blocked.wait()

    lines = stack_of(block(lambda blocked: recurse(blocked, 500)).ident)
    assert DEPTH <= len(lines) <= 2 * DEPTH
    assert any("in wait" in line for line in lines[-4:])


def test_control_characters_do_not_leave_the_line(block: Any) -> None:
    names: dict[str, Any] = {}
    code = compile("def view(blocked): blocked.wait()", "evil\n\x1b[2Jname.py", "exec")
    exec(code, names)
    lines = stack_of(block(names["view"]).ident)
    assert any("evil??[2Jname.py" in line for line in lines)
    assert not any("\n" in line or "\x1b" in line for line in lines)


def test_code_of_an_application_can_be_told_from_the_servers_own(block: Any) -> None:
    def writing(blocked: Blocked) -> None:
        def application(environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", [])(b"x")
            return []

        respond(application, Waiting(blocked))

    assert is_in_application(block(in_application).ident)
    assert not is_in_application(block(Blocked.wait).ident), "nobody called an application there"
    assert not is_in_application(block(writing).ident), "the server's write() is on the way"


def test_middleware_of_the_package_may_be_on_the_way(block: Any) -> None:
    def streaming(blocked: Blocked) -> None:
        def application(environ: Any, start_response: Any) -> Iterator[bytes]:
            blocked.wait()
            yield b""

        stack = AccessLog(Errors(application), logger=silent)
        respond(lambda _, start: stack({"REQUEST_METHOD": "GET"}, start), Waiting())

    silent = logging.Logger("silent", logging.INFO)
    silent.addHandler(logging.NullHandler())
    assert is_in_application(block(streaming).ident)


def test_so_may_what_tells_subscribers_of_the_environ(block: Any) -> None:
    """Who logs a variable of it has applications interrupted all the same."""

    def working(blocked: Blocked) -> None:
        def application(environ: Any, start_response: Any) -> list[bytes]:
            blocked.wait()
            return []

        _SEEN.set([])
        respond(application_for(EnvironExchange, application), Waiting())

    assert is_in_application(block(working).ident)


def test_what_waits_in_the_servers_own_code_is_not_in_the_application(block: Any) -> None:
    def reading(blocked: Blocked) -> None:
        class Body:
            def pull(self) -> bytes:
                blocked.wait()
                return b""

            def close(self) -> None:
                pass

        def application(environ: Any, start_response: Any) -> list[bytes]:
            InputStream(Body()).read()  # type: ignore[arg-type]
            return []

        respond(application, Waiting())

    assert not is_in_application(block(reading).ident), "below it is wsgi_async.threads"


def test_an_exception_is_raised_in_another_thread(block: Any) -> None:
    def spin(blocked: Blocked) -> None:
        blocked.entered.set()
        while True:
            pass

    blocked = block(spin)
    raise_in(blocked.ident, RequestTimeout)
    blocked.thread.join(WAIT)
    assert blocked.seen == [RequestTimeout]


def test_the_exception_passes_an_except_of_exceptions() -> None:
    assert issubclass(RequestTimeout, BaseException)
    assert not issubclass(RequestTimeout, Exception)
