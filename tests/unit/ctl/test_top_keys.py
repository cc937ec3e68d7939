"""What keys of top do, and what a terminal's bytes are as keys."""

from __future__ import annotations

import pytest
from control_answers import Shop

from wsgi_async.ctl.top.decoding import Decoder
from wsgi_async.ctl.top.keys import (
    HELP,
    INTERVALS,
    KEYS,
    Choices,
    Mode,
    Sort,
    chosen,
    follow,
    listed,
    press,
)
from wsgi_async.ctl.top.model import RequestLine, picture


def requests(shop: Shop, *, stacks: bool = False) -> tuple[RequestLine, ...]:
    answer = shop.ask(f"/requests?stacks={int(stacks)}")
    return picture(None, shop.ask("/status"), answer).requests


def typed(choices: Choices, keys: list[str], rows: tuple[RequestLine, ...]) -> Choices:
    for key in keys:
        choices = press(choices, key, listed(rows, choices))
    return choices


def test_every_key_is_in_the_page_of_keys() -> None:
    told = {key for keys, _ in HELP for key in keys.split()}
    for mode in (Mode.TABLE, Mode.STACK):
        assert {word for key in KEYS[mode] for word in key.split()} <= told


def test_sorted_by_what_and_which_way() -> None:
    rows = requests(Shop())
    ages = [row.age or 0 for row in listed(rows, Choices())]
    assert ages == sorted(ages, reverse=True)
    by_target = typed(Choices(), ["t"], rows)
    targets = [row.target for row in listed(rows, by_target)]
    assert targets == sorted(targets)
    turned = typed(by_target, ["t"], rows)
    assert [row.target for row in listed(rows, turned)] == targets[::-1]
    assert typed(by_target, ["r"], rows) == turned
    assert typed(turned, ["a"], rows) == Choices()
    states = [row.state for row in listed(rows, Choices(sort=Sort.STATE))]
    assert states == sorted(
        states, key=["running", "queued", "parked", "sending", "receiving"].index
    )


def test_what_is_meant_to_be_old_is_not_first_by_its_age() -> None:
    shop = Shop()
    shop.add("/events", 0, state="live", age=90_000.0)
    shop.add("/feed", 1, state="live", age=0.001)
    for turned in (False, True):
        rows = listed(requests(shop), Choices(is_reversed=turned))
        assert {row.target for row in rows[-2:]} == {"/events", "/feed"}


def test_a_blocked_loop_is_first_however_it_is_sorted() -> None:
    shop = Shop()
    shop.requests["processes"][3]["loop"] = {"blocked": True, "stack": ["hang()"]}
    for sort in Sort:
        for turned in (False, True):
            rows = listed(requests(shop), Choices(sort=sort, is_reversed=turned))
            assert rows[0].state == "blocked"


def test_the_filter_wants_every_word() -> None:
    rows = requests(Shop())
    choices = typed(Choices(), ["/", *"SEARCH", "space", *"4101x", "backspace"], rows)
    assert [row.target for row in listed(rows, choices)] == ["/search?q=blue+bicycle&page=2"] * (
        len(listed(rows, choices))
    )
    assert choices.filter == "SEARCH 4101"
    kept = typed(choices, ["enter"], rows)
    assert (kept.mode, kept.filter) == (Mode.TABLE, "SEARCH 4101")
    again = typed(kept, ["/", "ctrl-u", "q", "up"], rows)
    assert (again.mode, again.filter) == (Mode.FILTER, "q")  # no key but what is typed
    assert typed(again, ["escape"], rows).filter == "SEARCH 4101"
    assert typed(kept, ["escape"], rows).filter == ""


def test_a_request_stays_chosen_wherever_it_moves() -> None:
    shop = Shop()
    rows = requests(shop)
    choices = typed(Choices(), ["down", "j", "down", "k"], rows)
    assert chosen(listed(rows, choices), choices) == 2
    [wanted] = [row for row in rows if row.id == choices.chosen]
    turned = typed(choices, ["r"], rows)
    assert listed(rows, turned)[chosen(listed(rows, turned), turned)] == wanted
    left = [row for row in listed(rows, choices) if row != wanted]
    assert chosen(left, choices) == 2  # the one in its place
    assert chosen([], choices) == chosen([], Choices()) == 0
    last = typed(choices, ["G"], rows)
    assert chosen(listed(rows, last), last) == len(rows) - 1
    assert typed(last, ["home"], rows).chosen is None  # whichever is oldest
    assert typed(Choices(), ["up", "page up"], rows).row == 0


def test_a_stack_is_shown_and_kept_when_its_request_has_ended() -> None:
    shop = Shop()
    choices = typed(Choices(), ["enter"], requests(shop))
    assert choices.mode is Mode.STACK
    assert choices.opened is not None
    assert choices.opened.stack is None
    choices = follow(choices, requests(shop, stacks=True))
    assert choices.opened is not None
    assert choices.opened.stack is not None
    assert follow(choices, ()) == choices
    assert follow(choices, requests(shop)).opened == choices.opened  # an answer without stacks
    scrolled = typed(choices, ["[", "page up", "["], requests(shop))
    assert scrolled.scroll == len(choices.opened.stack) - 1  # its outermost line is still shown
    assert typed(scrolled, ["]"] * 9, requests(shop)).scroll == 0
    moved = typed(scrolled, ["down"], requests(shop))
    assert moved.opened is not None
    assert moved.opened.id != choices.opened.id
    assert moved.scroll == 0
    for key in ("enter", "escape"):
        closed = typed(moved, [key], requests(shop))
        assert (closed.mode, closed.opened) == (Mode.TABLE, None)
    assert typed(Choices(), ["enter", "down"], ()) == Choices()  # there is none


def test_pages_and_leaving() -> None:
    rows = requests(Shop())
    stack = typed(Choices(), ["enter"], rows)
    assert typed(stack, ["?"], rows).mode is Mode.HELP
    assert typed(stack, ["?", "q"], rows) == stack  # as of a pager
    assert typed(stack, ["?", "a", "down"], rows).mode is Mode.HELP
    for keys in (["q"], ["Q"], ["ctrl-c"], ["?", "ctrl-c"], ["/", "ctrl-c"], ["enter", "q"]):
        assert typed(Choices(), keys, rows).is_leaving
    assert typed(Choices(), ["space"], rows).is_paused
    assert typed(Choices(), ["space", "space"], rows) == Choices()
    assert typed(Choices(), ["x", "ctrl-x", "f9", ""], rows) == Choices()


def test_the_pace_has_bounds() -> None:
    assert typed(Choices(), ["+"] * 9, ()).interval == INTERVALS[0]
    assert typed(Choices(interval=0.7), ["-"] * 9, ()).interval == INTERVALS[-1]


BYTES = {
    b"qjG/?": ["q", "j", "G", "/", "?"],
    b"\x1b[A\x1bOB\x1b[5~\x1b[H\x1bOP": ["up", "down", "page up", "home", "f1"],
    b"\r\n \x7f\x08\x15\x03": [
        "enter",
        "enter",
        "space",
        "backspace",
        "backspace",
        "ctrl-u",
        "ctrl-c",
    ],
    "é→".encode(): ["é", "→"],
    b"\x1b[1;5Ax": ["x"],  # a key that means nothing here
    b"\x1b[<0;3;4Mx": ["x"],
    b"\x1bx": ["escape", "x"],
    b"\xff": ["\ufffd"],
}


@pytest.mark.parametrize("data", BYTES)
def test_bytes_are_keys_however_they_are_cut(data: bytes) -> None:
    assert Decoder().feed(data) == BYTES[data]
    decoder = Decoder()
    assert [key for byte in data for key in decoder.feed(bytes([byte]))] == BYTES[data]


def test_escape_is_known_by_what_does_not_follow() -> None:
    decoder = Decoder()
    assert decoder.feed(b"\x1b") == []
    assert decoder.is_waiting
    assert decoder.flush() == ["escape"]
    assert not decoder.is_waiting
    assert decoder.feed(b"\x1b[1;") == []
    assert decoder.flush() == ["escape", "[", "1", ";"]
    keys = decoder.feed(b"\x1b[" + b"1" * 5000)  # nothing is kept without a bound
    assert len(keys) > 4900
