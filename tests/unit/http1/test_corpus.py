"""Every raw request of corpus/ gets its verdict, however its bytes are cut, by either parser."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from corpus import CASES, DEFAULTS, Case, Verdict, read, text_of

from wsgi_async.errors import HTTPError
from wsgi_async.http.limits import Limits
from wsgi_async.http.reading import Signal
from wsgi_async.http1 import reader as http1
from wsgi_async.http1.reader import RequestReader

SOURCES = [
    Path(http1.__file__).parents[1].joinpath(*names).with_suffix(".py").read_text(encoding="utf-8")
    for names in (
        ("http", "admission"),
        ("http", "target"),
        ("http1", "reader"),
        ("http1", "lines"),
        ("http1", "chunked"),
        ("http1", "diagnosis"),
    )
]
TOKEN_BYTES = {bytes([byte]) for byte in http1._TOKEN_BYTES}
BEFORE = b"POST /before HTTP/1.1\r\nHost: b\r\nContent-Length: 4\r\n\r\n\r\n\r\n"


def check(case: Case, verdict: Verdict, context: str) -> None:
    assert verdict.status == case.status, context
    assert verdict.text == text_of(case.raw, case.limits), context
    assert verdict.requests == case.requests, context
    if case.status is not None:
        assert len(verdict.heads) == len(case.requests) + case.in_body, context
    else:
        assert verdict.incomplete is case.incomplete, context
    if case.expect or case.host:
        head = verdict.heads[-1]
        for name, value in case.expect.items():
            if name == "fields":
                value = tuple((field, text) for field, text in value)
            assert getattr(head, name) == (None if value == "none" else value), context
        if case.host:
            hosts = [value for name, value in head.fields if name.lower() == "host"]
            assert hosts == [case.host], context


def cuts(raw: bytes) -> Iterable[int]:
    """Every position in `raw`; of what is very long, the ends of its lines and a sample.

    Of more than 1000 lines, the first and the last.
    """
    if len(raw) <= 2000:
        return range(len(raw) + 1)
    ends = [match.start() for match in re.finditer(rb"[\r\n]", raw)]
    if len(ends) > 2000:
        ends = ends[:20] + ends[-20:]
    near = {0, len(raw), *ends}
    positions = {at + step for at in near for step in range(-2, 3)} | set(range(0, len(raw), 499))
    return sorted(at for at in positions if 0 <= at <= len(raw))


PARSERS = ("auto", "h11")
"""In a loop: so many tests take longer to begin and to end than they take."""

cases = pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])


def test_the_corpus_is_all_there() -> None:
    assert len(CASES) >= 350
    assert len({case.id for case in CASES}) == len(CASES)
    refused = sum(case.status is not None for case in CASES)
    assert refused >= 200
    assert len(CASES) - refused >= 120


@cases
def test_whole_and_byte_by_byte(case: Case) -> None:
    pieces = [case.raw[at : at + 1] for at in range(len(case.raw))]
    for parser in PARSERS:
        check(case, read(case.limits, parser, [case.raw]), f"{parser}, whole")
        check(case, read(case.limits, parser, pieces), f"{parser}, byte by byte")


SENTENCE = re.compile(r"[A-Z][-A-Za-z0-9/*., ]*[A-Za-z0-9*]")


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.status is not None],
    ids=[case.id for case in CASES if case.status is not None],
)
def test_a_refusal_is_a_whole_sentence_of_ours(case: Case) -> None:
    text = text_of(case.raw, case.limits)
    assert SENTENCE.fullmatch(text)
    assert any(f'"{text}"' in source for source in SOURCES), "of ours, and not of a library's"
    if text == "This is not an HTTP request" and not case.requests:
        # said of bytes that are none, not for want of better
        assert case.raw.removeprefix(b"\r\n")[:1] not in TOKEN_BYTES


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.id, marks=[pytest.mark.soak] if len(case.raw) >= 1 << 16 else [])
        for case in CASES
    ],
)
def test_cut_in_two_anywhere(case: Case) -> None:
    for parser in PARSERS:
        for at in cuts(case.raw):
            verdict = read(case.limits, parser, [case.raw[:at], case.raw[at:]])
            check(case, verdict, f"{parser}, cut at {at}")


@cases
def test_after_another_request(case: Case) -> None:
    """In the default limits the one before has a body that could be taken for an empty line."""
    before, request = BEFORE, ("POST", "/before", b"\r\n\r\n")
    if case.limits != DEFAULTS:
        before, request = b"GET / HTTP/1.0\r\n\r\n", ("GET", "/", b"")
    case = case._replace(requests=[request, *case.requests])
    data = before + case.raw
    for parser in PARSERS:
        check(case, read(case.limits, parser, [data]), f"{parser}, pipelined")
        for cut in (len(before) - 1, len(before), len(before) + 1):
            verdict = read(case.limits, parser, [data[:cut], data[cut:]])
            check(case, verdict, f"{parser}, pipelined, cut at {cut}")


@cases
def test_the_step_for_lone_heads_has_no_verdict_of_its_own(case: Case) -> None:
    """It says what the ordinary way says, or nothing: also of a head that another reader, whose
    limits were wider, has read before."""
    for parser in PARSERS:
        expected = first_verdict(case, parser, lone=False)
        assert first_verdict(case, parser, lone=True) == expected, parser
        read(Limits(0, 0, 0, 0), parser, [case.raw])
        assert first_verdict(case, parser, lone=True, forget=False) == expected, parser


def first_verdict(case: Case, parser: str, *, lone: bool, forget: bool = True) -> object:
    """What a reader says first: a head, NEED_DATA, or a refusal."""
    if forget:
        http1._heads.clear()
    reader = RequestReader(case.limits, parser)
    try:
        head = reader.lone_head(case.raw) if lone else None
        if head is not None:
            assert reader.next_event() is Signal.NEED_DATA
            return head
        reader.receive_data(case.raw)
        return reader.next_event()
    except HTTPError as error:
        with pytest.raises(HTTPError, match=re.escape(str(error))):
            reader.next_event()
        return str(error)
