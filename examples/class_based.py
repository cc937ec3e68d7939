"""An application that is an object: settings in __init__, one __call__ for all requests.

Run it:

    wsgi-async examples/class_based.py
    wsgi-async 'examples/class_based.py:Counter(start=100)'

Try it:

    curl http://127.0.0.1:8000/apples http://127.0.0.1:8000/apples http://127.0.0.1:8000/pears

The one object is called by all threads of the pool, so it locks what it changes.
"""

import collections
import threading


class Counter:
    """Counts the requests of each path."""

    def __init__(self, start=0):
        self._counts = collections.defaultdict(lambda: start)
        self._lock = threading.Lock()

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        with self._lock:
            self._counts[path] += 1
            count = self._counts[path]
        # Text of the environ is latin-1 that holds the bytes of UTF-8 (PEP 3333, "Unicode
        # Issues"): encoded back, it is what the client sent.
        body = path.encode("latin-1") + f": {count}\n".encode()
        start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return [body]


application = Counter()
