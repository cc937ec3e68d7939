from wsgiref.simple_server import make_server

from my_wsgi_app import app

httpd = make_server("", 5000, app)
print("Serving")
httpd.serve_forever()
