"""How fast bodies go: small parts, large parts, a file, uploads."""

from __future__ import annotations

import os
from zlib import crc32

from benchmarks import apps
from benchmarks.harness.model import Load, Running, Sample, Scenario, WrongAnswer
from benchmarks.scenarios import programs, wrk
from benchmarks.scenarios.answers import ask, expect, expect_parts

__all__ = ["SCENARIOS", "file"]

CONNECTIONS = 4
END = apps.BLOCK[-16:].decode("ascii")
STREAM_SIZE = apps.STREAM_BLOCKS * len(apps.BLOCK)
LINES_CONNECTIONS = 8
STREAMED = "--request-buffering stream"


def lines(server: Running, load: Load) -> Sample:
    expect(ask(server.port), b"".join(apps.LINES))
    expect_parts(server.port)
    report = wrk.run(server, load, connections=LINES_CONNECTIONS)
    return wrk.sample(report, report.rate * len(apps.LINES), responses=report.rate)


def _sample(found: dict[str, float]) -> Sample:
    seconds = found["seconds"]
    rate = found["bytes"] / seconds / 1e6 if seconds else 0.0
    return Sample(value=rate, errors=int(found["errors"]), extra={"client_busy": found["busy"]})


def _download(server: Running, load: Load, size: int, connections: int = CONNECTIONS) -> Sample:
    received = ask(server.port, tls=server.tls)
    if len(received) != size or received != apps.BLOCK * (size // len(apps.BLOCK)):
        raise WrongAnswer(f"{len(received)} bytes instead of {size}, or other ones")
    return _sample(
        programs.run(server, load, "download", size=size, end=END, connections=connections)
    )


def stream(server: Running, load: Load) -> Sample:
    expect(ask(server.port), apps.BLOCK * apps.STREAM_BLOCKS)
    expect_parts(server.port)
    return _download(server, load, STREAM_SIZE)


def file(server: Running, load: Load) -> Sample:
    return _download(server, load, apps.FILE_SIZE)


def file_alone(server: Running, load: Load) -> Sample:
    return _download(server, load, apps.FILE_SIZE, connections=1)


def small_file(server: Running, load: Load) -> Sample:
    return _download(server, load, apps.SMALL_FILE_SIZE)


def small_file_alone(server: Running, load: Load) -> Sample:
    return _download(server, load, apps.SMALL_FILE_SIZE, connections=1)


def upload(server: Running, load: Load) -> Sample:
    for body in (os.urandom(1 << 20), b"", b"x"):
        wanted = b"%d %08x" % (len(body), crc32(body))
        expect(ask(server.port, "/?crc", method="POST", body=body), wanted)
    return _sample(
        programs.run(server, load, "upload", size=apps.FILE_SIZE, connections=CONNECTIONS)
    )


SCENARIOS = (
    Scenario(
        name="lines",
        about="Responses of 1,000 small chunks, 8 connections: chunks per second. A server that "
        "collects them all before it sends the first one is void, here and in stream.",
        application="lines",
        unit="chunks/s",
        measure=lines,
    ),
    Scenario(
        name="stream",
        about="Responses of 16 MiB in chunks of 64 KiB, 4 connections.",
        application="stream",
        unit="MB/s",
        measure=stream,
    ),
    Scenario(
        name="file",
        about="A file of 64 MiB by wsgi.file_wrapper, 4 connections.",
        application="file",
        unit="MB/s",
        measure=file,
    ),
    Scenario(
        name="file-alone",
        about="A file of 64 MiB by wsgi.file_wrapper, one connection.",
        application="file",
        unit="MB/s",
        measure=file_alone,
    ),
    Scenario(
        name="file-1m",
        about="A file of 1 MiB by wsgi.file_wrapper, 4 connections.",
        application="small_file",
        unit="MB/s",
        measure=small_file,
    ),
    Scenario(
        name="file-1m-alone",
        about="A file of 1 MiB by wsgi.file_wrapper, one connection.",
        application="small_file",
        unit="MB/s",
        measure=small_file_alone,
    ),
    Scenario(
        name="upload",
        about="Uploads of 64 MiB that the application reads and forgets, 4 connections; "
        "wsgi_async buffers them in full before it calls the application.",
        application="upload",
        unit="MB/s",
        measure=upload,
    ),
    Scenario(
        name="upload-stream",
        about="The same; wsgi_async calls the application with the head.",
        application="upload",
        unit="MB/s",
        measure=upload,
        options={"wsgi_async": STREAMED, "wsgi_async-h11": STREAMED},
    ),
)
