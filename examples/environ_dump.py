"""Shows the environ of the request, with what the server makes of headers, path and query.

Run it:

    wsgi-async examples/environ_dump.py

Try it:

    curl 'http://127.0.0.1:8000/caf%C3%A9?x=1&y=2'
    curl -H 'X-Twice: a' -H 'X-Twice: b' -d 'a body' http://127.0.0.1:8000/
"""


def application(environ, start_response):
    lines = [f"{key} = {environ[key]!r}\n" for key in sorted(environ)]
    lines.append(f"\nThe body: {environ['wsgi.input'].read()!r}\n")
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return ["".join(lines).encode()]
