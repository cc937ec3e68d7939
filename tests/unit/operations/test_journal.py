"""The journal: what is told by datagrams, what is kept of it, and what nobody may push out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from wsgi_async.errors import ApplicationError
from wsgi_async.events import CertificateInfo, Observer, RequestInfo, hears
from wsgi_async.operations.journal import KEPT, Entry, Journal, without_query
from wsgi_async.operations.journaling import MOST, JournalObserver, NotingObserver

SECRET = "/pay?card=4111"
REQUEST = RequestInfo("id-7", "GET", SECRET, "HTTP/1.1", "127.0.0.1:5", (("X-A", "b"),))


@pytest.fixture
def journal() -> Iterator[Journal]:
    journal = Journal()
    yield journal
    journal.close()


class Clocked:
    """An observer whose second a test chooses.

    :param journal: where to.
    """

    def __init__(self, journal: Journal, process: int = 3) -> None:
        self.now = 1_796_000_000.0
        self.observer = JournalObserver(journal.send, process, lambda: self.now)


def texts(journal: Journal, *, shows_queries: bool = True) -> list[str]:
    journal.collect()
    return [entry["text"] for entry in journal.entries(shows_queries=shows_queries)]


def test_an_entry_says_when_what_and_whose(journal: Journal) -> None:
    clocked = Clocked(journal)
    clocked.observer.app_error(REQUEST, "the application raised", ValueError("no such card"))
    journal.collect()
    [entry] = journal.entries()
    assert entry == {
        "at": 1_796_000_000.0,
        "kind": "application",
        "process": 3,
        "id": "id-7",
        "text": f"the application raised ValueError: no such card: GET {SECRET}",
    }


def test_each_event_has_a_kind(journal: Journal) -> None:
    clocked = Clocked(journal)
    tell, stack = clocked.observer, ['File "a.py", line 1, in f', "    g()", 'File "b.py", line 2']
    tell.app_error(REQUEST, "broken", ApplicationError("broken"))
    tell.app_warning(REQUEST, "mended")
    tell.request_refused("client", 503, "the queue is full", REQUEST)
    tell.connection_dropped("client", "too slow")
    tell.request_slow(REQUEST, "thread", 3.0, stack)
    tell.thread_lost(REQUEST, "thread", 9.0, [])
    tell.threads_exhausted(8)
    tell.threads_recovered(2)
    tell.application_loop_blocked(1.2, stack)
    tell.application_loop_recovered(4.0)
    tell.warning("a doubt")
    tell.error("an error inside the server", KeyError("x"))
    tell.report("first\nsecond")
    journal.collect()
    found = {(entry["kind"], entry["text"]) for entry in journal.entries()}
    about = f": GET {SECRET}"
    assert found == {
        ("application", f"broken{about}"),
        ("warning", f"mended{about}"),
        ("refused", f"503: the queue is full{about}"),
        ("dropped", "client: too slow"),
        ("slow", f'in the application for 3.0 s, and still is; File "b.py", line 2{about}'),
        ("lost", f"nothing for 9.0 s; thread thread is given up{about}"),
        ("lost", "8 threads are lost: new requests get 503"),
        ("note", "requests are taken again; threads still lost: 2"),
        ("slow", 'the application loop has been blocked for 1.2 s; File "b.py", line 2'),
        ("note", "the application loop goes on; it was blocked for 4.0 s"),
        ("warning", "a doubt"),
        ("server", "an error inside the server KeyError: 'x'"),
        ("server", "first"),
    }


def test_the_parent_notes_what_it_does(journal: Journal) -> None:
    notes = NotingObserver(journal.send)
    notes.info("Process 1 is ready")
    certificate = CertificateInfo("a.pem", "", ("a.test",), 0.0, 0.0)
    notes.certificates((certificate,))
    notes.certificates((certificate,), are_renewed=True)
    journal.collect()
    assert {(entry["kind"], entry["process"]) for entry in journal.entries()} == {
        ("note", "parent")
    }
    assert len(journal.entries()) == 2


def test_a_request_that_goes_well_is_no_business_of_it() -> None:
    observer = JournalObserver(lambda entry: True, 0)
    for event in ("request_started", "request_finished", "app_stderr"):
        assert not hears(observer, event)
    assert not any(getattr(observer, want) for want in vars(Observer) if want.startswith("wants_"))


def test_queries_and_what_exceptions_say_are_masked(journal: Journal) -> None:
    clocked = Clocked(journal)
    clocked.observer.app_error(REQUEST, "the application raised", ValueError("card=4111 is bad"))
    clocked.observer.request_refused("c", 400, "Not card=4111", REQUEST)
    found = texts(journal, shows_queries=False)
    assert sorted(found) == [
        "400: Not ...: GET /pay?...",
        "the application raised ValueError: GET /pay?...",
    ]
    assert "4111" in "".join(texts(journal))


def test_what_an_application_put_into_a_field_is_masked(journal: Journal) -> None:
    """The server quotes it, in whatever quotation marks, where it says what is wrong with it."""
    observer = Clocked(journal).observer
    for message in (
        "the value of header X-A has a control character: 'card=4111\\n'; encode it first",
        'Content-Length must be digits only, not "it\'s 4111"',
        "'4111 a' is not a valid header name",
        "each header must be a (name, value) tuple, not (b'X-A', 4111)",
    ):
        observer.app_error(REQUEST, message, ApplicationError(message))
    observer.app_error(REQUEST, "the iterable's close() raised", ValueError("4111"))
    about = ": GET /pay?..."
    assert sorted(texts(journal, shows_queries=False)) == [
        f"ApplicationError ...{about}",
        f"Content-Length must be digits only, not ...{about}",
        f"each header must be a (name, value) tuple, not (b...{about}",
        f"the iterable's close() raised ValueError{about}",
        f"the value of header X-A has a control character: ...{about}",
    ]
    assert "".join(texts(journal)).count("4111") == 10


@pytest.mark.parametrize(
    ("target", "expected"),
    [("/a", "/a"), ("/a?", "/a?"), ("/a?b", "/a?..."), ("/?x=1?y", "/?..."), ("*", "*")],
)
def test_a_target_without_its_query(target: str, expected: str) -> None:
    assert without_query(target, target) == expected


def test_what_a_client_sent_is_escaped_and_bounded(journal: Journal) -> None:
    clocked = Clocked(journal)
    hostile = REQUEST._replace(
        method="G\x1b]0;x", target='/\n"<script>\xff' + "y" * 5000, id="\x00" * 500
    )
    clocked.observer.request_refused("c", 400, "\U0001f600" * 5000, hostile)
    journal.collect()
    [entry] = journal.entries()
    assert entry["kind"] == "refused"
    shown = json.dumps(entry)
    assert len(shown) < 4096
    assert not any(ord(c) < 32 for c in entry["text"] + entry["id"])
    assert "<script>" in entry["text"]  # text, for the page to show as text


def test_one_process_says_so_much_in_a_second_and_the_rest_is_counted(journal: Journal) -> None:
    clocked = Clocked(journal)
    for number in range(3 * MOST):
        clocked.observer.error(str(number))
    assert len(texts(journal)) == MOST
    clocked.now += 1
    clocked.observer.error("again")
    assert len(texts(journal)) == MOST + 1
    assert journal.lost == 2 * MOST


def test_nobody_waits_where_nobody_listens(journal: Journal) -> None:
    """All that finds no room is dropped and counted, and what has found room is not lost."""
    clocked = Clocked(journal)
    sent = 2000
    for number in range(sent):
        clocked.now += 1
        clocked.observer.error(f"{number} {'x' * 300}")
    journal.collect(10**6)
    kept = journal._words[1]
    clocked.now += 1
    clocked.observer.error("the last")
    journal.collect()
    assert 0 < kept < sent
    assert journal.lost == sent - kept
    assert journal.entries()[0]["text"] == "the last"


def test_clients_push_out_nothing_but_what_clients_cause(journal: Journal) -> None:
    clocked = Clocked(journal)
    clocked.observer.error("the only one")
    for number in range(1000):
        clocked.now += 1
        clocked.observer.request_refused("c", 400, str(number))
        journal.collect()
    found = journal.entries()
    assert len(found) == KEPT // 2 + 1
    assert found[0]["text"] == "400: 999"  # the newest first
    assert found[-1]["text"] == "the only one"
    assert [entry["text"] for entry in journal.entries(2)] == ["400: 999", "400: 998"]


def test_it_outlives_who_writes_it(journal: Journal) -> None:
    """A process that is killed, and what was sent while there was none."""
    clocked = Clocked(journal)
    clocked.observer.error("before")
    pid = os.fork()
    if not pid:
        journal.collect()
        os._exit(0)
    os.waitpid(pid, 0)
    clocked.observer.error("between")
    assert sorted(texts(journal)) == ["before", "between"]


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"",
            b"garbage",
            b"[]",
            b"1",
            b"{}",
            b'{"kind": 1, "lost": "x"}',
            b'{"lost": 1}',
            b"\xff",
        ),
        *(b'{"kind": "note"}', b'{"kind": "note", "at": "now"}', b'{"kind": "note", "at": NaN}'),
        *(b'{"kind": ["note"], "at": 1}', b'{"kind": "other", "at": 1}', b"[" * 4000),
        *(b'{"kind": "note", "at": 1, "lost": 1e999}', b'{"kind": "note", "at": 1, "lost": -1}'),
        b'{"kind": "note", "at": 1, "lost": %d}' % 2**64,
    ],
)
def test_what_is_no_entry_is_left_out(journal: Journal, data: bytes) -> None:
    journal._door.send(data)
    assert texts(journal) == []


def test_a_descriptor_that_is_somebody_elses_by_now_gets_nothing(journal: Journal) -> None:
    number = journal._door.fileno()
    reader, writer = os.pipe()
    os.dup2(writer, number)  # as when the application has closed it
    assert not journal.send({"kind": "server"})
    os.set_blocking(reader, False)
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    os.close(reader)
    os.close(writer)


def test_who_reads_meets_no_part_of_an_entry(journal: Journal) -> None:
    """One that is about to be overwritten has no number."""
    clocked = Clocked(journal)
    clocked.observer.error("whole")
    journal.collect()
    words, _ = journal._slot(1, is_by_client=False)
    words[0] = 0
    assert journal.entries() == []


def test_an_exception_that_cannot_be_shown_harms_nobody() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    sent: list[Entry] = []
    observer = JournalObserver(lambda entry: not sent.append(entry), 0)
    observer.error("oh", Odd())
    assert sent[0]["text"] == "oh Odd"
