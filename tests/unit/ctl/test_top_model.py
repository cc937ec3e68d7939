"""What top computes from two answers, and what becomes of answers that lack something."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from control_answers import HOSTILE, Shop

from wsgi_async.ctl.top.charts import ASCII, UNICODE, chart, portions, rate
from wsgi_async.ctl.top.model import Picture, Trends, as_json, picture


def two(shop: Shop, seconds: float = 2.0, **answered: int) -> Picture:
    before = shop.ask("/status")
    shop.turn(seconds, **answered)
    return picture(before, shop.ask("/status"), shop.ask("/requests"))


def test_what_happens_in_a_second_is_of_two_answers() -> None:
    now = two(Shop(), 2.0, s2xx=400, s5xx=3)
    assert now.rates.requests == {"1xx": 0, "2xx": 200, "3xx": 0, "4xx": 0, "5xx": 1.5}
    assert now.rates.all == 201.5
    assert now.rates.sent == 403 * 14_000 / 2
    assert [row.rate for row in now.processes] == [50, 50, 50, 50]
    assert two(Shop(), 0.0).rates.all is None  # the same answer twice


def test_the_figures_of_all_processes_are_added() -> None:
    now = two(Shop())
    assert now.threads == {"busy": 17, "idle": 15, "aside": 2, "lost": 0}
    assert (now.queued, now.oldest_wait, now.files) == (3, 0.22, 74 + 75 + 76 + 77)
    assert now.connections["head"] == 12
    assert now.uptime == 275_522
    assert now.in_flight == 11


def test_another_server_has_no_past() -> None:
    """Behind the same socket: its counts have begun at 0 again."""
    shop = Shop()
    before = shop.ask("/status")
    for changed in ({"pid": 5000}, {"started": 5.0}):
        after = {**shop.ask("/status"), **changed, "now": before["now"] + 1}
        assert picture(before, after, None).rates.all is None
    fewer = shop.ask("/status")
    fewer["now"] += 1
    before["totals"]["requests"]["2xx"] = 9
    assert picture(before, fewer, None).rates.requests["2xx"] is None


def test_a_new_process_with_a_number_of_before_begins_at_nothing() -> None:
    shop = Shop()
    before = shop.ask("/status")
    shop.turn(1.0, s2xx=40)
    shop.status["processes"][0]["pid"] = 9999
    rates = [row.rate for row in picture(before, shop.ask("/status"), None).processes]
    assert rates == [None, 10, 10, 10]


@pytest.mark.parametrize("odd", [None, "text", [], {}, True, float("nan"), -1, {"a": None}])
def test_whatever_is_missing_or_odd_is_not_known(odd: object) -> None:
    """An answer may be of another version, or of a process that is dying."""
    shop = Shop(1)

    def paths(value: Any, path: tuple[Any, ...] = ()) -> Any:
        keys = (
            value
            if isinstance(value, dict)
            else range(len(value))
            if isinstance(value, list)
            else ()
        )
        for key in keys:
            yield (*path, key)
            yield from paths(value[key], (*path, key))

    for answer, path in itertools.chain(
        (("/status", path) for path in paths(shop.status)),
        (("/requests", path) for path in paths(shop.requests)),
    ):
        answers = {"/status": shop.ask("/status"), "/requests": shop.ask("/requests?stacks=1")}
        place = answers[answer]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = odd
        found = picture(shop.status, answers["/status"], answers["/requests"])
        assert isinstance(found, Picture)
        Trends().add(found)
    assert picture({}, {}, {}) == picture(None, {}, None)


def test_what_a_client_sent_is_escaped() -> None:
    shop = Shop()
    shop.add(HOSTILE, id="r-\x1b[2J", method="G\x07")
    now = picture(None, shop.ask("/status"), shop.ask("/requests"))
    for row in now.requests:
        text = "".join((row.id, row.target, row.method, row.client, row.state, row.thread))
        assert text.isprintable()
    assert "[bold red]" in now.requests[3].target
    shop.status["name"] = shop.status["addresses"][0] = "a\x1b"
    now = picture(None, shop.ask("/status"), None)
    assert now.name == now.addresses[0] == r"a\x1b"


def test_a_blocked_application_loop_has_a_row_of_its_own() -> None:
    shop = Shop()
    standing = {"blocked": True, "stack": ["requests.get(url)"]}
    shop.requests["processes"][1] |= {"loop": standing, "application_loop": standing}
    shop.requests["processes"][2]["application_loop"] = {"blocked": False, "stack": None}
    now = picture(None, shop.status, shop.requests)
    event, application = [row for row in now.requests if row.state == "blocked"]
    assert event.target == "event loop of 4102 does not turn"
    assert application.target == "application loop of 4102 does not turn"
    assert application.stack == ("requests.get(url)",)
    assert event.id != application.id


def test_who_is_blocked_or_silent_is_named() -> None:
    shop = Shop()
    shop.requests["processes"][1]["loop"] = {"blocked": True, "stack": ["hang()"]}
    shop.requests["missing"] = [{"pid": 4103, "number": 2, "heard": 14.2}]
    shop.requests["processes"][0]["more"] = 30
    now = picture(None, shop.ask("/status"), shop.ask("/requests"))
    assert [row.trouble for row in now.processes] == ["", "blocked", "silent", ""]
    [loop] = [row for row in now.requests if row.state == "blocked"]
    assert loop.pid == 4102
    assert loop.stack == ("hang()",)
    assert now.missing == (4103,)
    assert now.in_flight == 41  # a loop is no request


def test_latency_is_that_of_what_ended_between_the_answers() -> None:
    shop = Shop()
    buckets = {"bounds": [0.01, 0.1, 1.0], "counts": [1000, 1000, 1000, 1000]}
    shop.status["totals"]["duration"] = buckets
    before = shop.ask("/status")
    assert picture(before, before, None).latency == (None, None, None)
    buckets["counts"] = [1000, 1080, 1100, 1100]
    median, ninety, most = picture(before, shop.ask("/status"), None).latency
    assert median == pytest.approx(0.01 + 0.09 * 50 / 80)
    assert ninety == pytest.approx(0.1 + 0.9 * 10 / 20)
    assert most == pytest.approx(0.1 + 0.9 * 19 / 20)
    buckets["counts"] = [1000, 1000, 1000, 1009]
    assert picture(before, shop.ask("/status"), None).latency == (1.0, 1.0, 1.0)


def test_data_has_both_answers_and_what_happens_in_a_second() -> None:
    shop = Shop()
    before = shop.ask("/status")
    shop.turn(1.0, s2xx=8)
    data = as_json(before, shop.ask("/status"), shop.ask("/requests"))
    assert data["status"] == shop.status
    assert data["rates"]["requests"]["2xx"] == data["rates"]["all"] == 8
    assert data["processes"] == {"0": 2, "1": 2, "2": 2, "3": 2}


def test_parts_of_a_bar_fill_it_and_none_is_lost() -> None:
    for values in ([1, 1000, 0, 1], [0, 0, 5, 0], [3, 3, 3, 3], [1, 2, 300, 4]):
        for width in range(4, 40):
            cells = portions(values, width)
            assert sum(cells) == width
            assert all((n > 0) == (value > 0) for n, value in zip(cells, values, strict=True))
    assert portions([0, 0], 9) == portions([1, 2], 0) == [0, 0]
    assert sum(portions([1, 1, 1, 1], 2)) == 2


def test_charts_show_the_newest_on_the_right_and_the_least_there_is() -> None:
    assert chart([1, 1000, 0, None, 500], 7, 1, UNICODE) == ["  ▁▇  ▄"]
    assert chart([4, 8], 2, 2, UNICODE) == [" █", "██"]
    assert chart([1, 2, 3], 2, 1, ASCII) == ["+%"]
    assert chart([5, 5], 2, 1, UNICODE, is_level=True) == ["▄▄"]
    assert chart([1], 1, 1, UNICODE, top=7) == ["▁"]
    assert chart([], 3, 1, UNICODE) == ["   "]
    assert chart([1], 0, 1, UNICODE) == [""]


def test_rates_are_short() -> None:
    values = (None, 0, 0.04, 0.3, 9.96, 1234.4, 12_300, 999_960, 2.5e6)
    words = ["-", "0", "0.1", "0.3", "10", "1,234", "12.3k", "1.0M", "2.5M"]
    assert [rate(value) for value in values] == words
