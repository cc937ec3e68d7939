from wsgiref.simple_server import demo_app, make_server

with make_server("", 8000, demo_app) as httpd:
    print("Serving")
    httpd.handle_request()
print("done")
