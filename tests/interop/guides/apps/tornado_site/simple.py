from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.wsgi import WSGIContainer


def application(environ, start_response):
    start_response("200 OK", [("Content-type", "text/plain")])
    return [b"Good morning\n"]


server = HTTPServer(WSGIContainer(application))
server.listen(8080)
print("Listening")
IOLoop.current().start()
