"""Written for Python 2, where text is bytes."""


def application(environ, start_response):
    start_response("200 OK", [("Content-type", "text/html")])
    return ["<html><body>Hello, W\xf6rld!</body></html>"]
