from gevent.pywsgi import WSGIServer
from my_wsgi_app import app

httpd = WSGIServer(("", 5000), app)
httpd.start()
print("Serving")
httpd.serve_forever()
