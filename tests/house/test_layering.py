"""The fences of the house: packages import downwards only, and a few own a few libraries."""

from __future__ import annotations

import ast
import re
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "wsgi_async"

PACKAGES: dict[str, tuple[str, ...]] = {
    # What everybody shares
    "_imports": (),
    "_version": (),
    "errors": (),
    "_lazy": ("_imports",),
    "events": ("errors",),
    "scoreboard": (),
    "system": ("_imports", "errors"),
    "http": ("errors",),
    "http1": ("_imports", "errors", "http"),
    "gateways": ("errors", "http"),
    "proxies": ("errors", "http"),
    "wsgi": ("_version", "errors", "http", "system"),
    "config": ("_imports", "errors", "proxies", "system", "wsgi"),
    "tls": ("_imports", "config", "errors", "events", "system"),
    "buffers": ("errors",),
    "threads": ("buffers", "errors", "http", "system"),
    "realtime": ("errors", "events", "system", "threads", "wsgi"),
    "sse": ("realtime",),
    "werkzeug": ("realtime",),
    "flask": ("werkzeug",),
    "connection": (
        "_version",
        "buffers",
        "config",
        "errors",
        "events",
        "gateways",
        "http",
        "http1",
        "system",
        "threads",
        "wsgi",
    ),
    "logs": ("_imports", "errors", "events", "http", "system"),
    "server": (
        "buffers",
        "config",
        "connection",
        "errors",
        "events",
        "http",
        "logs",
        "proxies",
        "realtime",
        "system",
        "threads",
        "tls",
        "wsgi",
    ),
    "processes": ("errors", "events", "system"),
    "middleware": ("_lazy", "errors", "events", "http", "logs", "system", "wsgi"),
    "applications": ("config", "errors", "events", "http", "middleware", "system", "wsgi"),
    "operations": (
        "_version",
        "config",
        "errors",
        "events",
        "logs",
        "realtime",
        "scoreboard",
        "server",
        "system",
        "wsgi",
    ),
    "foreign": ("_imports", "config", "errors", "logs", "system", "wsgi"),
    "ctl": ("_imports", "_version", "config", "errors", "foreign", "operations", "system"),
    "help": ("config", "ctl", "errors", "logs", "operations", "processes", "scoreboard"),
    "launch": (
        "_imports",
        "applications",
        "buffers",
        "config",
        "connection",
        "errors",
        "events",
        "logs",
        "operations",
        "processes",
        "scoreboard",
        "server",
        "system",
        "tls",
        "wsgi",
    ),
    "compat": (
        "_version",
        "config",
        "errors",
        "events",
        "http",
        "launch",
        "logs",
        "realtime",
        "server",
        "system",
        "tls",
        "wsgi",
    ),
    "flags": ("config", "errors", "foreign", "system"),
    "cli": (
        "_imports",
        "_version",
        "applications",
        "config",
        "errors",
        "flags",
        "foreign",
        "help",
        "launch",
        "processes",
        "system",
        "tls",
        "wsgi",
    ),
    "entry": ("cli", "wsgi"),
    "gunicorn": (
        "config",
        "errors",
        "events",
        "foreign",
        "launch",
        "logs",
        "operations",
        "server",
        "system",
        "tls",
        "wsgi",
    ),
    "paste": ("config", "foreign", "launch", "wsgi"),
    "testing": (
        "_lazy",
        "_version",
        "buffers",
        "config",
        "connection",
        "errors",
        "events",
        "http",
        "http1",
        "logs",
        "realtime",
        "server",
        "system",
        "wsgi",
    ),
    "django": ("_imports", "cli", "flags", "realtime", "wsgi"),
    "__main__": ("_imports", "cli"),
    "__init__": (
        "_imports",
        "_lazy",
        "_version",
        "applications",
        "config",
        "entry",
        "errors",
        "events",
        "launch",
        "logs",
        "realtime",
        "server",
        "sse",
    ),
}
"""What a package (or a module of the top level) may import of the house, imports for types only
included. A row names rows above it only, so there is no cycle. `__init__` imports lazily: what it
imports at once, and for types, is checked."""

OWNERS: dict[str, set[str]] = {
    "h11": {"http1.reader"},
    "asyncio": {
        "compat.hosting",
        "compat.simple_server",
        "compat.tornado",
        "connection",
        "gunicorn",
        "launch",
        "operations.statsd",
        "operations.viewers",
        "realtime",
        "server",
        "system.event_loop",
        "testing.fakes",
        "tls.output",
        "tls.transport",
    },
    "uvloop": {"system.event_loop"},
    "threading": {
        "buffers.budgets",
        "compat.flup",
        "compat.hosting",
        "compat.simple_server",
        "compat.tornado",
        "connection.followed",
        "connection.observed",
        "connection.timing",
        "ctl.top.feed",
        "django.streaming",
        "launch.ending",
        "launch.operations_process",
        "launch.serving",
        "logs.calls",
        "logs.stderr",
        "logs.syslog",
        "logs.thread",
        "middleware.connectionpool",
        "middleware.healthchecks",
        "operations.app_metrics",
        "operations.app_values",
        "operations.application",
        "operations.asking",
        "operations.exchange",
        "operations.journaling",
        "operations.kept",
        "operations.profiles",
        "operations.sampling",
        "operations.statsd",
        "operations.viewers",
        "realtime",
        "server",
        "system.forks",
        "system.stacks",
        "testing.live",
        "testing.logtap",
        "threads",
        "wsgi.client_watch",
    },
    "multiprocessing": set(),
    "signal": {
        "compat.flup",
        "compat.tornado",
        "ctl.top.terminal",
        "gunicorn",
        "launch.child",
        "launch.operations_process",
        "processes",
        "server.signal_handling",
        "system.forks",
    },
    "resource": {"gunicorn", "launch.descriptors", "server.running_server"},
    "ctypes": {"processes.forking", "system.stacks"},
    "click": {"cli", "ctl.command", "flags"},
    "django": {"django.apps", "django.management.commands.runwsgiasync", "django.streaming"},
    "gunicorn": {"gunicorn"},
    "dotenv": {"system.surroundings"},
    "werkzeug": {"applications.static", "werkzeug"},
    "flask": {"flask"},
    "watchfiles": {"launch.file_watcher"},
    "paste": {"applications.paste_files", "foreign.paste_sections"},
    "prometheus_client": {
        "operations.app_families",
        "operations.app_metrics",
        "operations.app_totals",
        "operations.app_values",
        "operations.exposition",
    },
    "rich": {"ctl.top.showing", "ctl.top.head", "ctl.top.look", "ctl.top.tables", "ctl.top.view"},
    "pwd": {"system.user"},
    "grp": {"system.user"},
    "logging": {
        "logs",
        "middleware.access",
        "middleware.connectionpool",
        "middleware.errors",
        "middleware.healthchecks",
        "testing.live",
        "testing.logtap",
    },
    "pytest": {"testing.plugin"},
    "ssl": {"tls"},
    "subprocess": set(),
}
"""Which packages, or which modules of one, may import what."""

EDGES: dict[str, set[str]] = {
    "middleware": {"applications.composition"},
}
"""Packages at the edge, and which modules may import them: when an option asks for it."""

APART: dict[str, set[str]] = {
    "http": {"http1", "wsgi", "buffers", "threads", "connection"},
    "http1": {"wsgi", "buffers", "threads", "connection"},
    "gateways": {"http1", "wsgi", "buffers", "threads", "connection"},
    "wsgi": {"http1", "buffers", "threads", "connection"},
    "buffers": {"http", "http1", "wsgi", "threads", "connection"},
    "threads": {"http1", "wsgi", "connection"},
}
"""Packages that know nothing of some others, whatever the rows above come to say: what a request or
response says, its bytes, and the application are apart, so that another version of HTTP may stand
beside ``http1``."""

MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


@cache
def text_of(name: str) -> str:
    return MODULES[name].read_text(encoding="utf-8")


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(text_of(name))


@cache
def imports(name: str) -> frozenset[str]:
    """Absolute names of what a module imports, anywhere in it."""
    tree = tree_of(name)
    package = ["wsgi_async", *name.split(".")]
    if MODULES[name].name != "__init__.py":
        package.pop()
    elif name == "__init__":
        package = ["wsgi_async"]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return frozenset(found)


def own_modules(name: str) -> set[str]:
    """Which modules of the package a module imports."""
    found = set()
    for imported in imports(name):
        parts = imported.split(".")
        if parts[0] != "wsgi_async":
            continue
        for length in (len(parts), len(parts) - 1):
            candidate = ".".join(parts[1:length])
            if candidate in MODULES:
                found.add(candidate)
                break
    return found


def room_of(name: str) -> str:
    """The row of a module: its package, or itself where it is at the top level."""
    return name.split(".")[0]


def is_one_of(name: str, owners: set[str]) -> bool:
    return name in owners or room_of(name) in owners


@cache
def graph() -> dict[str, set[str]]:
    """Which modules import which; not made where these tests are only collected."""
    return {name: own_modules(name) for name in MODULES}


def test_every_package_has_a_row() -> None:
    assert sorted(PACKAGES) == sorted({room_of(name) for name in MODULES})


def test_rows_name_what_is_above_them() -> None:
    rows = list(PACKAGES)
    for number, (row, allowed) in enumerate(PACKAGES.items()):
        assert set(allowed) <= set(rows[:number]), row
        assert list(allowed) == sorted(allowed), row


@pytest.mark.parametrize("row", PACKAGES)
def test_packages_import_downwards(row: str) -> None:
    wrong = {
        (name, other)
        for name in MODULES
        if room_of(name) == row
        for other in graph()[name]
        if room_of(other) != row and room_of(other) not in PACKAGES[row]
    }
    assert not wrong, f"{row} may import {PACKAGES[row]} only"


@pytest.mark.parametrize("row", PACKAGES)
def test_no_row_allows_more_than_is_needed(row: str) -> None:
    used = {room_of(other) for name in MODULES if room_of(name) == row for other in graph()[name]}
    assert set(PACKAGES[row]) <= used


def test_modules_import_downwards_inside_a_package_too() -> None:
    TopologicalSorter(graph()).prepare()  # raises CycleError where there is no order of them


@pytest.mark.parametrize("room", ROOMS)
def test_a_package_says_who_runs_it_and_what_it_may_import(room: str) -> None:
    text = ast.get_docstring(tree_of(room)) or ""
    assert re.search(r"^Runs on: ", text, re.MULTILINE)
    said = re.search(r"^May import: ([^.]*)\.$", text, re.MULTILINE)
    assert said is not None
    names = set() if said[1] == "nothing of the house" else set(re.split(r",\s+", said[1]))
    assert names == {name for name in PACKAGES[room] if not name.startswith("_")}


@pytest.mark.parametrize("edge", EDGES)
def test_the_core_knows_nothing_of_the_edges(edge: str) -> None:
    users = {
        name
        for name in MODULES
        if room_of(name) != edge and any(room_of(other) == edge for other in graph()[name])
    }
    assert users <= EDGES[edge], f"{edge} is imported by {users - EDGES[edge]}"


@pytest.mark.parametrize("row", APART)
def test_packages_are_apart(row: str) -> None:
    known = {room_of(o) for name in MODULES if room_of(name) == row for o in graph()[name]}
    assert not known & APART[row]


@pytest.mark.parametrize("library", OWNERS)
def test_libraries_have_owners(library: str) -> None:
    users = {name for name in MODULES if any(i.split(".")[0] == library for i in imports(name))}
    wrong = {name for name in users if not is_one_of(name, OWNERS[library])}
    assert not wrong, f"{library} is imported by {wrong}"
    for owner in OWNERS[library]:
        assert any(is_one_of(name, {owner}) for name in users), f"{owner} does without {library}"


def test_the_environment_has_owners() -> None:
    readers = {
        name
        for name in MODULES
        if any(
            isinstance(node, ast.Attribute)
            and node.attr in ("environ", "getenv")
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
            for node in ast.walk(tree_of(name))
        )
    }
    # A CGI script's environment is its request (RFC 3875 §4.1); gunicorn has settings in it; pserve
    # has no command line of ours.
    assert readers == {"cli", "compat.cgi", "config.sources", "ctl.command", "gunicorn", "paste"}


def test_sys_exit_has_an_owner() -> None:
    users = {name for name in MODULES if "sys.exit" in text_of(name) and name != "cli"}
    # tornado.options ends the program after --help, and so does its look-alike.
    assert users == {"compat.options", "ctl.command"}


def test_only_one_module_forks() -> None:
    assert {name for name in MODULES if "os.fork(" in text_of(name)} == {"processes.forking"}


def test_only_the_framer_knows_the_version_on_the_wire() -> None:
    users = {
        name
        for name in MODULES
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, bytes)
        and b"HTTP/1" in node.value
    }
    # The requests of a warm-up go through a protocol of our own, and their answers are read; uwsgi
    # has the status line of HTTP/1.1 for its responses.
    others = {name for name in users if room_of(name) != "http1"}
    assert others == {"gateways.cgi_framing", "server.warm_up"}
