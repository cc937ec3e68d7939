"""One small site, written in five frameworks: what `test_frameworks` talks to.

=============  ===================================================================================
``/hello``     GET, HEAD: ``Hello, NAME!`` for the query's `name`
``/peer``      the client's port: equal for two requests of one connection
``/form``      POST of a form: its fields as JSON
``/upload``    POST of multipart/form-data: name, size and SHA-256 of `file`, and `note`, as JSON
``/stream``    parts `0`, `1` ... of the query's `count`, each but the first waiting at the gate
``/file``      a file by the framework's own means
``/cookies``   sets two cookies; with ``?read=1`` shows as JSON what came back
``/old``       redirects to ``/hello?name=moved``
``/empty``     204
``/teapot``    418, with its own reason where the framework allows
``/boom``      raises
``/async``     an async view (Flask and Django, the others have none under WSGI)
=============  ===================================================================================
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import django_settings
from rawclient import TIMEOUT

__all__ = ["FRAMEWORKS", "Application", "Gate", "Site"]

Application = Callable[..., Iterable[bytes]]


class Gate:
    """Where a stream waits until the test has seen what came before."""

    def __init__(self) -> None:
        self._passes = threading.Semaphore(0)

    def open(self) -> None:
        self._passes.release()

    def shut(self) -> None:
        """Take back what was opened for nobody."""
        while self._passes.acquire(blocking=False):
            pass

    def wait(self) -> None:
        if not self._passes.acquire(timeout=TIMEOUT):
            raise TimeoutError("nobody opened the gate")


class Site:
    """What the frameworks' views have in common."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.gate = Gate()
        self.closed = threading.Semaphore(0)
        """Released when a stream has been closed."""

    def hello(self, name: str | None) -> str:
        return f"Hello, {name or 'world'}!"

    def describe(self, name: str | None, file: IO[bytes], note: str | None) -> dict[str, object]:
        digest, size = hashlib.sha256(), 0
        while data := file.read(256 * 1024):
            digest.update(data)
            size += len(data)
        return {"name": name, "size": size, "sha256": digest.hexdigest(), "note": note}

    def stream(self, count: int) -> Iterator[bytes]:
        try:
            for number in range(count):
                if number:
                    self.gate.wait()
                yield b"%d\n" % number
        finally:
            self.closed.release()


def make_flask(site: Site) -> Application:
    import flask

    app = flask.Flask("frameworks")
    request = flask.request

    @app.route("/hello")
    def hello() -> str:
        return site.hello(request.args.get("name"))

    @app.route("/peer")
    def peer() -> str:
        return str(request.environ["REMOTE_PORT"])

    @app.route("/form", methods=["POST"])
    def form() -> Any:
        return dict(request.form)

    @app.route("/upload", methods=["POST"])
    def upload() -> Any:
        file = request.files["file"]
        return site.describe(file.filename, file.stream, request.form.get("note"))

    @app.route("/stream")
    def stream() -> Any:
        return flask.Response(site.stream(int(request.args["count"])), mimetype="text/plain")

    @app.route("/file")
    def file() -> Any:
        return flask.send_file(site.file)

    @app.route("/cookies")
    def cookies() -> Any:
        if "read" in request.args:
            return dict(request.cookies)
        response = flask.Response("set")
        response.set_cookie("first", "1", httponly=True)
        response.set_cookie("second", "2", max_age=60)
        return response

    @app.route("/old")
    def old() -> Any:
        return flask.redirect("/hello?name=moved")

    @app.route("/empty")
    def empty() -> Any:
        return "", 204

    @app.route("/teapot")
    def teapot() -> Any:
        return "short and stout", 418

    @app.route("/boom")
    def boom() -> str:
        raise RuntimeError("boom")

    @app.route("/async")
    async def asynchronous() -> str:
        first, second = await asyncio.gather(_later("one"), _later("two"))
        return f"{first}, {second}"

    return cast("Application", app)


async def _later(text: str) -> str:
    await asyncio.sleep(0.001)
    return text


def make_django(site: Site) -> Application:
    import types

    from django import http, urls
    from django.core.handlers.wsgi import WSGIHandler

    def hello(request: Any) -> Any:
        return http.HttpResponse(site.hello(request.GET.get("name")))

    def peer(request: Any) -> Any:
        return http.HttpResponse(request.META["REMOTE_PORT"])

    def form(request: Any) -> Any:
        return http.JsonResponse(request.POST.dict())

    def upload(request: Any) -> Any:
        file = request.FILES["file"]
        return http.JsonResponse(site.describe(file.name, file, request.POST.get("note")))

    def stream(request: Any) -> Any:
        parts = site.stream(int(request.GET["count"]))
        return http.StreamingHttpResponse(parts, content_type="text/plain")

    def file(request: Any) -> Any:
        return http.FileResponse(site.file.open("rb"))

    def cookies(request: Any) -> Any:
        if "read" in request.GET:
            return http.JsonResponse(request.COOKIES)
        response = http.HttpResponse("set")
        response.set_cookie("first", "1", httponly=True)
        response.set_cookie("second", "2", max_age=60)
        return response

    def old(request: Any) -> Any:
        return http.HttpResponseRedirect("/hello?name=moved")

    def empty(request: Any) -> Any:
        return http.HttpResponse(status=204)

    def teapot(request: Any) -> Any:
        return http.HttpResponse("short and stout", status=418, reason="Short and stout")

    def boom(request: Any) -> Any:
        raise RuntimeError("boom")

    async def asynchronous(request: Any) -> Any:
        first, second = await asyncio.gather(_later("one"), _later("two"))
        return http.HttpResponse(f"{first}, {second}")

    views = (hello, peer, form, upload, stream, file, cookies, old, empty, teapot, boom)
    urlconf = types.ModuleType("frameworks_urls")
    vars(urlconf)["urlpatterns"] = [
        urls.path("async", asynchronous),
        *(urls.path(view.__name__, view) for view in views),
    ]

    class Handler(WSGIHandler):
        """Django has one site in a process, by its settings; this one brings its own URLs."""

        def resolve_request(self, request: Any) -> Any:
            request.urlconf = urlconf
            return super().resolve_request(request)

    django_settings.configure()
    return cast("Application", Handler())


def make_bottle(site: Site) -> Application:
    import bottle

    app = bottle.Bottle()
    request, response = bottle.request, bottle.response

    @app.get("/hello")
    def hello() -> str:
        return site.hello(request.query.get("name"))

    @app.get("/peer")
    def peer() -> str:
        return str(request.environ["REMOTE_PORT"])

    @app.post("/form")
    def form() -> Any:
        return {name: request.forms.getunicode(name) for name in request.forms}

    @app.post("/upload")
    def upload() -> Any:
        file = request.files.get("file")
        return site.describe(file.raw_filename, file.file, request.forms.get("note"))

    @app.get("/stream")
    def stream() -> Any:
        response.content_type = "text/plain"
        return site.stream(int(request.query.get("count")))

    @app.get("/file")
    def file() -> Any:
        return bottle.static_file(site.file.name, root=str(site.file.parent))

    @app.get("/cookies")
    def cookies() -> Any:
        if "read" in request.query:
            return dict(request.cookies)
        response.set_cookie("first", "1", httponly=True)
        response.set_cookie("second", "2", max_age=60)
        return "set"

    @app.get("/old")
    def old() -> None:
        bottle.redirect("/hello?name=moved", 302)

    @app.get("/empty")
    def empty() -> None:
        response.status = 204

    @app.get("/teapot")
    def teapot() -> str:
        response.status = "418 Short and stout"
        return "short and stout"

    @app.get("/boom")
    def boom() -> str:
        raise RuntimeError("boom")

    return cast("Application", app)


def make_falcon(site: Site) -> Application:
    import falcon

    def get(view: Callable[[Any, Any], None]) -> object:
        class Resource:
            def on_get(self, request: Any, response: Any) -> None:
                view(request, response)

            on_head = on_get

        return Resource()

    def hello(request: Any, response: Any) -> None:
        response.text = site.hello(request.get_param("name"))

    def peer(request: Any, response: Any) -> None:
        response.text = request.env["REMOTE_PORT"]

    class Form:
        def on_post(self, request: Any, response: Any) -> None:
            response.media = request.get_media()

    class Upload:
        def on_post(self, request: Any, response: Any) -> None:
            found: dict[str, object] = {}
            note = None
            for part in request.get_media():
                if part.name == "file":
                    found = site.describe(part.filename, part.stream, None)
                else:
                    note = part.text
            response.media = {**found, "note": note}

    def stream(request: Any, response: Any) -> None:
        response.content_type = "text/plain"
        response.stream = site.stream(request.get_param_as_int("count"))

    def file(request: Any, response: Any) -> None:
        response.content_type = "application/octet-stream"
        response.content_length = site.file.stat().st_size
        if request.method != "HEAD":  # for which Falcon would forget to close it
            response.stream = site.file.open("rb")

    def cookies(request: Any, response: Any) -> None:
        if request.has_param("read"):
            response.media = request.cookies
            return
        response.set_cookie("first", "1", http_only=True, secure=False)
        response.set_cookie("second", "2", max_age=60, secure=False)
        response.text = "set"

    def old(request: Any, response: Any) -> None:
        raise falcon.HTTPFound("/hello?name=moved")

    def empty(request: Any, response: Any) -> None:
        response.status = falcon.HTTP_204

    def teapot(request: Any, response: Any) -> None:
        response.status = "418 Short and stout"
        response.text = "short and stout"

    def boom(request: Any, response: Any) -> None:
        raise RuntimeError("boom")

    app = falcon.App()
    for view in (hello, peer, stream, file, cookies, old, empty, teapot, boom):
        app.add_route(f"/{view.__name__}", get(view))
    app.add_route("/form", Form())
    app.add_route("/upload", Upload())
    return cast("Application", app)


def make_pyramid(site: Site) -> Application:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cgi and pkg_resources are on their way out
        from pyramid.config import Configurator
        from pyramid.httpexceptions import HTTPFound
        from pyramid.response import FileResponse, Response

    def hello(request: Any) -> Any:
        return Response(site.hello(request.GET.get("name")))

    def peer(request: Any) -> Any:
        return Response(request.environ["REMOTE_PORT"])

    def form(request: Any) -> Any:
        return Response(json_body=dict(request.POST))

    def upload(request: Any) -> Any:
        file = request.POST["file"]
        found = site.describe(file.filename, file.file, request.POST.get("note"))
        file.file.close()  # temporary files, which WebOb leaves to the garbage collector
        request.body_file_raw.close()
        return Response(json_body=found)

    def stream(request: Any) -> Any:
        parts = site.stream(int(request.GET["count"]))
        return Response(app_iter=parts, content_type="text/plain")

    def file(request: Any) -> Any:
        return FileResponse(str(site.file), request=request)

    def cookies(request: Any) -> Any:
        if "read" in request.GET:
            return Response(json_body=dict(request.cookies))
        response = Response("set")
        response.set_cookie("first", "1", httponly=True)
        response.set_cookie("second", "2")  # with max_age it calls the deprecated utcnow()
        return response

    def old(request: Any) -> Any:
        return HTTPFound("/hello?name=moved")

    def empty(request: Any) -> Any:
        return Response(status=204)

    def teapot(request: Any) -> Any:
        return Response("short and stout", status="418 Short and stout")

    def boom(request: Any) -> Any:
        raise RuntimeError("boom")

    config = Configurator()
    for view in (hello, peer, form, upload, stream, file, cookies, old, empty, teapot, boom):
        config.add_route(view.__name__, f"/{view.__name__}")
        config.add_view(view, route_name=view.__name__)
    return cast("Application", config.make_wsgi_app())


FRAMEWORKS: dict[str, Callable[[Site], Application]] = {
    "flask": make_flask,
    "django": make_django,
    "bottle": make_bottle,
    "falcon": make_falcon,
    "pyramid": make_pyramid,
}
"""Module that has to be installed: the site in it."""
