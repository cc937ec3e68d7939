"""Patterns of plain WSGI: routes, parsing, middleware, errors, a factory."""

import base64
import json
import logging
import os
import pprint
import time
import urllib.parse


def dump(environ, start_response):
    where = f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"Server: {where}\n{pprint.pformat(environ)}".encode()]


def echo(environ, start_response):
    form, kind = {}, environ.get("CONTENT_TYPE", "")
    length = int(environ.get("CONTENT_LENGTH", 0))
    body = environ["wsgi.input"].read(length).decode()
    if kind.startswith("application/x-www-form-urlencoded"):
        form = urllib.parse.parse_qs(body)
    elif kind.startswith("application/json"):
        form = json.loads(body)
    pairs = [item.strip().partition("=") for item in environ.get("HTTP_COOKIE", "").split(";")]
    found = {
        "method": environ["REQUEST_METHOD"],
        "query": urllib.parse.parse_qs(environ.get("QUERY_STRING", "")),
        "form": form,
        "cookies": {name: value for name, _, value in pairs if name},
        "accept": environ.get("HTTP_ACCEPT", ""),
        "length": length,
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found).encode()]


def stream(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (f"Line {number}\n".encode() for number in range(1000))


def fails_late(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["QUERY_STRING"] != "at-once":
        yield b"something"
    raise LookupError("from the generator")


def fails_after_start(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    raise LookupError("the first reason")


def raises(environ, start_response):
    raise HTTPException(int(environ["QUERY_STRING"]), "sorry")


def reasonless(environ, start_response):
    start_response(environ["QUERY_STRING"].replace("+", " "), [("Content-Type", "text/plain")])
    return [b"x"]


def user(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["AUTH_USER"].encode()]


def pool_size(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(environ["wsgi_async.threads"]).encode()]


def settings(environ, start_response):
    names = ("DEBUG", "HOST", "WORKERS", "LOG_LEVEL", "DATABASE_URL")
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({name: os.environ.get(name) for name in names}).encode()]


class Routes:
    def __init__(self):
        self.routes = {}

    def add(self, method, path, handler):
        self.routes[method, path] = handler

    def __call__(self, environ, start_response):
        handler = self.routes.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if handler is None:
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"Not Found"]
        return handler(environ, start_response)


class HTTPException(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


class Logged:
    """Passes the third argument on by position, None or not."""

    def __init__(self, application):
        self.application = application

    def __call__(self, environ, start_response):
        began, seen = time.time(), {}

        def start(status, headers, exc_info=None):
            seen["status"] = status
            return start_response(status, headers, exc_info)

        result = self.application(environ, start)
        logging.getLogger("patterns").warning(
            "%s %s in %.3f s", environ["PATH_INFO"], seen.get("status"), time.time() - began
        )
        return result


class Cross:
    """Answers OPTIONS by an empty chunk, and adds to the list that the application has given."""

    def __init__(self, application):
        self.application = application

    def __call__(self, environ, start_response):
        if environ["REQUEST_METHOD"] == "OPTIONS":
            start_response("200 OK", [("Access-Control-Allow-Methods", "GET, POST")])
            return [b""]

        def start(status, headers, exc_info=None):
            headers.append(("Access-Control-Allow-Origin", "*"))
            return start_response(status, headers, exc_info)

        return self.application(environ, start)


class Guarded:
    def __init__(self, application, users=(("admin", "secret"),)):
        self.application, self.users = application, dict(users)

    def __call__(self, environ, start_response):
        kind, _, text = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        name, _, password = base64.b64decode(text).decode().partition(":")
        if kind != "Basic" or self.users.get(name) != password:
            fields = [("Content-Type", "text/plain"), ("WWW-Authenticate", 'Basic realm="Here"')]
            start_response("401 Unauthorized", fields)
            return [b"Unauthorized"]
        environ["AUTH_USER"] = name
        return self.application(environ, start_response)


class Caught:
    """Answers what is raised before the iteration, without exc_info."""

    NAMES = {400: "Bad Request", 403: "Forbidden", 404: "Not Found"}

    def __init__(self, application):
        self.application = application

    def __call__(self, environ, start_response):
        fields = [("Content-Type", "text/plain")]
        try:
            return self.application(environ, start_response)
        except HTTPException as error:
            start_response(f"{error.code} {self.NAMES.get(error.code, 'Unknown')}", fields)
            return [error.message.encode()]
        except Exception:
            start_response("500 Internal Server Error", fields)
            return [b"caught"]


def healthy(application, checks):
    def check(environ, start_response):
        if environ["PATH_INFO"] != "/health":
            return application(environ, start_response)
        found = {name: run() for name, run in checks.items()}
        status = "200 OK" if all(found.values()) else "503 Service Unavailable"
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps({"checks": found, "timestamp": time.time()}).encode()]

    return check


routes = Routes()
for handler in (dump, stream, fails_late, fails_after_start, raises, reasonless, user):
    routes.add("GET", f"/{handler.__name__}", handler)
routes.add("GET", "/pool_size", pool_size)
routes.add("GET", "/settings", settings)
for method in ("GET", "POST"):
    routes.add(method, "/echo", echo)

SHARED = [("Content-Type", "text/html")]


def home(environ, start_response):
    start_response("200 OK", list(SHARED))
    return [b"<h1>Home</h1>"]


routes.add("GET", "/", home)
guarded = Guarded(routes)
is_well = {"database": lambda: "BROKEN_DATABASE" not in os.environ}


def create_app():
    application = Caught(routes)
    if os.environ.get("DEBUG", "").lower() == "true":
        application = Logged(application)
    return healthy(Cross(application), is_well)


application = create_app()
