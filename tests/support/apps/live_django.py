"""A site by Django that streams asynchronously, through all the middleware that a site may have.

Environment: ``LIVE_DATABASE`` is SQLite's file, or the URL of a PostgreSQL; ``LIVE_AGE`` is
CONN_MAX_AGE; with ``LIVE_INSTALLED`` it has `wsgi_async.django`; ``LIVE_AROUND`` names what is
around the application (``sentry``, ``telemetry``).

======================  ===========================================================================
``/stream/NAME``        chunks that ``/push`` sends; each asks the database first. More fields: see
                        :func:`stream`
``/push?NAME=DATA``     DATA is the next chunk; ``end`` and ``fail`` are what they say
``/large/NAME``         256 KiB at a time, for a client that does not read
``/slow/NAME``          waits in the database, so to speak, until ``/push``
``/around/NAME``        what the body sees of its request: language, time zone, URL prefix, session
``/rows``               an ordinary view with a query
``/facts``              what has happened so far, as JSON
======================  ===========================================================================
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import django
from asgiref.sync import sync_to_async
from django import urls
from django.apps import apps
from django.core import signals
from django.core.wsgi import get_wsgi_application
from django.db import connection, connections
from django.db.backends.signals import connection_created
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.utils import timezone, translation

AROUND = os.environ.get("LIVE_AROUND", "")

if AROUND == "sentry":
    import sentry_sdk
    from sentry_sdk.integrations.django import DjangoIntegration

    sentry_sdk.init(integrations=[DjangoIntegration()], default_integrations=False)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "live_settings")
application = get_wsgi_application()

if AROUND == "telemetry":
    from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

    application = OpenTelemetryMiddleware(application)

Session = apps.get_model("sessions", "Session")

facts: Counter[str] = Counter()
"""How often each thing has happened."""
threads: dict[str, list[str]] = {}
"""In which threads, by the name of a stream."""
channels: dict[str, tuple[asyncio.AbstractEventLoop, asyncio.Queue[str]]] = {}
gates: dict[str, threading.Event] = {}


def count_opened(**_: Any) -> None:
    facts["opened"] += 1


def count_finished(**_: Any) -> None:
    facts["finished"] += 1
    if "application" in threading.current_thread().name:
        facts["finished by the loop"] += 1


connection_created.connect(count_opened)
signals.request_finished.connect(count_finished)


def counting_closes(wrapper: Any) -> None:
    close = wrapper._close

    def counted(self: Any) -> None:
        if self.connection is not None:
            facts["closed"] += 1
        close(self)

    wrapper._close = counted


counting_closes(type(connections["default"]))


def query() -> int:
    found: int = Session.objects.count()
    return found


def channel(name: str) -> asyncio.Queue[str]:
    queue: asyncio.Queue[str] = asyncio.Queue()
    channels[name] = asyncio.get_running_loop(), queue
    return queue


async def chunks(name: str) -> AsyncIterator[str]:
    """The channel's. Its story is told by what it counts."""
    facts["begun"] += 1
    try:
        queue = channel(name)
        threads[name] = [threading.current_thread().name]
        yield f"begun {await Session.objects.acount()}\n"
        while (data := await queue.get()) != "end":
            if data == "fail":
                raise RuntimeError("this body fails")
            await sync_to_async(query)()
            yield f"{data}\n"
    finally:
        facts["over"] += 1


def stream(request: HttpRequest, name: str) -> StreamingHttpResponse:
    """``type`` is its media type; with ``modified`` the response can be answered by a 304; with
    ``asked`` the view asks the database too."""
    if "asked" in request.GET:
        query()
    kind = request.GET.get("type", "text/plain")
    response = StreamingHttpResponse(chunks(name), content_type=kind)
    if "modified" in request.GET:
        response["Last-Modified"] = "Mon, 30 Nov 2026 06:00:00 GMT"
    return response


def push(request: HttpRequest) -> HttpResponse:
    for name, data in request.GET.items():
        if name in gates:
            gates[name].set()
        else:
            loop, queue = channels[name]
            loop.call_soon_threadsafe(queue.put_nowait, data)
    return HttpResponse("pushed")


def large(request: HttpRequest, name: str) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[bytes]:
        facts["begun"] += 1
        try:
            while True:
                await sync_to_async(query)()
                yield os.urandom(262_144)
        finally:
            facts["over"] += 1

    return StreamingHttpResponse(body(), content_type="application/octet-stream")


def slow(request: HttpRequest, name: str) -> StreamingHttpResponse:
    gate = gates[name] = threading.Event()

    def wait() -> int:
        facts["waiting"] += 1
        assert gate.wait(30)
        return query()

    async def body() -> AsyncIterator[str]:
        facts["begun"] += 1
        try:
            yield "begun\n"
            yield f"{await sync_to_async(wait)()}\n"
        finally:
            facts["over"] += 1

    return StreamingHttpResponse(body(), content_type="text/event-stream")


def around(request: HttpRequest, name: str) -> StreamingHttpResponse:
    request.session["visited"] = name
    timezone.activate("Asia/Kathmandu")

    async def body() -> AsyncIterator[str]:
        queue = channel(name)
        yield "begun\n"
        await queue.get()
        here = [translation.get_language(), timezone.get_current_timezone_name()]
        there = await sync_to_async(translation.get_language)()
        saved = [row.get_decoded()["visited"] async for row in Session.objects.all()]
        yield f"{here} {there} {urls.reverse('rows')} {saved}"

    return StreamingHttpResponse(body(), content_type="text/plain")


def rows(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(query()))


def show(request: HttpRequest) -> JsonResponse:
    return JsonResponse({**facts, "threads": threads, "version": django.__version__})


urlpatterns = [
    urls.path("stream/<name>", stream),
    urls.path("push", push),
    urls.path("large/<name>", large),
    urls.path("slow/<name>", slow),
    urls.path("around/<name>", around),
    urls.path("rows", rows, name="rows"),
    urls.path("facts", show),
]

if Session._meta.db_table not in connection.introspection.table_names():
    with connection.schema_editor() as editor:
        editor.create_model(Session)
connection.close()
facts.clear()
