"""Requests that are under way when the server stops; it says on stderr what happens to them.

A request that waits does so for a FIFO, which the test opens when it is to go on.
"""

import os
import threading

BLOCK = b"x" * 65536


def say(text):
    os.write(2, text.encode() + b"\n")  # at once: threads must not mix their lines


class Stream:
    """Never ends by itself."""

    def __iter__(self):
        say("stream began")
        while True:
            yield BLOCK

    def close(self):
        say("stream closed")


class Large:
    """8 MiB: more than any socket's buffers."""

    def __iter__(self):
        for _ in range(128):
            yield BLOCK
        say("large ended")

    def close(self):
        say("large closed")


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/wait":
        say("waiting")
        with open(environ["QUERY_STRING"]) as fifo:
            fifo.read()
    elif path == "/stuck":
        say("stuck")
        threading.Event().wait()
    elif path == "/stream":
        start_response("200 OK", [])
        return Stream()
    elif path == "/large":
        start_response("200 OK", [])
        return Large()
    elif path == "/upload":
        say("uploading")
        body = environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [b"%d" % len(body)]
    start_response("200 OK", [])
    return [b"done"]
