"""The programs in `wsgi_async/help/live.md` run as they stand there, and its configuration of a
page is that of the examples."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

import httpx
import pytest
from event_sources import event_source
from prose import HELP
from rawclient import TIMEOUT
from tools import python, require_module, running

PAGE = (HELP / "live.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
NAMES = ["clock", "greetings", "django", "plain", "latest", "chat", "pool", "client"]
"""What the tests call them, in their order."""

DJANGO_SITE = """
import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import path

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="none")
application = get_wsgi_application()
urlpatterns = [path("stream", stream)]
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """All of them in one server, each below its name."""
    require_module("flask")
    require_module("django")
    assert len(BLOCKS) == len(NAMES)
    directory = tmp_path_factory.mktemp("guide")
    mounts = []
    for name, block in zip(NAMES, BLOCKS, strict=True):
        more = DJANGO_SITE if name == "django" else ""
        (directory / f"guide_{name}.py").write_text(block + more)
        attribute = "app" if "app = Flask" in block else "application"
        mounts += ["--mount", f"/{name}=guide_{name}:{attribute}"]
    options = ("--threads", "2", "--port", "0", "--live-grace", "0")
    with running(*python("-m", "wsgi_async", *mounts, *options), cwd=directory) as process:
        yield process.url
        process.signal(signal.SIGTERM)
        assert process.wait() == 0, process.output
        assert not re.search(r"Traceback|Warning|ERROR", process.output), process.output


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/clock/clock/Oslo", ["0 in Oslo", "1 in Oslo"]),
        ("/greetings/greetings?name=Ada", ["Hello, Ada"] * 3),
        ("/django/stream", ["tick", "tick"]),
    ],
)
def test_events(url: str, path: str, told: list[str]) -> None:
    with event_source(url + path) as stream:
        assert stream.response.headers["Content-Type"] == "text/event-stream"
        assert [stream.next().data for _ in told] == told


def test_it_goes_on_after_the_last_id(url: str) -> None:
    with event_source(f"{url}/greetings/greetings?name=Ada", last_id="41") as stream:
        assert [event.last_id for event in stream] == ["42", "43", "44"]


def test_many_are_told_by_one(url: str) -> None:
    with event_source(f"{url}/latest/orders") as one, event_source(f"{url}/latest/orders") as two:
        first = [one.next().data for _ in range(3)]
        second = [two.next().data for _ in range(3)]
    assert len(set(first)) == len(set(second)) == 3
    assert set(first) & set(second)


def test_views_tell_all_who_listen(url: str) -> None:
    with event_source(f"{url}/chat/messages") as one, event_source(f"{url}/chat/messages") as two:
        told = httpx.post(f"{url}/chat/say", data={"text": "hi"}, timeout=TIMEOUT, trust_env=False)
        assert told.status_code == 204
        assert [one.next().data, two.next().data] == ["hi", "hi"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/plain/", b"0\n1\n2\n"),
        ("GET", "/pool/", b'["stock: fine","prices: fine","reviews: fine"]\n'),
        ("POST", "/pool/mail", b'{"sent":"soon"}\n'),
        ("GET", "/client/", b"100\n"),
    ],
)
def test_answers(url: str, method: str, path: str, body: bytes) -> None:
    answer = httpx.request(method, url + path, timeout=TIMEOUT, trust_env=False)
    assert answer.content == body
