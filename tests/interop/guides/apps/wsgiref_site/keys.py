from wsgiref import simple_server


def show_keys(environ, start_response):
    start_response("200 OK", [("Content-type", "text/html")])
    environ["wsgi.errors"].write("This is for the log")
    return [b"<h1>Keys</h1><p>", "<br />".join(sorted(environ)).encode(), b"</p>"]


httpd = simple_server.WSGIServer(("", 8000), simple_server.WSGIRequestHandler)
httpd.set_app(show_keys)
print("Serving")
httpd.serve_forever()
