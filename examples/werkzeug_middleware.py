"""Middleware that Werkzeug has, and that needs no other: a profiler, mounts, proxies' headers.

Run it:

    wsgi-async examples/werkzeug_middleware.py

Try it:

    curl http://127.0.0.1:8000/
    curl http://127.0.0.1:8000/sum/1000000
    curl -H 'X-Forwarded-For: 203.0.113.9' -H 'X-Forwarded-Proto: https' http://127.0.0.1:8000/

The profile of each request below /sum is printed. pip install werkzeug
"""

import sys

from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.profiler import ProfilerMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix


def greet(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    scheme, address = environ["wsgi.url_scheme"], environ["REMOTE_ADDR"]
    return [f"Hello, {address}, who came by {scheme}.\n".encode()]


def add_up(environ, start_response):
    # Below a mount PATH_INFO is what is left of the path, and SCRIPT_NAME what is taken off.
    number = environ["PATH_INFO"].removeprefix("/")
    if not (number.isascii() and number.isdigit() and len(number) < 9):
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"A number of at most 8 digits, please.\n"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d\n" % sum(range(int(number) + 1))]


# The profiler collects the whole response before it sends any of it, so it goes around one part.
application = DispatcherMiddleware(
    greet, {"/sum": ProfilerMiddleware(add_up, stream=sys.stdout, restrictions=(5,))}
)
# One proxy in front; with none, this would believe what any client says.
application = ProxyFix(application, x_for=1, x_proto=1)
