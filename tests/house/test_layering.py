"""The fences of the house: imports go downwards only, and a few modules own a few libraries."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "wsgi_async"

FLOORS: tuple[tuple[str, ...], ...] = (
    (
        "_imports",
        "_version",
        "system.own_code",
        "http.bounded_cache",
        "http.statuses",
        "wsgi.types",
        "http",
        "logs",
        "http1",
        "wsgi",
        "buffers",
        "connection",
        "server",
        "config",
        "system",
        "launch",
        "applications",
    ),
    (
        "_lazy",
        "system.cpu_affinity",
        "errors",
        "applications.factories",
        "system.files",
        "system.stacks",
        "config.other_servers",
    ),
    ("logs.text", "logs.sinks"),
    ("logs.thread",),
    ("logs.setup",),
    ("logs.stderr",),
    (
        "config.option",
        "system.forks",
        "events",
        "connection.deadlines",
        "connection.departures",
        "wsgi.error_stream",
        "http.variables",
        "http.target",
        "http.limits",
        "http1.lines",
        "http.response",
        "buffers.budgets",
        "buffers.reading",
    ),
    (
        "server.connection_counts",
        "config.hooks",
        "http.request",
        "http.framing",
        "http1.diagnosis",
        "launch.ending",
        "server.event_loop",
        "server.repeating",
        "system.sockets",
    ),
    ("config.options",),
    ("config.calls",),
    ("system.systemd", "system.user", "system.pid_file", "system.surroundings", "system.greenlets"),
    ("processes.channel", "processes.fleet", "processes.signals", "server.stopping"),
    ("processes.interfaces", "processes.forking"),
    ("processes.jobs",),
    ("processes.loader",),
    ("processes.supervisor",),
    ("processes",),
    ("help",),
    ("help.tables", "help.terminal"),
    ("launch.file_watcher",),
    (
        "server.warm_up",
        "http.admission",
        "http1.framing",
        "buffers.spool",
        "applications.loading",
        "logs.observer",
        "config.sources",
    ),
    ("server.acceptor",),
    (
        "http1.chunked",
        "http1.fast_path",
        "wsgi.environ",
        "wsgi.checks",
        "wsgi.file_wrapper",
        "threads.pool",
    ),
    (
        "http1.reader",
        "wsgi.calling",
        "connection.probes",
        "threads.mailbox",
        "threads.bounds",
        "threads.backlog",
        "threads.response_states",
    ),
    ("threads.response_stream", "threads.request_body"),
    ("threads.input_stream", "threads.response_writer"),
    ("threads",),
    ("connection.exchange",),
    ("connection.timing",),
    ("middleware.interface", "middleware.pages"),
    ("middleware.access", "middleware.basicauth", "middleware.connectionpool", "middleware.cors"),
    ("middleware.healthchecks", "middleware.httpexceptions", "middleware.requestid"),
    ("middleware.tracepage",),
    ("middleware.errors",),
    ("middleware",),
    (
        "connection.sendfile",
        "connection.request_timeouts",
        "connection.queue_watch",
        "connection.open_connection",
        "connection.completions",
        "connection.server_variables",
        "connection.dates",
    ),
    ("connection.waits", "connection.paces", "connection.states"),
    ("connection.connections",),
    ("connection.sender", "connection.upload"),
    ("connection.input",),
    ("connection.life",),
    ("connection.protocol", "server.in_flight"),
    ("server.descriptors", "server.signal_handling"),
    ("server.running_server",),
    ("server.server",),
    ("applications.str_encoding", "applications.lint", "applications.mounts"),
    ("applications.static",),
    ("applications.composition",),
    ("launch.child",),
    ("launch.log_files", "launch.program"),
    ("launch.reloading",),
    ("launch.parent",),
    ("launch.serving",),
    ("compat",),
    ("compat.hosting", "compat.options", "compat.cgi"),
    ("compat.simple_server", "compat.pywsgi", "compat.tornado"),
    ("foreign.hooks",),
    ("foreign.gunicorn", "foreign.uwsgi"),
    ("foreign", "gunicorn"),
    ("cli", "testing.fakes", "testing.cookies", "testing.request", "testing.logtap"),
    ("testing.response",),
    ("testing.inprocess", "testing.live"),
    ("testing.client",),
    ("testing", "testing.plugin"),
    ("entry",),
    ("django", "django.apps", "django.management", "django.management.commands"),
    ("django.management.commands.runwsgiasync",),
    ("__init__", "__main__", "django.__main__"),
)
"""A module may import from floors below its own only; modules of one floor know nothing of each
other. `__init__` imports lazily: what it imports at once is checked, what it names is not."""

OWNERS: dict[str, set[str]] = {
    "h11": {"http1.reader"},
    "asyncio": {
        "server.acceptor",
        "connection.protocol",
        "server.stopping",
        "server.repeating",
        "server.warm_up",
        "launch.child",
        "launch.program",
        "connection.sender",
        "connection.sendfile",
        "connection.connections",
        "connection.input",
        "connection.life",
        "connection.upload",
        "server.event_loop",
        "server.running_server",
        "server.server",
        "server.signal_handling",
        "launch.serving",
        "compat.hosting",
        "compat.simple_server",
        "compat.tornado",
        "gunicorn",
        "testing.fakes",
    },
    "uvloop": {"server.event_loop", "cli"},
    "threading": {
        "threads.bounds",
        "threads.mailbox",
        "threads.response_stream",
        "threads.response_writer",
        "threads.request_body",
        "threads.pool",
        "system.stacks",
        "connection.exchange",
        "connection.timing",
        "buffers.budgets",
        "system.forks",
        "launch.ending",
        "launch.serving",
        "server.running_server",
        "server.server",
        "server.signal_handling",
        "logs.thread",
        "compat.hosting",
        "compat.simple_server",
        "compat.tornado",
        "middleware.connectionpool",
        "middleware.healthchecks",
        "testing.live",
        "testing.logtap",
    },
    "multiprocessing": set(),
    "signal": {
        "system.forks",
        "server.signal_handling",
        "compat.tornado",
        "gunicorn",
        "launch.child",
        "processes.fleet",
        "processes.forking",
        "processes.jobs",
        "processes.loader",
        "processes.signals",
        "processes.supervisor",
    },
    "resource": {"server.running_server", "launch.program", "gunicorn"},
    "ctypes": {"system.stacks", "processes.forking"},
    "click": {"cli"},
    "django": {"django.apps", "django.management.commands.runwsgiasync"},
    "gunicorn": {"gunicorn"},
    "dotenv": {"system.surroundings"},
    "werkzeug": {"applications.static"},
    "pwd": {"system.user"},
    "grp": {"system.user"},
    "logging": {
        "logs.observer",
        "logs.setup",
        "logs.stderr",
        "cli",
        "middleware.access",
        "middleware.connectionpool",
        "middleware.errors",
        "middleware.healthchecks",
        "testing.live",
        "testing.logtap",
    },
    "pytest": {"testing.plugin"},
    "subprocess": set(),
}
"""Which modules may import what."""

EDGES: dict[str, set[str]] = {
    "middleware": {"applications.composition"},
}
"""Packages at the edge, and who else may import them: when an option asks for it."""

APART: dict[str, set[str]] = {
    "http": {"http1", "wsgi", "buffers", "threads", "connection"},
    "http1": {"wsgi", "buffers", "threads", "connection"},
    "wsgi": {"http1", "buffers", "threads", "connection"},
    "buffers": {"http", "http1", "wsgi", "threads", "connection"},
    "threads": {"http1", "wsgi", "connection"},
}
"""Packages that know nothing of some others: what a request or response says, its bytes, and the
application are apart, so that another version of HTTP may stand beside ``http1``."""

MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


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


@cache
def own_modules(name: str) -> frozenset[str]:
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
    return frozenset(found)


FLOOR_OF = {module: number for number, floor in enumerate(FLOORS) for module in floor}


def test_every_module_has_a_floor() -> None:
    assert sorted(FLOOR_OF) == sorted(MODULES)


@pytest.mark.parametrize("name", [name for name in MODULES if name != "__init__"])
def test_imports_go_downwards(name: str) -> None:
    upwards = {other for other in own_modules(name) if FLOOR_OF[other] >= FLOOR_OF[name]}
    assert not upwards, f"{name} imports {upwards}, which are not below it"


@pytest.mark.parametrize("edge", EDGES)
def test_the_core_knows_nothing_of_the_edges(edge: str) -> None:
    users = {
        name
        for name in MODULES
        if name.split(".")[0] != edge and any(o.split(".")[0] == edge for o in own_modules(name))
    }
    assert users <= EDGES[edge], f"{edge} is imported by {users - EDGES[edge]}"


@pytest.mark.parametrize("package", APART)
def test_packages_are_apart(package: str) -> None:
    own = {name for name in MODULES if name.split(".")[0] == package}
    known = {other.split(".")[0] for name in own for other in own_modules(name)}
    assert not known & APART[package]


@pytest.mark.parametrize("library", OWNERS)
def test_libraries_have_owners(library: str) -> None:
    users = {name for name in MODULES if any(i.split(".")[0] == library for i in imports(name))}
    assert users <= OWNERS[library], f"{library} is imported by {users - OWNERS[library]}"


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
    # A CGI script's environment is its request (RFC 3875 §4.1).
    assert readers <= {"config.sources", "cli", "compat.cgi"}


def test_sys_exit_has_an_owner() -> None:
    users = {name for name in MODULES if "sys.exit" in text_of(name) and name != "cli"}
    # tornado.options ends the program after --help, and so does its look-alike.
    assert users == {"compat.options"}


def test_only_one_module_forks() -> None:
    users = {name for name in MODULES if "os.fork(" in text_of(name)}
    assert users == {"processes.forking"}
