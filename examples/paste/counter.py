"""A small Pyramid application, as an ini file of PasteDeploy describes it.

Run, in this directory (`pip install pyramid 'wsgi_async[paste]'`): `wsgi-async -c development.ini`,
or, as Pyramid's own users do, `PYTHONPATH=. pserve development.ini`.
"""

import threading

from pyramid.config import Configurator
from pyramid.view import view_config


class Counts:
    """How often each name was greeted: shared by the server's threads."""

    def __init__(self):
        self._counts = {}
        self._lock = threading.Lock()

    def add(self, name):
        with self._lock:
            self._counts[name] = self._counts.get(name, 0) + 1
            return self._counts[name]


@view_config(route_name="hello", renderer="string")
def hello(request):
    name = request.matchdict["name"]
    count = request.registry.counts.add(name)
    return f"{request.registry.settings['greeting']}, {name}! ({count})\n"


@view_config(route_name="add", renderer="json", request_method="POST")
def add(request):
    return {"sum": int(request.params["a"]) + int(request.params["b"])}


def main(global_config, **settings):
    """What the section [app:main] calls, with what it says."""
    with Configurator(settings=settings) as config:
        config.registry.counts = Counts()
        config.add_route("hello", "/hello/{name}")
        config.add_route("add", "/add")
        config.scan()
        return config.make_wsgi_app()
