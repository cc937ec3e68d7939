from server.Application import Application

import wsgi_async

wsgi_async.main(Application)
