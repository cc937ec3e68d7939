import os


def application(environ, start_response):
    if environ["PATH_INFO"] == "/which":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{os.getpid()} {environ['wsgi_async.threads']}".encode()]
    start_response("200 OK", [("Content-Type", "text/html")])
    return ["<h1 style='color:green'>Good day!</h1>"]
