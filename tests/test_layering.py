"""The fences of the house: imports go downwards only, and a few modules own a few libraries."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "wsgi_async"

FLOORS: tuple[tuple[str, ...], ...] = (
    ("_imports", "_version"),
    ("_lazy", "affinity", "errors", "factories", "files", "stacks", "spellings"),
    ("logtext", "logsinks"),
    ("logthread",),
    ("logsetup",),
    ("logstderr",),
    ("config", "forks", "observer", "deadlines", "departures", "errorstream", "variables"),
    ("tally", "hooks", "diagnosis", "ending", "repeating"),
    ("systemd", "identity", "pidfile", "surroundings", "greenlets"),
    ("processes.channel", "processes.fleet", "processes.signals", "orders"),
    ("processes.program", "processes.forking"),
    ("processes.jobs",),
    ("processes.loader",),
    ("processes.supervisor",),
    ("processes",),
    ("watching",),
    ("warmup", "head", "framing", "spool", "loading", "sockets", "logs", "settings"),
    ("accepting",),
    ("chunked", "fastlane", "environ", "checks", "filewrapper", "pool"),
    ("http1", "wsgi", "health", "handoff.mailbox", "handoff.bounds", "handoff.backlog"),
    ("handoff.stream", "handoff.body"),
    ("handoff.inputstream", "handoff.writer"),
    ("handoff",),
    ("exchange",),
    ("middleware.interface", "middleware.pages"),
    ("middleware.access", "middleware.basicauth", "middleware.connectionpool", "middleware.cors"),
    ("middleware.healthchecks", "middleware.httpexceptions", "middleware.requestid"),
    ("middleware.tracepage",),
    ("middleware.errors",),
    ("middleware",),
    ("sendfile", "overdue", "neglect"),
    ("sending", "connections"),
    ("receiving", "states"),
    ("protocol", "inflight"),
    ("server",),
    ("encode_str", "lint", "mounts"),
    ("static",),
    ("composition",),
    ("child",),
    ("launch",),
    ("run",),
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
    "h11": {"http1"},
    "asyncio": {
        "accepting",
        "protocol",
        "orders",
        "repeating",
        "warmup",
        "child",
        "launch",
        "sending",
        "sendfile",
        "connections",
        "server",
        "run",
        "compat.hosting",
        "compat.simple_server",
        "compat.tornado",
        "gunicorn",
        "testing.fakes",
    },
    "uvloop": {"server", "cli"},
    "threading": {
        "handoff.bounds",
        "handoff.mailbox",
        "handoff.stream",
        "handoff.writer",
        "handoff.body",
        "pool",
        "stacks",
        "exchange",
        "spool",
        "forks",
        "ending",
        "server",
        "logthread",
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
        "forks",
        "server",
        "compat.tornado",
        "gunicorn",
        "child",
        "processes.fleet",
        "processes.forking",
        "processes.jobs",
        "processes.loader",
        "processes.signals",
        "processes.supervisor",
    },
    "resource": {"server", "launch", "gunicorn"},
    "ctypes": {"stacks", "processes.forking"},
    "click": {"cli"},
    "django": {"django.apps", "django.management.commands.runwsgiasync"},
    "gunicorn": {"gunicorn"},
    "dotenv": {"surroundings"},
    "werkzeug": {"static"},
    "pwd": {"identity"},
    "grp": {"identity"},
    "logging": {
        "logs",
        "logsetup",
        "logstderr",
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
    "middleware": {"launch", "composition"},
}
"""Packages at the edge, and who else may import them: when an option asks for it."""

MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imports(name: str) -> set[str]:
    """Absolute names of what a module imports, anywhere in it."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
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
    return found


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


@pytest.mark.parametrize("library", OWNERS)
def test_libraries_have_owners(library: str) -> None:
    users = {name for name in MODULES if any(i.split(".")[0] == library for i in imports(name))}
    assert users <= OWNERS[library], f"{library} is imported by {users - OWNERS[library]}"


def test_the_environment_has_owners() -> None:
    readers = {
        name
        for name, path in MODULES.items()
        if any(
            isinstance(node, ast.Attribute)
            and node.attr in ("environ", "getenv")
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    }
    # A CGI script's environment is its request (RFC 3875 §4.1).
    assert readers <= {"settings", "cli", "compat.cgi"}


def test_sys_exit_has_an_owner() -> None:
    users = {
        name
        for name, path in MODULES.items()
        if "sys.exit" in path.read_text(encoding="utf-8") and name != "cli"
    }
    # tornado.options ends the program after --help, and so does its look-alike.
    assert users == {"compat.options"}


def test_only_one_module_forks() -> None:
    users = {name for name, path in MODULES.items() if "os.fork(" in path.read_text("utf-8")}
    assert users == {"processes.forking"}
