"""A project's own tests of a view that streams asynchronously: run by Django, and without a server
of ours. See ``tests/interop/test_live_django_tests.py``."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django import urls
from django.contrib.sessions.models import Session
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import LiveServerTestCase, TestCase, TransactionTestCase
from django.utils import timezone

import wsgi_async

ended = threading.Semaphore(0)


async def counts() -> AsyncIterator[str]:
    try:
        for _ in range(3):
            thread = await sync_to_async(threading.get_ident)()
            yield f"{await Session.objects.acount()} {thread}\n"
    finally:
        ended.release()


def stream(request: HttpRequest) -> StreamingHttpResponse:
    Session.objects.create(session_key="view", session_data="", expire_date=timezone.now())
    return StreamingHttpResponse(counts(), content_type="text/plain")


def waits(request: HttpRequest) -> HttpResponse:
    Session.objects.create(session_key="view", session_data="", expire_date=timezone.now())
    return HttpResponse(str(wsgi_async.run(Session.objects.acount())))


urlpatterns = [urls.path("stream", stream), urls.path("waits", waits)]


class Common:
    """What holds in each kind of test."""

    client: Any

    def look(self) -> None:
        Session.objects.create(session_key="test", session_data="", expire_date=timezone.now())
        response = self.client.get("/stream")
        lines = b"".join(response).decode().splitlines()
        assert lines == [f"2 {threading.get_ident()}"] * 3, lines
        assert ended.acquire(timeout=20)
        assert response.closed


class Rolled(Common, TestCase):
    """All in the test's transaction, which is rolled back."""

    def test_the_body_is_in_the_transaction(self) -> None:
        self.look()

    def test_it_was_rolled_back(self) -> None:
        self.look()

    def test_what_a_view_waits_for_is_in_it_too(self) -> None:
        assert self.client.get("/waits").content == b"1"

    def test_a_stream_that_is_not_read_to_its_end(self) -> None:
        response = self.client.get("/stream")
        assert next(iter(response)).split()[0] == b"1"
        response.close()
        assert ended.acquire(timeout=20)
        assert Session.objects.count() == 1


class Committed(Common, TransactionTestCase):
    def test_the_body_is_on_the_tests_connection(self) -> None:
        self.look()


class Served(LiveServerTestCase):
    """Django's own server, in a thread of the test's process."""

    def test_it_gets_chunk_by_chunk(self) -> None:
        with urllib.request.urlopen(f"{self.live_server_url}/stream") as response:
            lines = [line.split()[0] for line in response]
        assert lines == [b"1"] * 3
        assert ended.acquire(timeout=20)
