from flup.server.fcgi import WSGIServer


def application(environ, start_response):
    start_response("200 OK", [("Content-type", "text/html")])
    return [f"<html><body>Hello from {environ['PATH_INFO']}!</body></html>".encode()]


WSGIServer(application).run()
