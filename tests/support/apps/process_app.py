"""An application that tells which process, and which version of it, answers.

The body is ``PROCESS VERSION QUERY``, as the load of ``counting`` wants it. What happens is
said on standard error, in one write a line.
"""

import gc
import json
import os
import re
import sys
import threading
import time

meeting = threading.Barrier(2)


def say(text):
    os.write(2, text.encode() + b"\n")


def note(environ):
    """Enter the request into the ledger: a file, so that it outlives this process."""
    if ledger := os.environ.get("LEDGER"):
        with open(ledger, "ab", buffering=0) as file:
            file.write(f"{os.getpid()} {environ['QUERY_STRING']}\n".encode())


def wait(environ):
    """For the FIFO that the query names, which the test opens when this is to go on."""
    say(f"waiting in {os.getpid()}")
    with open(environ["QUERY_STRING"]) as fifo:
        fifo.read()


def sleep(environ):
    note(environ)
    time.sleep(0.03)


def deafen(environ):
    """Have no thread woken any more, as if one had died on its way to a task."""
    from wsgi_async.threads.pool import ThreadPool

    for pool in gc.get_objects():
        if type(pool) is ThreadPool:
            pool._waking = object()


def block(environ):
    """Hold the GIL, for ages: no other thread runs, the event loop's included."""
    say(f"blocking {os.getpid()}")
    re.match(r"(a+)+$", "a" * 60 + "b")


def hang(environ):
    """This thread only."""
    say(f"hanging in {os.getpid()}")
    threading.Event().wait()


def spin(environ):
    """Work, for as many seconds as the query says, in Python: other threads get their turns."""
    say(f"spinning in {os.getpid()}")
    end = time.monotonic() + float(environ["QUERY_STRING"])
    while time.monotonic() < end:
        pass


def meet(environ):
    """Return once another request is here too."""
    meeting.wait(10)


def end(environ):
    os._exit(9)


DEEDS = {
    "/": note,
    "/wait": wait,
    "/sleep": sleep,
    "/block": block,
    "/deafen": deafen,
    "/hang": hang,
    "/spin": spin,
    "/meet": meet,
    "/end": end,
}


def umask():
    with open("/proc/self/status") as status:
        return re.search(r"Umask:\s*([0-7]+)", status.read())[1]


def facts(environ):
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "groups": os.getgroups(),
        "directory": os.getcwd(),
        "path": sys.path,
        "environ": dict(os.environ),
        "multiprocess": environ["wsgi.multiprocess"],
        "umask": umask(),
    }


class Stream:
    """Never ends by itself."""

    def __iter__(self):
        while True:
            yield b"x" * 65536

    def close(self):
        say("stream closed")


def make_application(version):
    say(f"loaded {version} in {os.getpid()}")

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/stream":
            start_response("200 OK", [])
            return Stream()
        if path == "/large":
            start_response("200 OK", [])
            return (b"x" * 65536 for _ in range(128))
        if path == "/upload":
            size = len(environ["wsgi.input"].read())
            start_response("200 OK", [])
            return [b"%d" % size]
        if path == "/facts":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(facts(environ)).encode()]
        if path == "/warm":
            status = "500 Oh" if version.startswith("bad") else "200 OK"
            say(f"warmed up {version} in {os.getpid()}")
            start_response(status, [])
            return [b""]
        DEEDS[path](environ)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{os.getpid()} {version} {environ['QUERY_STRING']}".encode()]

    return application
