"""A live page in Django: the results of a poll, on every screen as soon as somebody votes.

Run it:

    pip install django
    wsgi-async --threads 2 examples/live/django_dashboard.py

Open http://127.0.0.1:8000/ in two windows, and vote in one of them. Or:

    curl -N http://127.0.0.1:8000/results

The stream is Django's own `StreamingHttpResponse`, with an async generator in it, out of an
ordinary view. Each of its events says how everything is, so its events need no ids: who comes back
is up to date with the next one.
"""

import asyncio
import os
import tempfile
from pathlib import Path

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import OperationalError, connection, models
from django.http import HttpResponse, HttpResponseNotFound, StreamingHttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST

from wsgi_async import sse

HERE = Path(__file__).parent
PLACE = os.environ.get("POLL") or Path(tempfile.gettempdir(), "django_dashboard.sqlite")

settings.configure(
    ALLOWED_HOSTS=["localhost", ".localhost", "127.0.0.1", "[::1]"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": PLACE}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.gzip.GZipMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("SECRET_KEY", "for this example only"),
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [HERE]}],
)
django.setup()


class Drink(models.Model):
    name = models.CharField(max_length=20, unique=True)
    votes = models.PositiveIntegerField(default=0)

    class Meta:
        app_label = "poll"


def prepare():
    """A site has migrations for this."""
    try:
        with connection.schema_editor() as editor:
            editor.create_model(Drink)
    except OperationalError:
        pass  # It is there already.
    drinks = [Drink(name=name) for name in ("Tea", "Coffee", "Cocoa", "Water")]
    Drink.objects.bulk_create(drinks, ignore_conflicts=True)
    connection.close()


prepare()
watching = 0
"""How many look at the results of this process."""


async def results():
    """An event whenever something is different."""
    global watching
    watching += 1
    try:
        before = None
        while True:
            drinks = [
                {"id": drink.id, "name": drink.name, "votes": drink.votes}
                async for drink in Drink.objects.order_by("id")
            ]
            now = {"drinks": drinks, "watching": watching}
            if now != before:
                yield sse.event(json=now)
            before = now
            await asyncio.sleep(0.5)
    finally:
        # However it ends: the browser goes, the server is reloaded, the database is away.
        watching -= 1


def stream(request):
    return StreamingHttpResponse(sse.stream(results()), headers=sse.headers())


@require_POST
def vote(request, drink):
    if not Drink.objects.filter(id=drink).update(votes=models.F("votes") + 1):
        return HttpResponseNotFound("There is no such drink.")
    return HttpResponse(status=204)


@ensure_csrf_cookie
def page(request):
    return render(request, "django_dashboard.html")


urlpatterns = [path("", page), path("results", stream), path("vote/<int:drink>", vote)]

application = get_wsgi_application()
