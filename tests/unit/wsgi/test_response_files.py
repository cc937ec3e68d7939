"""PEP 3333 on files: which are handed over as they are, and which are iterated."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from responses import DATA, TEXT, Recorder, call, with_length, wrapping

from wsgi_async.wsgi.file_wrapper import LARGEST_PAGE, FileWrapper

# --- file_wrapper --------------------------------------------------------------------------------


class CountedFile(io.BytesIO):
    closes = 0

    def close(self) -> None:
        self.closes += 1
        super().close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "data"
    file.write_bytes(DATA)
    return file


@pytest.mark.parametrize("mode", ["rb", "r+b"])
@pytest.mark.parametrize("buffering", [0, -1])
def test_a_plain_file_is_handed_over_and_closed_at_once(
    path: Path, mode: str, buffering: int
) -> None:
    file = open(path, mode, buffering=buffering)  # noqa: SIM115
    file.read(300)
    outcome = call(wrapping(lambda: file))
    assert outcome.writer.calls == ["send_file"]
    assert (outcome.body, outcome.length) == (DATA[300:], len(DATA) - 300)
    assert file.closed
    assert outcome.reports == []


def test_what_was_written_but_not_flushed_is_sent_too(path: Path) -> None:
    def make() -> Any:
        file = open(path, "r+b")  # noqa: SIM115
        file.write(b"fresh")
        file.seek(0)
        file.write(b"FRESH")
        file.seek(0)
        return file

    assert call(wrapping(make)).body == b"FRESH" + DATA[5:]


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("BytesIO", lambda path: CountedFile(DATA)),
        ("gzip", lambda path: _gzipped(path)),
        ("pipe", lambda path: _piped()),
        ("no close", lambda path: _Reader(DATA)),
        ("buffered gzip", lambda path: io.BufferedReader(cast("Any", _gzipped(path)))),
    ],
)
def test_anything_else_is_iterated(path: Path, name: str, make: Callable[[Path], Any]) -> None:
    expected = DATA if name != "pipe" else b"through a pipe"
    file = make(path)
    outcome = call(wrapping(lambda: file))
    assert (outcome.body, outcome.end, outcome.reports) == (expected, "finished", [])
    assert outcome.length is None
    assert "send_file" not in outcome.writer.calls
    if name == "BytesIO":
        assert file.closes == 1
    elif name != "no close":
        assert file.closed


class _Reader:
    """The least that PEP 3333 asks of a file-like object: ``read``."""

    def __init__(self, data: bytes) -> None:
        self.read = io.BytesIO(data).read


def _gzipped(path: Path) -> Any:
    compressed = path.with_suffix(".gz")
    compressed.write_bytes(gzip.compress(DATA))
    return gzip.open(compressed)


def _piped() -> Any:
    read_end, write_end = os.pipe()
    os.write(write_end, b"through a pipe")
    os.close(write_end)
    return os.fdopen(read_end, "rb")


def test_without_room_for_another_file_it_is_iterated(path: Path) -> None:
    file = path.open("rb")
    outcome = call(wrapping(lambda: file), writer=Recorder(files=False))
    assert (outcome.body, outcome.end) == (DATA, "finished")
    assert file.closed


def test_a_closed_file_is_500(path: Path) -> None:
    file = path.open("rb")
    file.close()
    outcome = call(wrapping(lambda: file))
    assert outcome.status == 500
    assert outcome.messages == ["the application raised"]


def test_a_file_opened_for_text_is_500_with_a_hint(path: Path) -> None:
    path.write_text("text")
    outcome = call(wrapping(path.open))
    assert outcome.status == 500
    assert "yielded str" in outcome.messages[0]


@pytest.mark.parametrize("is_plain", [True, False])
def test_a_length_shorter_than_the_file_ends_it(path: Path, is_plain: bool) -> None:
    """PEP 3333: "until the end is reached, or until Content-Length bytes have been written"."""

    def make() -> Any:
        file = path.open("rb") if is_plain else io.BytesIO(DATA)
        file.seek(100)
        return file

    outcome = call(wrapping(make, with_length(2500)))
    assert (outcome.body, outcome.length) == (DATA[100:2600], 2500)
    assert (outcome.end, outcome.reports) == ("finished", [])


@pytest.mark.parametrize("is_plain", [True, False])
def test_a_length_longer_than_the_file_is_cut(path: Path, is_plain: bool) -> None:
    def make() -> Any:
        return path.open("rb") if is_plain else io.BytesIO(DATA)

    outcome = call(wrapping(make, with_length(len(DATA) + 7)))
    assert (outcome.body, outcome.end) == (DATA, "cut")
    assert outcome.messages == ["the body is 7 bytes shorter than its Content-Length"]


@pytest.mark.parametrize("offset", [len(DATA), len(DATA) + 10])
def test_a_file_at_or_behind_its_end_is_empty(path: Path, offset: int) -> None:
    def make() -> Any:
        file = path.open("rb")
        file.seek(offset)
        return file

    outcome = call(wrapping(make))
    assert (outcome.status, outcome.length, outcome.body, outcome.end) == (200, 0, b"", "finished")


@pytest.mark.parametrize(("method", "status"), [("HEAD", "200 OK"), ("GET", "304 Not Modified")])
def test_a_file_that_is_not_to_be_sent_is_only_closed(path: Path, method: str, status: str) -> None:
    file = path.open("rb")
    outcome = call(wrapping(lambda: file, status=status), method)
    assert (outcome.body, outcome.writer.calls) == (b"", ["respond"])
    assert file.closed


@pytest.mark.parametrize("buffering", [0, -1])
@pytest.mark.parametrize(
    "path",
    [
        Path("/proc/version"),
        Path("/proc/self/cmdline"),
        Path("/sys/kernel/mm/transparent_hugepage/enabled"),
    ],
    ids=str,
)
def test_a_file_whose_size_means_nothing_is_iterated(path: Path, buffering: int) -> None:
    if not path.exists():
        pytest.skip(f"{path} is of Linux")
    outcome = call(wrapping(lambda: open(path, "rb", buffering=buffering)))  # noqa: SIM115
    assert outcome.body == path.read_bytes() != b""
    assert (outcome.end, outcome.reports) == ("finished", [])
    assert "send_file" not in outcome.writer.calls


def test_a_large_file_of_nothing_but_holes_is_handed_over(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(LARGEST_PAGE + 1)
    outcome = call(wrapping(lambda: path.open("rb")))
    assert outcome.writer.calls == ["send_file"]
    assert outcome.body == bytes(LARGEST_PAGE + 1)


def test_an_empty_file_is_an_empty_response(path: Path) -> None:
    path.write_bytes(b"")
    outcome = call(wrapping(lambda: path.open("rb")))
    assert (outcome.status, outcome.body, outcome.length) == (200, b"", 0)
    assert (outcome.end, outcome.reports) == ("finished", [])


def test_a_buffer_that_has_lost_its_file_is_an_error_of_the_applications(path: Path) -> None:
    file = path.open("rb")
    file.detach().close()
    outcome = call(wrapping(lambda: file))
    assert outcome.status == 500


def test_a_file_without_start_response_is_500(path: Path) -> None:
    file = path.open("rb")
    outcome = call(lambda environ, start_response: FileWrapper(file))
    assert outcome.status == 500
    assert "start_response was not called" in outcome.messages[0]
    assert file.closed


def test_a_file_that_follows_write_is_iterated(path: Path) -> None:
    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", TEXT)(b"first")
        return FileWrapper(path.open("rb"))

    assert call(application).body == b"first" + DATA


def test_a_file_whose_read_fails_midway_is_cut_and_closed() -> None:
    class Failing(CountedFile):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= 2000:
                raise OSError("I/O error")
            return super().read(size)

    file = Failing(DATA)
    outcome = call(wrapping(lambda: file))
    assert (outcome.body, outcome.end, file.closes) == (DATA[:2000], "cut", 1)
