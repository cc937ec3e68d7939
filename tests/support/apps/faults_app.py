"""Reads what it is sent, and answers."""


def application(environ, start_response):
    environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [b"fine"]
