"""The smallest application, and the two ways to serve one.

Run it:

    wsgi-async examples/hello.py
    python examples/hello.py

Try it:

    curl -i http://127.0.0.1:8000/
"""

import wsgi_async


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [b"Hello, world!\n"]


if __name__ == "__main__":
    wsgi_async.serve(application, 8000)
