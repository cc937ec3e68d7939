"""A long computation that stops when nobody waits for it any more.

Run it:

    wsgi-async examples/live/long_computation.py

Try it, and press Ctrl-C before it is there; the second line shows whether it still goes on:

    curl http://127.0.0.1:8000/primes?below=100000000
    curl http://127.0.0.1:8000/

To look whether the client has gone costs no more than any attribute of an object: once in a round
that takes a millisecond is often enough. (In threads of CPython computations take turns. This is
about the one that is for nobody, not about many at once.)
"""

import threading
from urllib.parse import parse_qs

ROUND = 1000


class Primes:
    """Counts primes for whoever waits for it."""

    def __init__(self):
        self._lock = threading.Lock()
        self._counts = {"running": 0, "complete": 0, "stopped": 0}

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"] == "/primes":
            below = int(parse_qs(environ["QUERY_STRING"]).get("below", ["100000"])[0])
            text = self.count(below, environ["wsgi_async.client"])
        else:
            with self._lock:
                text = ", ".join(f"{count} {name}" for name, count in self._counts.items())
        start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{text}\n".encode()]

    def count(self, below, client):
        self._note(running=1)
        found = 0
        for number in range(2, below):
            if number % ROUND == 0 and client.gone:
                self._note(running=-1, stopped=1)
                return "for nobody"
            found += all(number % divisor for divisor in range(2, int(number**0.5) + 1))
        self._note(running=-1, complete=1)
        return f"{found} primes below {below}"

    def _note(self, **changes):
        with self._lock:
            for name, change in changes.items():
                self._counts[name] += change


application = Primes()
