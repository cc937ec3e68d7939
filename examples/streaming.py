"""Answers that are made while they are sent: a large table, and a clock.

Run it:

    wsgi-async examples/streaming.py

Try it:

    curl 'http://127.0.0.1:8000/table?rows=1000000' | wc
    curl -N 'http://127.0.0.1:8000/clock?ticks=5'

The table is made as fast as it can be; a client that reads slowly holds no thread, because what it
has not taken waits in memory and then in a temporary file. The clock sleeps between its chunks, and
a generator that sleeps does hold its thread: one per client that looks at the clock. Those in
examples/live/ hold none.
"""

import time
from urllib.parse import parse_qs


def table(rows):
    yield b"number,square\n"
    for number in range(rows):
        yield b"%d,%d\n" % (number, number * number)


def clock(ticks):
    try:
        for tick in range(ticks):
            if tick:
                time.sleep(1)
            yield time.strftime("%H:%M:%S\n").encode()
    finally:
        # Also when the client goes away in between: the server closes the generator.
        print("the clock has stopped", flush=True)


def application(environ, start_response):
    query = {key: values[0] for key, values in parse_qs(environ["QUERY_STRING"]).items()}
    if environ["PATH_INFO"] == "/table":
        start_response("200 OK", [("Content-Type", "text/csv")])
        return table(int(query.get("rows", 1000)))
    if environ["PATH_INFO"] == "/clock":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return clock(int(query.get("ticks", 10)))
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"There are /table?rows=1000 and /clock?ticks=10\n"]
