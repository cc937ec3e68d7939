"""Where threads are in an application: which stacks are counted, how often, and by which names."""

from __future__ import annotations

import gc
import itertools
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pools import until
from responses import Recorder

from wsgi_async.errors import ApplicationError
from wsgi_async.middleware import Errors
from wsgi_async.operations import sampling
from wsgi_async.operations.sampled_stacks import LEFT_OUT, MOST_FRAMES, MOST_STACKS, OTHER, Stacks
from wsgi_async.operations.sampling import BEGIN, TAKE, Sampler, Ticks, cpu_clock
from wsgi_async.threads import InputStream
from wsgi_async.wsgi.calling import WSGIResponse

WAIT = 10.0

linux = pytest.mark.skipif(sys.platform != "linux", reason="its clocks are Linux's")

Key = tuple[int, ...] | None


class Unheard:
    """Is told what such an application does wrong: it begins no response."""

    def app_error(self, message: str, error: BaseException | None) -> None:
        assert isinstance(error, ApplicationError)

    def app_warning(self, topic: str, message: str) -> None:
        pass


def call(application: Callable[..., Any], writer: Any = None) -> None:
    """Call it as a pool thread does."""
    WSGIResponse(application, writer or Recorder(), Unheard(), False).begin({})


class Seen:
    """What is seen of this thread when something in a stack says so."""

    def __init__(self) -> None:
        self.stacks = Stacks()
        self.keys: list[Key] = []

    def look(self) -> None:
        self.keys.append(self.stacks.key_of(sys._getframe(1)))

    @property
    def names(self) -> list[str]:
        """The frames of the only one."""
        [key] = self.keys
        assert key is not None
        self.stacks.add(key, 1, 0.0)
        [(text, _, _)] = self.stacks.listed()
        return [frame.rpartition(":")[0] for frame in text.split(";")]


@pytest.fixture
def seen() -> Seen:
    return Seen()


HERE = "test_sampling.py"


def test_a_stack_begins_with_the_application_and_has_short_names(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    class View:
        def render(self) -> list[bytes]:
            seen.look()
            return []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        return View().render()

    monkeypatch.syspath_prepend(__file__.removesuffix(f"/operations/{HERE}"))
    monkeypatch.setattr(sys, "path", [*sys.path, None, "", "/"])  # whatever is in there
    call(application)
    before = "test_a_stack_begins_with_the_application_and_has_short_names"
    assert seen.names == [
        f"{before}.application (operations/{HERE}",
        f"{before}.View.render (operations/{HERE}",
    ]


def test_an_iteration_is_the_application_as_well(seen: Seen) -> None:
    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        seen.look()
        yield b""

    call(application)
    assert len(seen.names) == 1


def test_middleware_of_the_package_is_none_of_it(seen: Seen) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        seen.look()
        return []

    call(Errors(application))
    assert len(seen.names) == 1
    assert "application" in seen.names[0]


def test_the_servers_own_code_that_it_calls_is_part_of_it(seen: Seen) -> None:
    """An upload that the application waits for is seen as such."""

    class Body:
        def pull(self) -> bytes:
            seen.look()
            return b""

        def close(self) -> None:
            pass

    def application(environ: Any, start_response: Any) -> list[bytes]:
        InputStream(Body()).read()  # type: ignore[arg-type]
        return []

    call(application)
    first, *between, last = seen.names
    assert "application" in first
    assert "Body.pull" in last
    assert any("InputStream.read" in name for name in between)


def test_a_thread_in_no_application_is_not_counted(seen: Seen) -> None:
    seen.look()
    assert seen.stacks.key_of(None) is None
    assert seen.keys == [None]


def test_what_the_server_does_with_a_response_is_its_own(seen: Seen) -> None:
    """Also where it calls the standard library for it."""
    file = WSGIResponse.begin.__code__.co_filename.replace("calling", "checks")
    names: dict[str, Any] = {"look": lambda: seen.look()}
    exec(compile("def respond(self, *args): look()", file, "exec"), names)
    writer = type("OfThePackage", (Recorder,), {"respond": names["respond"]})

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "1")])
        return [b"x"]

    call(application, writer())
    assert seen.keys == [None]


@pytest.mark.parametrize("depth", [300, 900])
def test_deep_stacks_keep_both_ends(seen: Seen, depth: int) -> None:
    def recurse(left: int) -> list[bytes]:
        if left:
            return recurse(left - 1)
        seen.look()
        return []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        return recurse(depth)

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(3000)
    try:
        call(application)
    finally:
        sys.setrecursionlimit(limit)
    [key] = seen.keys
    assert key is not None
    assert len(key) == min(depth + 2, MOST_FRAMES + 1)
    seen.stacks.add(key, 1, 0.0)
    [(text, _, _)] = seen.stacks.listed()
    frames = text.split(";")
    assert "application" in frames[0]
    assert "recurse" in frames[-1]
    assert (LEFT_OUT in frames) is (depth > MOST_FRAMES)


def test_names_are_whatever_exec_makes_them_and_harm_nobody(seen: Seen) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        seen.look()
        return []

    evil = 'a;b 7\n<script>"\x1b[2J\ud800' + "x" * 5000
    code = application.__code__.replace(co_name=evil, co_qualname=evil, co_filename="/\n;" + evil)
    application.__code__ = code
    call(application)
    [name] = seen.names
    assert name.isprintable()
    assert ";" not in name
    assert len(name) < 250


def test_functions_without_end_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that compiles a template for each request."""
    monkeypatch.setattr("wsgi_async.operations.sampled_stacks.MOST_FUNCTIONS", 50)
    seen = Seen()
    for number in range(100):
        names: dict[str, Any] = {"look": seen.look}
        exec(f"def view{number}(environ, start_response):\n look()\n return []", names)
        call(names[f"view{number}"])
    for key in seen.keys:
        assert key is not None
        seen.stacks.add(key, 1, 0.0)
    listed = {text: count for text, count, _ in seen.stacks.listed()}
    assert 20 < len(listed) <= 50
    assert listed[OTHER] == 100 - len(listed) + 1


def test_ten_thousand_stacks_are_bounded_and_none_is_uncounted() -> None:
    stacks = Stacks()
    for number in range(10_000):
        stacks.add((0, 1, number % 2, *[1] * (number // 2)) if number < 40 else (number,), 2, 0.5)
    assert len(stacks._counts) <= MOST_STACKS + 1
    assert sum(ticks for ticks, _ in stacks._counts.values()) == 20_000
    assert sum(busy for _, busy in stacks._counts.values()) == 10_000.0


def test_samples_that_are_missed_are_due_with_the_next_one() -> None:
    ticks = Ticks(10.0, 100)
    assert ticks.wait(9.5) == 0.5
    assert ticks.take(10.0) == 1
    assert ticks.wait(10.0) == pytest.approx(0.01)
    assert ticks.take(10.0101) == 1
    assert ticks.take(10.0499) == 3, "of 10.02, 10.03 and 10.04"
    assert ticks.wait(10.0499) == pytest.approx(0.0001)
    assert ticks.take(10.05) == 1
    assert ticks.left(10.07) == 1, "that of 10.06"
    assert ticks.left(10.05) == 0


def test_each_sample_is_due_once_whatever_the_clock_rounds() -> None:
    for hz in (1, 7, 99, 100, 250):
        ticks, now = Ticks(1e6 + 1 / 3, hz), 1e6 + 1 / 3
        for _ in range(500):
            now += max(ticks.wait(now), 0.0)
            assert ticks.take(now) == 1


@linux
def test_the_clock_of_a_thread_is_the_librarys() -> None:
    ident, native_id = threading.get_ident(), threading.get_native_id()
    assert cpu_clock(native_id) == time.pthread_getcpuclockid(ident)
    ended = threading.Thread(target=int)
    ended.start()
    ended.join(WAIT)
    assert ended.native_id is not None
    native_id = ended.native_id
    until(lambda: sampling._used(native_id) == 0.0)  # the kernel lets it go after Python


class AtWork:
    """A thread in an application, until the test is over."""

    def __init__(self, work: Callable[[threading.Event], object]) -> None:
        self.over = threading.Event()
        self._entered = threading.Event()
        self._work = work
        self.thread = threading.Thread(target=call, args=(self._application,), daemon=True)
        self.thread.start()
        assert self._entered.wait(WAIT)

    def _application(self, environ: Any, start_response: Any) -> list[bytes]:
        self._entered.set()
        self._work(self.over)
        return []

    @property
    def numbers(self) -> tuple[int, int]:
        assert self.thread.ident is not None
        assert self.thread.native_id is not None
        return self.thread.ident, self.thread.native_id

    def end(self) -> None:
        self.over.set()
        self.thread.join(WAIT)
        assert not self.thread.is_alive()


def sleep(over: threading.Event) -> None:
    over.wait(WAIT)


def spin(over: threading.Event) -> None:
    until = time.monotonic() + WAIT
    while not over.is_set() and time.monotonic() < until:
        pass


@pytest.fixture
def put_to_work() -> Iterator[Callable[..., AtWork]]:
    started: list[AtWork] = []

    def start(work: Callable[[threading.Event], object]) -> AtWork:
        started.append(AtWork(work))
        return started[-1]

    yield start
    for each in started:
        each.end()


names = map(str, itertools.count())


def begin(sampler: Sampler, seconds: float, hz: float = 100) -> tuple[str, dict[str, Any]]:
    name = next(names)
    return name, sampler.answer({"do": BEGIN, "id": name, "seconds": seconds, "hz": hz})


def take(sampler: Sampler, name: str) -> dict[str, Any]:
    return sampler.answer({"do": TAKE, "id": name})


def finish(sampler: Sampler, name: str) -> dict[str, Any]:
    """Take it once it has come to its end."""
    assert sampler._current is not None
    assert sampler._current.is_over.wait(WAIT)
    return take(sampler, name)


def test_a_profile_counts_each_sample_or_says_that_it_was_missed(put_to_work: Any) -> None:
    working = put_to_work(sleep)
    sampler = Sampler(lambda: [working.numbers, (1, 1)])
    name, answer = begin(sampler, 0.3)
    assert answer == {"why": ""}
    found = finish(sampler, name)
    assert set(found) == {"why", "stacks", "taken", "missed", "cost", "seconds"}
    assert found["seconds"] >= 0.3
    assert found["taken"] >= 1
    assert found["taken"] + found["missed"] == 30
    # Of those that were due after the last sample nobody knows anything.
    assert found["taken"] <= sum(count for _, count, _ in found["stacks"]) <= 30
    assert found["cost"] > 0
    for text, _, _ in found["stacks"]:
        assert "AtWork._application" in text
        assert "Event.wait" in text


def test_what_an_application_holds_is_let_go_when_it_lets_go(put_to_work: Any) -> None:
    """A frame that is kept keeps connections and files open."""

    class Held:
        pass

    held: list[weakref.ref[Held]] = []

    def work(over: threading.Event) -> None:
        local = Held()
        held.append(weakref.ref(local))
        over.wait(WAIT)

    working = put_to_work(work)
    until(lambda: held)
    gc.collect()
    gc.disable()
    try:
        one = sampling._Sampling(lambda: [working.numbers], "one", 1.0, 100)
        one._sample(1)
        assert one.result()["stacks"]
        working.end()
        assert held[0]() is None
    finally:
        gc.enable()


@linux
def test_who_computes_is_told_from_who_waits(put_to_work: Any) -> None:
    threads = [put_to_work(sleep), put_to_work(spin)]
    sampler = Sampler(lambda: [each.numbers for each in threads])
    name, _ = begin(sampler, 0.5)
    cpu = {"sleep": 0.0, "spin": 0.0}
    for text, _, used in finish(sampler, name)["stacks"]:
        cpu["spin" if "spin" in text else "sleep"] += used
    assert cpu["sleep"] < 0.05 * cpu["spin"]


def test_elsewhere_no_cpu_time_is_told(put_to_work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    working = put_to_work(sleep)
    monkeypatch.setattr(sampling.sys, "platform", "darwin")
    sampler = Sampler(lambda: [working.numbers])
    name, _ = begin(sampler, 0.05)
    assert {used for _, _, used in finish(sampler, name)["stacks"]} == {None}


def test_a_second_one_is_refused_until_the_first_is_over() -> None:
    sampler = Sampler(list)
    first, _ = begin(sampler, 40)
    _, refused = begin(sampler, 1)
    assert refused == {"why": "another profile is being taken, for 40 s more"}
    assert take(sampler, "another")["why"].startswith("there is no such profile")
    taken = take(sampler, first)
    assert taken["seconds"] < 40
    assert taken["stacks"] == []
    assert take(sampler, first)["why"], "it is given once"
    second, answer = begin(sampler, 1)
    assert answer == {"why": ""}
    take(sampler, second)


def test_what_nobody_takes_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked for it may have gone."""
    sampler = Sampler(list)
    first, _ = begin(sampler, 0.01)
    assert sampler._current is not None
    assert sampler._current.is_over.wait(WAIT)
    monkeypatch.setattr(sampling, "KEPT", 0.0)
    second, answer = begin(sampler, 0.01)
    assert answer == {"why": ""}
    assert take(sampler, first)["why"]
    until(lambda: sampler._current is None)
    assert take(sampler, second)["why"]


def test_an_answer_has_a_bound_and_none_is_uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MOST_TEXT", 1000)
    one = sampling._Sampling(list, "one", 1.0, 100)
    for number in range(100):
        frame = compile("look()", f"file{number}.py", "exec")
        one._stacks._learn(frame)
        one._stacks.add((number + 2,), 100 - number, 0.5)
    stacks = one.result()["stacks"]
    assert sum(map(len, (text for text, _, _ in stacks))) < 1000
    assert stacks[0][:2] == ("<module> (file0.py:1)", 100)
    assert stacks[-1][0] == OTHER
    assert sum(count for _, count, _ in stacks) == 5050
