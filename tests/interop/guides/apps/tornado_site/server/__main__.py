from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.options import define, options
from tornado.wsgi import WSGIContainer

from .Environment import Environment

define("port", default=8080, help="where to listen")
options.parse_command_line()
server = HTTPServer(WSGIContainer(Environment))
server.listen(options.port)
print("Listening on port", options.port)
IOLoop.current().start()
