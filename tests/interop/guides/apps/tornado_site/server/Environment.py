"""Shows its environ and the body of the request, by the BytesIO that holds it."""


class Environment:
    def __init__(self, environ, start_response):
        self.environ = environ
        self.start = start_response

    def __iter__(self):
        self.start("200 OK", [("Content-type", "text/plain")])
        for key, value in sorted(self.environ.items()):
            yield f"{key}: {value}\n".encode()
        yield self.environ["wsgi.input"].getvalue()
        yield b"\n"
