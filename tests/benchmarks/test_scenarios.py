"""The benchmark's scenarios measure something, and take no wrong answer for one."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator
from zlib import crc32

import pytest
from benchmark_targets import Here
from serving import Served
from tools import python, require_module, require_program, running

from benchmarks import apps
from benchmarks.clients import mix
from benchmarks.harness.model import Load, Sample, Scenario, WrongAnswer
from benchmarks.scenarios import SCENARIOS, processes, programs, wrk
from benchmarks.scenarios.answers import ask
from benchmarks.scenarios.idle import Idle
from benchmarks.scenarios.processes import Spread
from benchmarks.scenarios.slow import SlowHeads, SlowReaders

Serve = Callable[..., Served]
Application = Callable[..., Iterable[bytes]]

LOAD = Load(seconds=0.2, pin=(), python=sys.executable)
FRAMEWORKS = ("flask", "django")
PROCESSES = ("processes", "processes-flask", "processes-spread")
SMALL: dict[str, Callable[..., Sample]] = {
    "slow-heads": SlowHeads(clients=20),
    "slow-readers": SlowReaders(clients=4),
    "slow-readers-park": SlowReaders(clients=4),
    "slow-readers-block": SlowReaders(clients=4),
    "idle": Idle(connections=100),
    "processes-spread": Spread(at_once=(40,), in_turn=10),
}
"""The scenarios whose own numbers are too large for a test."""


def port_of(served: Served) -> int:
    assert served.server.port is not None
    return served.server.port


def here(served: Served | int, name: str = "wsgi_async") -> Here:
    return Here(served if isinstance(served, int) else port_of(served), name=name)


def measure(scenario: Scenario, served: Served) -> Sample:
    """Where a machine is so busy that nothing was answered, once more for longer."""
    measure_once = SMALL.get(scenario.name, scenario.measure)
    try:
        sample = measure_once(here(served), LOAD)
    except WrongAnswer as error:
        if "no response" not in str(error):
            raise
    else:
        if sample.value or scenario.name == "idle":
            return sample
    return measure_once(here(served), dataclasses.replace(LOAD, seconds=5.0))


@pytest.fixture
def _wrk() -> None:
    require_program("wrk")


needs_wrk = pytest.mark.usefixtures("_wrk")
PLAIN = [
    one
    for one in SCENARIOS.values()
    if not one.tls and not one.name.startswith(("told", "live", "front"))
]
"""Those over TLS, those where somebody is told, those of held streams and those behind nginx have
tests of their own."""
each_scenario = pytest.mark.parametrize("scenario", PLAIN, ids=lambda scenario: scenario.name)


def flag_options(scenario: Scenario) -> dict[str, str]:
    """The options of our own template as keywords of the server."""
    words = scenario.options.get("wsgi_async", "").split()
    return {
        flag.removeprefix("--").replace("-", "_"): value
        for flag, value in zip(words[::2], words[1::2], strict=True)
    }


def test_the_names_are_those_of_the_scenarios() -> None:
    assert list(SCENARIOS) == [scenario.name for scenario in SCENARIOS.values()]
    units = {"requests/s", "chunks/s", "MB/s", "ms", "bytes", "ratio", "streams", "µs/event"}
    assert {scenario.unit for scenario in SCENARIOS.values()} == units


@pytest.mark.soak
@needs_wrk
@pytest.mark.parametrize(
    "scenario",
    [one for one in PLAIN if one.name not in (*FRAMEWORKS, *PROCESSES)],
    ids=lambda scenario: scenario.name,
)
def test_each_measures_wsgi_async(scenario: Scenario, serve: Serve) -> None:
    application = getattr(apps, scenario.application)
    sample = measure(scenario, serve(application, **flag_options(scenario)))
    assert sample.errors == 0
    assert sample.value >= 0 if scenario.name == "idle" else sample.value > 0
    if sample.p50 is not None:
        assert sample.p99 is not None
        assert 0 < sample.p50 <= sample.p99
    readers = ("slow-readers", "slow-readers-park", "slow-readers-block")
    wanted = {"slow-heads": 20, "idle": 100, **dict.fromkeys(readers, 4)}
    if scenario.name in wanted:
        held = "held" if scenario.name == "idle" else "slow_clients"
        assert sample.extra[held] == wanted[scenario.name]
        assert sample.extra["rate_with"] > 0
        assert sample.extra["rate_without"] > 0
    if scenario.name in readers:
        assert sample.extra["onset"] > 0
        assert sample.extra["settled"] >= LOAD.seconds
    if scenario.name == "start":
        assert 0 < sample.extra["import_ms"] < 30_000


@pytest.mark.soak
@needs_wrk
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_frameworks_are_measured(name: str, tmp_path: Path) -> None:
    require_module(name)
    application = SCENARIOS[name].application
    # A process of its own: Django's settings are the process's.
    command = python("-m", "wsgi_async", "--bind", "127.0.0.1:0", f"benchmarks.apps:{application}")
    with running(*command, cwd=tmp_path) as process:
        port = int(process.url.rpartition(":")[2])
        sample = SCENARIOS[name].measure(here(port), LOAD)
    assert sample.value > 0
    assert sample.errors == 0


@pytest.mark.soak
@needs_wrk
@pytest.mark.parametrize("name", PROCESSES)
def test_two_processes_are_measured(name: str, tmp_path: Path) -> None:
    if "flask" in name:
        require_module("flask")
    scenario = SCENARIOS[name]
    command = python("-m", "wsgi_async", "--bind", "127.0.0.1:0", "--workers", "2")
    with running(*command, f"benchmarks.apps:{scenario.application}", cwd=tmp_path) as process:
        port = int(process.url.rpartition(":")[2])
        sample = SMALL.get(name, scenario.measure)(here(port), LOAD)
    assert sample.errors == 0
    if name == "processes-spread":
        assert sample.value == max(sample.extra["at_once"], sample.extra["in_turn"])
        assert 1 <= sample.value <= 2
    else:
        assert sample.value > 0


def test_one_process_is_not_measured_for_two(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "START", 0.1)
    with pytest.raises(WrongAnswer, match="1 processes answer instead of 2"):
        measure(SCENARIOS["processes"], serve(apps.processes))


def other_body(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", "6")])
    return [b"other\n"]


def failing(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    environ["wsgi.input"].read()
    start_response("500 Internal Server Error", [("Content-Length", "0")])
    return []


@pytest.mark.parametrize("application", [other_body, failing])
@each_scenario
def test_a_wrong_answer_voids_each(
    scenario: Scenario, application: Application, serve: Serve
) -> None:
    with pytest.raises(WrongAnswer, match=r"other|status 500|bytes"):
        measure(scenario, serve(application))


def spoiled(right: Application, wrong: Application) -> Application:
    """Right for the check before a measurement, wrong for the load."""

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # http.client sends this field, the load clients do not.
        chosen = right if "HTTP_ACCEPT_ENCODING" in environ else wrong
        return chosen(environ, start_response)

    return application


@needs_wrk
def test_error_statuses_under_load_void(serve: Serve) -> None:
    served = serve(spoiled(apps.hello, failing))
    with pytest.raises(WrongAnswer, match="responses have an error status"):
        measure(SCENARIOS["hello"], served)


def short_stream(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    return iter([apps.BLOCK] * (apps.STREAM_BLOCKS - 16))


def other_end(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    return iter([apps.BLOCK] * (apps.STREAM_BLOCKS - 1) + [apps.BLOCK[:-1] + b"!"])


@pytest.mark.parametrize("name", ["lines", "stream"])
def test_a_response_that_is_collected_first_voids_what_is_measured_by_parts(
    name: str, serve: Serve
) -> None:
    right = getattr(apps, name)

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return [b"".join(right(environ, start_response))]

    with pytest.raises(WrongAnswer, match="collects a whole response before it sends any"):
        measure(SCENARIOS[name], serve(application))


@pytest.mark.parametrize("later", [short_stream, other_end, failing, other_body])
def test_a_wrong_body_under_load_voids(serve: Serve, later: Application) -> None:
    served = serve(spoiled(apps.stream, later))
    with pytest.raises(WrongAnswer, match=r"a body of [0-9]+ bytes|status 500"):
        measure(SCENARIOS["stream"], served)


@pytest.mark.parametrize("later", [other_body, failing])
def test_a_wrong_answer_to_uploads_under_load_voids(serve: Serve, later: Application) -> None:
    served = serve(spoiled(apps.upload, later))
    with pytest.raises(WrongAnswer, match=r"status (200, b'other|500)"):
        measure(SCENARIOS["upload"], served)


def test_a_wrong_status_beside_much_work_voids(serve: Serve) -> None:
    asked = itertools.count()

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # The first two are the check before the measurement.
        chosen = apps.mixed if next(asked) < 2 else failing
        return chosen(environ, start_response)

    with pytest.raises(WrongAnswer, match=r"GET /\S*: status 500"):
        measure(SCENARIOS["cpu-mix"], serve(application))


def test_a_refused_connection_is_no_quick_answer(serve: Serve) -> None:
    served = serve(apps.hello)
    port = port_of(served)
    served.stop()
    asker = mix.Asker(port, "/", time.perf_counter() + 0.05)
    asker.run(0)
    assert asker.errors == len(asker.times) > 0
    assert set(asker.times) == {mix.OVERTIME}


@pytest.mark.parametrize("client", ["wrk", "mix", "upload"])
def test_an_interrupted_measurement_leaves_no_load(client: str) -> None:
    if client == "wrk":
        require_program("wrk")
    load = Load(seconds=120, pin=(), python=sys.executable)
    held: list[socket.socket] = []
    stopped = threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        while not held:
            connection = listener.accept()[0]
            connection.settimeout(30)
            if connection.recv(1):
                held.append(connection)
            else:  # wrk tries the address before it begins
                connection.close()
        # One that comes just before a blocking system call is seen only after it.
        signal.pthread_kill(main, signal.SIGUSR1)
        while not stopped.wait(0.1):
            signal.pthread_kill(main, signal.SIGUSR1)

    def stop(number: int, frame: object) -> None:
        if not stopped.is_set():
            stopped.set()
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, stop)
    interrupter = threading.Thread(target=interrupt)
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(30)
            target = here(listener.getsockname()[1])
            interrupter.start()
            runs: dict[str, Callable[[], object]] = {
                "wrk": lambda: wrk.run(target, load, connections=1),
                "mix": lambda: programs.run(target, load, "mix", busy="/", connections=1),
                "upload": lambda: programs.run(target, load, "upload", size=10, connections=1),
            }
            with pytest.raises(KeyboardInterrupt):
                runs[client]()
    finally:
        stopped.set()
        interrupter.join(30)
        signal.signal(signal.SIGUSR1, before)
    (connection,) = held
    with connection:
        connection.settimeout(10)
        # Its end closes the connection, or resets it for what was not read.
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(65536):
                pass


@needs_wrk
def test_starved_clients_are_a_rate_of_zero(serve: Serve) -> None:
    served = serve(apps.mixed, threads=1, response_overflow="block", response_buffer=65536)
    sample = SlowReaders(clients=2, settling=0.3)(here(served), LOAD)
    assert sample.value == 0
    assert sample.extra["onset"] == 0
    assert sample.extra["rate_without"] > 0
    assert sample.extra["settled"] >= LOAD.seconds + 0.3


@needs_wrk
def test_connections_that_are_not_kept_are_counted(serve: Serve) -> None:
    # Room for two of the loads, as one may begin while the last one's connections are still closed.
    served = serve(apps.mixed, max_connections=40)
    sample = Idle(connections=80)(here(served), LOAD)
    assert 0 < sample.extra["held"] <= 40
    assert sample.errors == 80 - sample.extra["held"]


@needs_wrk
def test_a_server_that_keeps_no_connection_is_no_sample(serve: Serve) -> None:
    with pytest.raises(WrongAnswer, match="keeps no connection"):
        Idle(connections=5)(here(serve(apps.mixed, keep_alive=0)), LOAD)


@needs_wrk
def test_a_closed_port_is_an_error_of_wrk(serve: Serve) -> None:
    served = serve(apps.hello)
    target = here(served)
    served.stop()
    assert wrk.run(target, LOAD, connections=1) == wrk.Report(errors=1)


def test_a_closed_port_is_a_wrong_answer(serve: Serve) -> None:
    served = serve(apps.hello)
    target = here(served)
    served.stop()
    with pytest.raises(WrongAnswer, match="ConnectionRefused"):
        ask(target.port)


def test_a_client_that_fails_says_why(serve: Serve) -> None:
    with pytest.raises(RuntimeError, match=r"client 'download' failed: .*--end"):
        programs.run(here(serve(apps.hello)), LOAD, "download", size=1)


@needs_wrk
def test_import_times_are_left_out_where_unknown(serve: Serve) -> None:
    target = here(serve(apps.start), name="another")
    assert SCENARIOS["start"].measure(target, LOAD).extra == {}


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    ("name", "path", "size"),
    [
        ("hello", "/", 14),
        ("sleep", "/", 14),
        ("lines", "/", 39_000),
        ("stream", "/", 16 << 20),
        ("file", "/", 64 << 20),
        ("small_file", "/", 1 << 20),
        ("upload", "/", 1),
        ("processes", "/", 14),
        ("mixed", "/", 14),
        ("mixed", "/stream", 16 << 20),
        ("mixed", "/large", 256 << 20),
        ("start", "/", 14),
    ],
)
def test_applications_keep_to_pep_3333(name: str, path: str, size: int, wrapped: bool) -> None:
    environ: dict[str, Any] = {"SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": ""}
    setup_testing_defaults(environ)
    if wrapped:
        environ["wsgi.file_wrapper"] = FileWrapper
    statuses: list[str] = []
    body = validator(getattr(apps, name))(
        environ, lambda status, headers, exc_info=None: statuses.append(status) or bytes
    )
    try:
        assert sum(map(len, body)) == size
    finally:
        body.close()  # type: ignore[attr-defined]
    assert statuses == ["200 OK"]


def test_uploads_are_read_to_their_end(serve: Serve) -> None:
    body = bytes(range(250)) * 12_000
    port = port_of(serve(apps.upload))
    assert ask(port, method="POST", body=body) == b"3000000"
    assert ask(port, "/?crc", method="POST", body=body) == b"3000000 %08x" % crc32(body)


def test_an_unknown_path_is_not_found(serve: Serve) -> None:
    with pytest.raises(WrongAnswer, match="status 404"):
        ask(port_of(serve(apps.mixed)), "/nowhere")
