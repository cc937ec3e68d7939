"""The guides of `wsgi_async/help/` tell the truth: tables from the code, options and files that
exist. So does all prose that names a path."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prose import HELP, cells, options, pages, paths, section
from tools import ROOT

import wsgi_async.middleware
from wsgi_async.config.other_servers import ABSENT
from wsgi_async.ctl.command import commands
from wsgi_async.help.tables import (
    atoms_table,
    filled,
    json_table,
    options_in_groups,
    options_table,
    signals_table,
)
from wsgi_async.testing import TestClient

GUIDES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(HELP.glob("*.md"))}
ACTIONS = "`--help` `--print-config` `--check-config` `--guide` `--version`"
ELSEWHERE = {
    "control": {
        flag
        for command in (commands, *commands.commands.values())
        for param in command.params
        for flag in param.opts
    },
    "django": {"--nostatic", "--insecure"},
    "migrating": {
        "--execute",
        "--kind",
        "--listen",
        "--http",
        "--processes",
        "--trusted-proxy-count",
    },
    "proxies": {"--trusted-proxy", "--trusted-proxy-headers"},
    "tls": {"--webroot"},
}
"""Options of other commands that a guide names."""
MISSING = {
    "proxies": {"--trusted-proxy-count"},
}
"""Options that a guide says are not there yet."""


def test_every_guide_has_a_title() -> None:
    assert {"options", "signals", "environ", "logging", "proxies", "django", "flask"} < set(GUIDES)
    assert {"deploying", "testing"} < set(GUIDES)
    for name, text in GUIDES.items():
        assert re.match(r"# \S.*\n\n", text), name
        assert text.endswith("\n")


@pytest.mark.parametrize("guide", GUIDES)
def test_the_tables_are_the_generated_ones(guide: str) -> None:
    assert GUIDES[guide] == filled(GUIDES[guide]), (
        f"wsgi_async/help/{guide}.md is out of date: "
        "python -c 'from wsgi_async.help.tables import refresh; refresh()'"
    )


def test_options_and_signals_have_their_tables() -> None:
    assert section(GUIDES["options"], "options") == options_in_groups().strip()
    assert section(GUIDES["signals"], "signals") == signals_table().strip()


def test_atoms_and_keys_of_the_access_log_have_their_tables() -> None:
    assert section(GUIDES["logging"], "atoms") == atoms_table().strip()
    assert section(GUIDES["logging"], "json") == json_table().strip()


def test_the_keys_of_the_environ_are_those_of_a_request() -> None:
    seen: list[dict[str, object]] = []

    def application(environ, start_response):  # type: ignore[no-untyped-def]
        seen.append(dict(environ))
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]

    fields = {"Content-Type": "text/plain", "Host": "localhost"}
    TestClient(application).post("/path?query", data=b"body", headers=fields)
    # A proxy has something to say of its client.
    fields = {"X-Forwarded-Proto": "https"}
    TestClient(application).get("/", headers=fields)
    environ = seen[0] | {"wsgi_async.peer": seen[1]["wsgi_async.peer"]}
    listed = [cell.strip("`") for cell in cells(section(GUIDES["environ"], "environ"))]
    assert len(listed) == len(set(listed))
    others = {key for key in environ if key.startswith("HTTP_") and key != "HTTP_HOST"}
    assert set(listed) == set(environ) - others
    for key in ("wsgi.run_once", "wsgi.input_terminated", "GATEWAY_INTERFACE", "wsgi.version"):
        row = next(row for row in GUIDES["environ"].splitlines() if row.startswith(f"| `{key}`"))
        assert f"`{environ[key]}`" in row


def test_every_command_of_ctl_has_its_place() -> None:
    headings = re.findall(r"^### (.+)$", GUIDES["control"], re.MULTILINE)
    assert sorted(", ".join(headings).split(", ")) == sorted(commands.commands)


def test_all_middleware_is_listed() -> None:
    listed = {cell.strip("`") for cell in cells(section(GUIDES["applications"], "middleware"))}
    documented = re.findall(r"^([A-Z]\w+)  ", wsgi_async.middleware.__doc__ or "", re.MULTILINE)
    assert listed == set(documented) <= set(wsgi_async.middleware.__all__)


def test_all_loggers_are_listed() -> None:
    listed = {cell.strip("`") for cell in cells(section(GUIDES["logging"], "loggers"))}
    code = "".join(path.read_text("utf-8") for path in (ROOT / "wsgi_async/logs").glob("*.py"))
    assert listed == set(re.findall(r'getLogger\("(\S+)"\)', code))


@pytest.mark.parametrize("guide", GUIDES)
def test_options_that_are_mentioned_exist(guide: str) -> None:
    known = options_table() + ACTIONS
    for name in options(GUIDES[guide]):
        assert (
            f"`{name}`" in known
            or (name.startswith("--no-") and f"`--{name[5:]}`" in known)
            or name in ELSEWHERE.get(guide, set())
            or (name in MISSING.get(guide, set()) and name in ABSENT)
        ), name


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_that_are_mentioned_exist(page: Path) -> None:
    for path in paths(page):
        assert (ROOT / path).exists(), path
