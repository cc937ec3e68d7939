"""An application that is a class: its response begins when its iterator does."""


class Application:
    def __init__(self, environ, start_response):
        self.environ = environ
        self.start = start_response

    def __iter__(self):
        self.start("200 OK", [("Content-type", "text/plain"), ("X-Lazy", "yes")])
        yield b"Good"
        yield b" "
        yield b"morning"
        yield b"\n"


application = Application
