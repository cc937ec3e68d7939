"""What top shows, as lines of text: the figures, and that every size of terminal is filled."""

from __future__ import annotations

import io
import itertools
import re
from dataclasses import replace

import pytest
from control_answers import HOSTILE, Shop
from rich.color import Color
from rich.console import Console
from rich.style import Style

from wsgi_async.ctl.top.keys import Choices, Mode, listed, press
from wsgi_async.ctl.top.look import COLOURS, PLAIN, Look
from wsgi_async.ctl.top.model import Picture, Trends, picture
from wsgi_async.ctl.top.view import Painter, Size, Standing, page, screen

LOOK = Look.of(colours=True, unicode=True)


def seen(shop: Shop) -> tuple[Picture, Trends]:
    before = shop.ask("/status")
    shop.turn(1.0, s2xx=1200, s4xx=7)
    now = picture(before, shop.ask("/status"), shop.ask("/requests?stacks=1"))
    trends = Trends()
    trends.add(now)
    return now, trends


def lines(
    shop: Shop,
    columns: int = 80,
    rows: int = 24,
    keys: str = "",
    standing: Standing = Standing(),  # noqa: B008
    look: Look = LOOK,
) -> list[str]:
    now, trends = seen(shop)
    choices = Choices()
    for key in keys.split():
        choices = press(choices, key, listed(now.requests, choices))
    made = screen(now, trends, choices, standing, Size(columns, rows), look)
    return [line.plain for line in made]


def in_trouble() -> Shop:
    shop = Shop(12)
    shop.add(HOSTILE)
    shop.requests["processes"][1]["loop"] = {"blocked": True, "stack": ["hang()"]}
    shop.requests["missing"] = [{"pid": 4109, "number": 8, "heard": 14.2}]
    shop.status["processes"][8]["heard"] = 14.2
    shop.status["processes"][3].update(state="booting", threads={}, memory=None, connections={})
    shop.status["fleet"].update(reload="under_way", ready=11)
    return shop


def test_the_figures_of_the_server() -> None:
    text = "\n".join(lines(Shop(), 160, 45))
    for words in (
        *("shop 0.9.0", "process 4100", "up 3d04h", "up 4/4", "generation 3", "2 reloads"),
        *("1,207/s", "1,200/s", "7/s", "17 busy, 2 aside, 15 idle, 0 lost", "382 M"),
        *(
            "3 waiting, the oldest for 0.2s",
            "271  21 busy, 12 head",
            "4 of 4 ready",
            "11 in flight",
        ),
        *("replaced: 1 died, 6 max_requests", "14 overloaded", "2 cut, 318 spooled"),
    ):
        assert words in text


def test_processes_and_requests_have_a_line_each() -> None:
    made = lines(Shop(), 80, 24)
    assert [line.split()[:2] for line in made if re.match(r" *410\d ready", line)] == [
        [str(4101 + number), "ready"] for number in range(4)
    ]
    [oldest] = [line for line in made if "/reports/yearly" in line]
    assert oldest.split()[:4] == ["42s", "4101", "running", "GET"]
    assert "203.0.113.17:50000" in oldest


@pytest.mark.parametrize("keys", ["", "down enter", "/ s e", "?", "/ n o n e enter"])
def test_whatever_its_size_a_terminal_is_filled_exactly(keys: str) -> None:
    """Down to one cell: a terminal may be made that small while it is watched."""
    shop = in_trouble()
    shop.add("/名前" * 40, 3, method="取得")  # two cells each
    now, trends = seen(shop)
    choices = Choices()
    for key in keys.split():
        choices = press(choices, key, listed(now.requests, choices))
    sizes = itertools.product((1, 5, 23, 40, 63, 64, 80, 111, 160), (1, 2, 5, 9, 14, 24, 36))
    for columns, rows in sizes:
        made = screen(now, trends, choices, Standing(), Size(columns, rows), LOOK)
        assert len(made) == rows
        assert {line.cell_len for line in made} == {columns}


def test_nothing_known_is_shown_too() -> None:
    for size in (Size(40, 12), Size(80, 24), Size(160, 45)):
        made = screen(Picture(), Trends(), Choices(), Standing(), size, LOOK)
        assert {line.cell_len for line in made} == {size.columns}


def test_nothing_of_a_client_steers_the_terminal_or_is_markup() -> None:
    shop = Shop()
    shop.add(HOSTILE, age=99.0, id=HOSTILE, method=HOSTILE)
    shop.requests["processes"][0]["requests"][-1].update(
        client=HOSTILE, stack=[f'File "{HOSTILE}", line 3, in {HOSTILE}', HOSTILE]
    )
    now, trends = seen(shop)
    for keys in ([], ["enter"]):
        choices = Choices()
        for key in keys:
            choices = press(choices, key, listed(now.requests, choices))
        made = screen(now, trends, choices, Standing(), Size(400, 50), LOOK)
        assert all(line.plain.isprintable() for line in made)
        assert "[bold red]x[/]" in "".join(line.plain for line in made)
        assert ":smile:" in "".join(line.plain for line in made)
        console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor")
        for text in Painter(console).paint(made):
            assert re.sub(r"\x1b\[[0-9;]*m", "", text).isprintable()  # colours, and no more


def test_trouble_is_said_in_words() -> None:
    """Not by colours alone."""
    made = lines(in_trouble(), 120, 50)
    text = "\n".join(made)
    assert "reloading 11/12" in made[0]
    assert re.search(r"4102 blocked", text)
    assert re.search(r"4109 silent +\S+ +\S+ +14s", text)
    assert "without process 4109" in text
    assert "event loop of 4102 does not turn" in text
    assert "hang()" in "\n".join(lines(in_trouble(), 120, 50, "enter"))


def test_live_responses_and_what_blocks_them() -> None:
    shop = Shop()
    shop.status["processes"][1]["live"] = 1234
    assert re.search(r"4102 .* 1,234 ", "\n".join(lines(shop, 200, 40)))
    shop.status["processes"][1]["application_loop_blocked"] = 4.2
    assert "the application loop is blocked: process 1 for 4.2s" in lines(shop)[1]


def test_the_worst_processes_are_those_there_is_room_for() -> None:
    text = "\n".join(lines(in_trouble(), 80, 24))
    assert "4102 blocked" in text
    assert "4109 silent" in text
    assert "… and 9 more" in text


def test_a_server_that_does_not_answer_is_said_to_be_gone() -> None:
    made = lines(Shop(), standing=Standing("Nobody listens on /run/x.sock", 4.2))
    assert "no answer for 4.2s" in made[0]
    assert "Nobody listens on /run/x.sock" in made[1]
    assert "/reports/yearly" in "\n".join(made)  # what was known last
    assert "paused" in lines(Shop(), standing=Standing(is_paused=True))[0]


def test_the_stack_of_the_chosen_request() -> None:
    text = "\n".join(lines(Shop(), 80, 24, "enter"))
    assert "entries  /srv/shop/shop/ledger.py:81" in text
    assert "cursor.execute(QUERY, (year,))" in text
    assert "full_dispatch_request" not in text  # further out than there is room for
    assert "full_dispatch_request" in "\n".join(lines(Shop(), 80, 24, "enter [ ["))
    assert "nobody works on it yet" in "\n".join(lines(Shop(), 80, 24, "down enter"))
    now, trends = seen(Shop())
    choices = press(Choices(), "enter", listed(now.requests, Choices()))
    ended = replace(now, requests=())
    made = screen(ended, trends, choices, Standing(), Size(80, 24), LOOK)
    assert "It has ended; this is what it did last." in "\n".join(line.plain for line in made)


def test_a_long_path_shows_its_end() -> None:
    shop = Shop()
    shop.requests["processes"][0]["requests"][0]["stack"] = [
        f'File "/{"x" * 300}/views.py", line 7, in show',
        "  work()",
    ]
    [frame] = [line for line in lines(shop, 80, 24, "enter") if line.startswith(" show")]
    assert frame.rstrip().endswith("xx/views.py:7")


def test_the_chosen_request_is_always_in_sight() -> None:
    shop = Shop()
    for number in range(150):
        shop.add(f"/n/{number}", age=0.001 * number, id=f"n{number}")
    for keys, target in (("G", "/n/0"), ("home", "/reports"), ("G up up", "/n/2")):
        assert any(target in line for line in lines(shop, 80, 24, keys)), target


def test_without_colours_and_without_unicode() -> None:
    look = Look.of(colours=False, unicode=False)
    for keys in ("", "enter", "?", "/ x"):
        for size in ((80, 24), (160, 45)):
            made = lines(in_trouble(), *size, keys, look=look)
            assert all(line.isascii() for line in made)
    now, trends = seen(Shop())
    made = screen(now, trends, Choices(), Standing(), Size(80, 24), look)
    console = Console(file=io.StringIO(), color_system=None)
    assert Painter(console).paint(made) == [line.plain for line in made]
    console = Console(
        file=io.StringIO(), force_terminal=True, color_system="truecolor", no_color=True
    )
    painted = "".join(Painter(console).paint(made))
    assert "\x1b[7m" in painted  # what is chosen is turned round
    assert ";2;" not in painted


def test_on_paper_there_is_all_of_it() -> None:
    shop = in_trouble()
    for number in range(60):
        shop.add(f"/n/{number}")
    now, trends = seen(shop)
    text = "\n".join(line.plain for line in page(now, trends, 80, LOOK))
    assert all(f"/n/{number} " in text for number in range(60))
    assert all(f"{4101 + number} " in text for number in range(12))


def luminance(colour: Color) -> float:
    """WCAG 2.2, "relative luminance"."""
    parts = [part / 255 for part in colour.get_truecolor()]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("name", COLOURS)
def test_every_colour_can_be_read_on_dark_and_on_light(name: str) -> None:
    style = Style.parse(COLOURS[name])
    grounds = [style.bgcolor] if style.bgcolor else [Color.parse("#ffffff"), Color.parse("#000000")]
    for ground in grounds if style.color else []:
        low, high = sorted((luminance(style.color), luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= 3
    assert PLAIN[name] in ("", "bold", "reverse", "bold reverse")


def test_every_mode_has_its_hints() -> None:
    for mode in Mode:
        now, trends = seen(Shop())
        made = screen(now, trends, Choices(mode=mode), Standing(), Size(80, 24), LOOK)
        assert made[-1].plain.strip()
