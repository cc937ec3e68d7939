"""The guide in the terminal: its topics, its pages, and how a page looks there."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from wsgi_async import help as guide
from wsgi_async.cli import main
from wsgi_async.config.option import Group
from wsgi_async.help import tables
from wsgi_async.help.terminal import as_text

ROOT = Path(__file__).parents[3]

PAGE = """# What is logged

A paragraph that
is text already.

<!-- options:begin -->
| Option | Default | Meaning |
|---|---|---|
| `-b`, `--bind` |  | Where to listen. |
| `--threads` | `8` | Threads of a process that run the application, or \\| nothing at all. |
<!-- options:end -->

```toml
| this = "is no table"
<!-- nor a comment -->
```
"""

TEXT = """# What is logged

A paragraph that
is text already.

-b, --bind
    Where to listen.
--threads  8
    Threads of a process that run
    the application, or | nothing at
    all.

```toml
| this = "is no table"
<!-- nor a comment -->
```
"""


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A guide of two pages."""
    (tmp_path / "logging.md").write_text(PAGE)
    (tmp_path / "signals.md").write_text("# Signals\n\nWhat they do: für alle.\n", "utf-8")
    monkeypatch.setattr(guide, "DIRECTORY", tmp_path)
    monkeypatch.setattr(tables, "DIRECTORY", tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(args)
    return caught.value.code, *capsys.readouterr()


def test_a_page_as_text_for_a_terminal() -> None:
    assert as_text(PAGE, width=36) == TEXT


def test_several_columns_are_told_by_their_heads() -> None:
    """Without them "empty" and "the whole path" beneath each other say nothing."""
    page = (
        "| nginx says | `SCRIPT_NAME` | `PATH_INFO` |\n|---|---|---|\n| its `files` | - | all |\n"
    )
    assert as_text(page) == "its files\n    SCRIPT_NAME: -\n    PATH_INFO: all\n"


def test_commands_that_are_indented_are_as_they_are() -> None:
    """However wide: two in one line are none."""
    page = "Write:\n\n    wsgi-async --threads 2 a:app\n    kill -HUP 1\n\nThen wait.\n"
    assert as_text(page, width=20) == page


def test_what_is_wider_than_the_terminal_is_wrapped() -> None:
    page = (
        "A paragraph that is much wider than\nthe terminal.\n"
        "- **An item** of a list, which is too;\n  more of it.\n"
        "  10. short\n\n```\nan example that is wider than all that\n```\n"
    )
    assert as_text(page, width=24) == (
        "A paragraph that is much\nwider than the terminal.\n"
        "- **An item** of a list,\n  which is too; more of\n  it.\n"
        "  10. short\n\n```\nan example that is wider than all that\n```\n"
    )


@pytest.mark.parametrize("topic", guide.topics())
def test_each_page_keeps_its_words_in_a_narrow_terminal(topic: str) -> None:
    wide, narrow = (as_text(guide.page(topic), width=width) for width in (200, 60))
    assert narrow.split() == wide.split()
    assert len(narrow) > 200


def test_without_a_topic_there_is_a_list(pages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = "wsgi-async --guide TOPIC:\n  logging  What is logged\n  signals  Signals\n"
    assert run(capsys, "--guide") == (0, listed, "")


@pytest.mark.parametrize("topic", ["signals", "Signals", "signals.md"])
def test_a_topic_is_shown(pages: Path, capsys: pytest.CaptureFixture[str], topic: str) -> None:
    shown = (0, "# Signals\n\nWhat they do: für alle.\n", "")
    assert run(capsys, "--guide", topic) == shown
    assert run(capsys, f"--guide={topic}") == shown


@pytest.mark.parametrize(
    ("topic", "hint"),
    [
        ("loging", " Did you mean logging?"),
        ("x", " There are logging, signals."),
        ("../cli.py", " There are logging, signals."),
        ("", " There are logging, signals."),
    ],
)
def test_a_topic_that_there_is_not(
    pages: Path, capsys: pytest.CaptureFixture[str], topic: str, hint: str
) -> None:
    expected = (1, "", f"wsgi-async: error: No such topic: {topic}.{hint}\n")
    assert run(capsys, f"--guide={topic}") == expected


def test_a_terminal_gets_a_pager(pages: Path) -> None:
    pager = pages / "pager"
    pager.write_text("#!/bin/sh\nsed 's/^/paged: /'\n")
    pager.chmod(0o755)
    ours, theirs = pty.openpty()
    try:
        program = (
            "import pathlib\n"
            "from wsgi_async import help\n"
            "from wsgi_async.cli import main\n"
            f"help.DIRECTORY = pathlib.Path({str(pages)!r})\n"
            "main(['--guide', 'logging'])\n"
        )
        command = [sys.executable, "-c", program]
        env = {**os.environ, "PAGER": str(pager), "TERM": "xterm", "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=env
        )
        os.close(theirs)
        shown = b""
        try:
            while data := os.read(ours, 65536):
                shown += data
        except OSError:  # how Linux tells the end of a terminal
            pass
        _, error = process.communicate(timeout=20)
    finally:
        os.close(ours)
    assert (process.returncode, error) == (0, b"")
    assert shown.startswith(b"paged: # What is logged")


def test_tables_are_put_between_their_comments(pages: Path) -> None:
    before = "# Signals\n\n<!-- signals:begin -->\noutdated\n<!-- signals:end -->\nrest\n"
    table = "| SIGTTIN | One process more. |\n"
    (pages / "signals.md").write_text(before)
    tables.refresh()
    after = guide.page("signals")
    assert table in after
    assert "outdated" not in after
    assert after.startswith("# Signals\n\n<!-- signals:begin -->\n| Signal |")
    assert after.endswith("<!-- signals:end -->\nrest\n")
    assert tables.filled(after) == after
    by_hand = "<!-- other:begin -->\noutdated\n<!-- other:end -->\n"
    assert tables.filled(by_hand) == by_hand


def test_the_options_have_a_table_in_each_group() -> None:
    text = tables.options_in_groups()
    for group in Group:
        assert f"## {group.value}\n\n| Option | Default | Meaning |\n|---|---|---|\n| `" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(tables.options_table().splitlines()[2:])


@pytest.mark.parametrize(
    "args", [("--guide", "logging"), ("--guide",), ("--help",), ("--version",), ("--print-config",)]
)
def test_who_reads_may_have_seen_enough(args: tuple[str, ...]) -> None:
    """Of ``| head``; and a full disk is one line."""
    command = [sys.executable, "-m", "wsgi_async", *args]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                command, stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        line = "error: Cannot write to standard output: No space left on device\n"
        assert (done.returncode, done.stderr) == (1, f"python -m wsgi_async: {line}")
