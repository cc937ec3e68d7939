from wsgiref.handlers import CGIHandler


def application(environ, start_response):
    start_response("200 OK", [("Content-type", "text/html")])
    return [b"<html><body>Hello!</body></html>"]


CGIHandler().run(application)
