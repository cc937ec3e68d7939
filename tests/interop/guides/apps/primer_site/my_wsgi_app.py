"""An object as application, with middleware around it."""

import sys


class Core:
    def __init__(self, greeting="Hello"):
        self.greeting = greeting

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/form":
            return self.form(environ, start_response)
        if path == "/late":
            return self.late(start_response)
        if path == "/headers":
            lines = [f"{key}: {environ[key]}\n" for key in sorted(environ) if "HTTP_" in key]
            start_response("200 OK", [("Content-Type", "text/plain")])
            return ["".join(lines).encode()]
        if path == "/fail":
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
            return [b"broken"]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{self.greeting} {environ['wsgi_async.threads']}".encode()]

    def form(self, environ, start_response):
        import cgi

        copy = {**environ, "QUERY_STRING": ""}
        form = cgi.FieldStorage(fp=environ["wsgi.input"], environ=copy, keep_blank_values=True)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [repr([(key, form.getlist(key)) for key in sorted(form)]).encode()]

    def late(self, start_response):
        """Says that it has accepted, works, and thinks better of it before its first byte."""
        start_response("202 Accepted", [("X-State", "accepted")])
        yield b""
        try:
            raise LookupError
        except LookupError:
            start_response("404 Not Found", [("X-State", "gone")], sys.exc_info())
        yield b"not there"


class Unavailable:
    """Turns a 500 into a 503 with a page of its own."""

    def __init__(self, application):
        self.application = application

    def __call__(self, environ, start_response):
        seen = []

        def start(status, headers, exc_info=None):
            seen.append(status)
            if status.startswith("500"):
                status = "503 Service Unavailable"
                headers = [("Content-Type", "text/html"), ("X-Contact", "webmaster")]
            return start_response(status, headers, exc_info)

        result = self.application(environ, start)
        return [b"<p>Come back later</p>"] if seen and seen[0].startswith("500") else result


class Named:
    def __init__(self, application):
        self.application = application

    def __call__(self, environ, start_response):
        def start(status, headers, exc_info=None):
            return start_response(status, [*headers, ("X-Named", "yes")], exc_info)

        return self.application(environ, start)


def make(greeting="Hi"):
    return Core(greeting)


core = Core()
app = Unavailable(core)
app = Named(app)
