"""Several applications in one server, by the beginning of the path and by method.

Run it:

    wsgi-async examples/mounts.py

Try it:

    curl -i http://127.0.0.1:8000/
    curl -i http://127.0.0.1:8000/greetings/Ada
    curl -i -d Grace http://127.0.0.1:8000/greetings
    curl -i -X DELETE http://127.0.0.1:8000/greetings

The same on the command line, for applications that know nothing of each other; the longest prefix
wins, and HEAD is answered by what answers GET:

    wsgi-async examples/hello.py --mount /form=examples/form_post.py \\
        --mount 'GET /count=examples/class_based.py:Counter(start=100)'

An application finds the prefix at the end of SCRIPT_NAME and the rest in PATH_INFO, so links that
it builds from SCRIPT_NAME lead back to it.
"""

from html import escape

from wsgi_async import Mounts

greeted = []


def page(start_response, status, html):
    start_response(status, [("Content-Type", "text/html; charset=utf-8")])
    return [html.encode()]


def front_page(environ, start_response):
    if environ["PATH_INFO"] not in ("", "/"):
        return page(start_response, "404 Not Found", "Nothing here")
    link = environ["SCRIPT_NAME"] + "/greetings/you"
    return page(start_response, "200 OK", f'<a href="{escape(link)}">A greeting</a>')


def greet(environ, start_response):
    # Text of the environ is latin-1 that holds the bytes of UTF-8 (PEP 3333, "Unicode Issues").
    name = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace").strip("/")
    if not name:
        return page(start_response, "200 OK", "Greeted so far: " + escape(", ".join(greeted)))
    return page(start_response, "200 OK", f"Hello, {escape(name)}!")


def remember(environ, start_response):
    name = environ["wsgi.input"].read(1000).decode("utf-8", "replace")
    greeted.append(name)
    return page(start_response, "201 Created", f"Pleased to meet you, {escape(name)}!")


application = Mounts(
    {
        "GET /": front_page,
        "GET /greetings": greet,
        "POST /greetings": remember,
    }
)
