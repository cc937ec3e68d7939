"""What is made of a profile: collapsed stacks, speedscope's JSON and a flame graph."""

from __future__ import annotations

import json
import random
import re
from typing import Any
from xml.etree import ElementTree

import pytest

from wsgi_async.operations.flame import (
    MOST_FRAMES,
    Hot,
    collapsed,
    flame_graph,
    hottest,
    speedscope,
    summary,
)

VIEW = "view (shop/views.py:10)"
RENDER = "Page.render (shop/pages.py:7)"
QUERY = "query (shop/db.py:3)"
SVG = "{http://www.w3.org/2000/svg}"

HOSTILE = (
    "<script>alert(1)</script> (a.py:1)",
    "</title><image href='http://elsewhere/'/> (a.py:2)",
    "]]></style><x> & \" ' &amp; (a.py:3)",
    "a\x00b\x1b[31m\ud800\ufffe\n\r (a.py:4)",
    "",
    "λ.méthode (ü.py:5)",
    "(((",
)
"""What a function may be called: by exec() anything."""


def profile(samples: dict[str, int], cpu: dict[str, float] | None = None) -> dict[str, Any]:
    return {
        "seconds": 2.0,
        "hz": 100,
        "samples": samples,
        "cpu": cpu,
        "taken": 200,
        "missed": 0,
        "cost": 0.01,
        "processes": [{"pid": 1}],
    }


SHOP = profile(
    {f"{VIEW};{RENDER}": 60, f"{VIEW};{QUERY}": 30, VIEW: 10},
    {f"{VIEW};{RENDER}": 0.6, f"{VIEW};{QUERY}": 0.0, VIEW: 0.05},
)


class Drawn:
    """A frame of a flame graph, as it is drawn."""

    def __init__(self, element: ElementTree.Element) -> None:
        title = element.findtext(f"{SVG}title")
        assert title is not None
        self.name, self.figures, *self.more = title.split("\n")
        self.x = float(element.attrib["x"].removesuffix("%"))
        self.width = float(element.attrib["width"].removesuffix("%"))
        self.depth = int(element.attrib["y"]) // 20
        _, self.shade = element.attrib["class"].split()


def drawn(text: str) -> list[Drawn]:
    """The frames; the text is well-formed, and has nothing in it that would be fetched."""
    root = ElementTree.fromstring(text)
    assert {each.tag.removeprefix(SVG) for each in root.iter()} <= {
        *("svg", "title", "style", "rect", "text", "tspan", "g", "script"),
    }
    assert len(root.findall(f".//{SVG}script")) == 1
    assert not any("href" in name or name == "src" for each in root.iter() for name in each.attrib)
    assert not re.search(r"url\(|@import", root.findtext(f"{SVG}style", ""))
    graph = root.find(f".//{SVG}svg[@id='graph']")
    assert graph is not None
    return list(map(Drawn, graph))


def test_collapsed_stacks_are_lines() -> None:
    assert collapsed(SHOP) == f"{VIEW};{RENDER} 60\n{VIEW};{QUERY} 30\n{VIEW} 10\n"


def test_a_name_never_begins_another_line() -> None:
    lines = collapsed(profile(dict.fromkeys(HOSTILE, 3))).splitlines()
    assert len(lines) == len(HOSTILE)
    assert all(line.endswith(" 3") and line.isprintable() for line in lines)


def check_speedscope(file: dict[str, Any]) -> None:
    """What the published schema and the comments in it ask for."""
    assert json.loads(json.dumps(file)) == file
    assert set(file) <= {
        *("$schema", "shared", "profiles", "name", "activeProfileIndex", "exporter"),
    }
    assert file["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert 0 <= file["activeProfileIndex"] < len(file["profiles"])
    frames = file["shared"]["frames"]
    for frame in frames:
        assert {"name"} <= set(frame) <= {"name", "file", "line", "col"}
        assert isinstance(frame["name"], str)
        assert isinstance(frame.get("file", ""), str)
        assert isinstance(frame.get("line", 0), int)
    for each in file["profiles"]:
        assert set(each) == {
            *("type", "name", "unit", "startValue", "endValue", "samples", "weights"),
        }
        assert each["type"] == "sampled"
        assert each["unit"] in {
            *("none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"),
        }
        assert each["endValue"] >= each["startValue"]
        assert len(each["samples"]) == len(each["weights"])
        assert all(0 <= number < len(frames) for stack in each["samples"] for number in stack)
        assert all(weight >= 0 for weight in each["weights"])


def test_speedscope_reads_it() -> None:
    file = speedscope(SHOP, "shop")
    check_speedscope(file)
    assert file["name"] == "shop"
    assert file["shared"]["frames"] == [
        {"name": "view", "file": "shop/views.py", "line": 10},
        {"name": "Page.render", "file": "shop/pages.py", "line": 7},
        {"name": "query", "file": "shop/db.py", "line": 3},
    ]
    time, cpu = file["profiles"]
    assert time["samples"] == cpu["samples"] == [[0, 1], [0, 2], [0]]
    assert time["weights"] == pytest.approx([0.6, 0.3, 0.1])
    assert cpu["weights"] == [0.6, 0.0, 0.05]


@pytest.mark.parametrize(
    "samples", [{}, dict.fromkeys(HOSTILE, 1), {";".join(HOSTILE): 2}, {"a": 0}]
)
def test_whatever_was_sampled_all_of_them_are_well_formed(samples: dict[str, int]) -> None:
    for cpu in (None, dict.fromkeys(samples, 0.01)):
        one = profile(samples, cpu)
        check_speedscope(speedscope(one, HOSTILE[2]))
        drawn(flame_graph(one, "".join(HOSTILE)))
        collapsed(one).encode()


def test_the_hottest_have_most_time_of_their_own() -> None:
    assert hottest(SHOP, 2) == [Hot(RENDER, 60, 60, 0.6), Hot(QUERY, 30, 30, 0.0)]
    assert hottest(SHOP)[2] == Hot(VIEW, 10, 100, 0.05)
    recursive = profile({f"{VIEW};{VIEW};{VIEW}": 5})
    assert hottest(recursive) == [Hot(VIEW, 5, 5, None)], "counted once each"


def test_a_frame_is_as_wide_as_its_time_and_above_what_it_called() -> None:
    frames = {frame.name: frame for frame in drawn(flame_graph(SHOP))}
    assert {name: (f.depth, f.x, f.width) for name, f in frames.items()} == {
        "all": (0, 0, 100),
        VIEW: (1, 0, 100),
        RENDER: (2, 0, 60),
        QUERY: (2, 60, 30),
    }
    assert frames[QUERY].figures == "30 % of the time, 0.3 s"
    assert frames[RENDER].more == ["CPU: 0.6 s"]
    assert (frames[RENDER].shade, frames[QUERY].shade) == ("c5", "c0")


def test_children_lie_within_their_parents_and_beside_each_other() -> None:
    source = random.Random(1)
    samples = {
        ";".join(f"f{source.randrange(4)}" for _ in range(source.randrange(1, 9))): 1 + number % 7
        for number in range(300)
    }
    path: list[Drawn] = []
    ends: dict[int, float] = {}
    for frame in drawn(flame_graph(profile(samples))):
        del path[frame.depth :]
        assert len(path) == frame.depth
        if path:
            assert path[-1].x - 0.01 <= frame.x
            assert frame.x + frame.width <= path[-1].x + path[-1].width + 0.01
            assert frame.x >= ends.get(frame.depth, 0.0) - 0.01
        ends[frame.depth] = frame.x + frame.width
        path.append(frame)


def test_three_hundred_frames_deep() -> None:
    deep = profile({";".join(f"f{depth} (deep.py:{depth})" for depth in range(300)): 4})
    assert max(frame.depth for frame in drawn(flame_graph(deep))) == 300
    assert len(speedscope(deep, "deep")["shared"]["frames"]) == 300


def test_ten_thousand_stacks_are_drawn_as_far_as_they_can_be_seen() -> None:
    """A browser is to open it."""
    samples = {f"view;f{number};g{number}": 1 + (number == 7) * 5000 for number in range(10_000)}
    text = flame_graph(profile(samples))
    frames = drawn(text)
    assert len(frames) <= MOST_FRAMES
    assert len(text) < 2_000_000
    assert {"all", "view", "f7", "g7"} <= {frame.name for frame in frames}


def test_without_cpu_time_colours_are_of_places_and_nothing_is_said_of_it() -> None:
    text = flame_graph(profile({VIEW: 1}))
    assert "computing" not in ElementTree.fromstring(text).findtext(f".//{SVG}text", "")
    assert [frame.shade[0] for frame in drawn(text)] == ["p", "p"]
    assert all(not frame.more for frame in drawn(text))
    assert len(speedscope(profile({VIEW: 1}), "x")["profiles"]) == 1


def test_the_summary_is_honest() -> None:
    missed = SHOP | {"missed": 50, "taken": 150, "cost": 0.08, "processes": [{}, {}]}
    assert summary(missed) == (
        "2 s at 100 Hz, 2 processes, 1 s in the application, by all its threads, 0.65 s of CPU, "
        "25 % of the samples missed, sampling used 2 % of a CPU in each process"
    )
    assert (
        summary({"samples": {}})
        == "0 s at 1 Hz, 1 process, 0 s in the application, by all its threads"
    )
