"""The dashboard's application, without a process: what is served to whom, and by what fields."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from rawclient import TIMEOUT

from wsgi_async.events import RequestInfo
from wsgi_async.operations.admission import Admission
from wsgi_async.operations.dashboard import DashboardApplication, Shown
from wsgi_async.operations.history import COLUMNS, History
from wsgi_async.operations.journal import Journal
from wsgi_async.operations.journaling import JournalObserver
from wsgi_async.operations.json_pages import Asked, Refusal
from wsgi_async.operations.viewers import VIEWERS
from wsgi_async.scoreboard.board import Scoreboard
from wsgi_async.testing import TestClient

TOKEN = "a-token-of-32-characters-or-more"
HOST = {"Host": "localhost:9180"}
HOSTILE = "/<script>alert(1)</script>?card=4111&x=\u2028"


class Dashboard:
    """One of a server of a test's making.

    :param token: whoever has it may act.
    """

    def __init__(self, token: str = "", *, shows_queries: bool = False) -> None:
        self.board = Scoreboard(1)
        self.history = History(now=100.5)
        self.journal = Journal()
        self.ordered: list[dict[str, Any]] = []
        self.asked = self.states = 0
        self.errors: list[BaseException] = []
        self.application = DashboardApplication(
            Shown(self.state, self.history, self.journal, self.requests),
            Admission(("localhost",), token.encode(), b"secret"),
            {"/scale": {"POST": self.order}},
            shows_queries=shows_queries,
            own_error=self.errors.append,
        )
        self.client = TestClient(self.application, raise_exceptions=False)

    def state(self) -> Mapping[str, Any]:
        self.states += 1
        return {"name": "site", "processes": []}

    def requests(self, stacks: bool) -> Mapping[str, Any]:
        self.asked += 1
        stack = ["File x"] if stacks else None
        one = {"id": "1", "target": HOSTILE, "method": "GET", "stack": stack}
        return {"processes": [{"pid": 1, "requests": [one]}], "missing": []}

    def order(self, asked: Asked) -> Mapping[str, Any]:
        if asked.body.get("processes") == 0:
            raise Refusal(409, "not now")
        self.ordered.append(dict(asked.body))
        return {"accepted": True}

    def get(self, path: str, **fields: str) -> Any:
        return self.client.get(path, headers={**HOST, **fields})

    def post(self, path: str, data: bytes, **fields: str) -> Any:
        return self.client.post(path, data=data, headers={**HOST, **fields})

    def pass_(self) -> None:
        """A second, with a row of the history."""
        self.history.write(self.board.read(), 102.5 + len(self.history.rows()), 1e9)
        self.application.publish()


def fail(dashboard: Dashboard, error: Exception) -> None:
    """The application has raised it."""
    request = RequestInfo("7", "GET", HOSTILE, "HTTP/1.1", "c", ())
    observer = JournalObserver(dashboard.journal.send, 0)
    observer.app_error(request, "the application raised", error)


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    dashboard = Dashboard()
    yield dashboard
    assert dashboard.errors == []
    dashboard.journal.close()


@pytest.fixture
def guarded() -> Iterator[Dashboard]:
    """One with a token."""
    dashboard = Dashboard(TOKEN)
    yield dashboard
    assert dashboard.errors == []
    dashboard.journal.close()


# --- What is served


def test_the_page_and_its_files_say_what_they_are_and_are_asked_for_again(
    dashboard: Dashboard,
) -> None:
    form = dashboard.get("/sign-in")
    assert form.status == 200
    assert form.headers["Content-Type"] == "text/html; charset=utf-8"
    assert form.headers["Cache-Control"] == "no-cache"
    again = dashboard.get("/sign-in", **{"If-None-Match": form.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    for path in ("/sign-in.html", "/../dashboard.py", "/page/", "/api", "/%2e%2e/x", "//"):
        assert dashboard.get(path).status == 404


def test_nothing_is_loaded_from_elsewhere_nor_shown_in_a_frame(dashboard: Dashboard) -> None:
    for path in ("/sign-in", "/api/state", "/nothing", "/api/history", "/api/scale"):
        fields = dashboard.get(path).headers
        assert fields["Content-Security-Policy"].startswith("default-src 'self'; ")
        assert fields["X-Frame-Options"] == "DENY"
        assert fields["X-Content-Type-Options"] == "nosniff"
        assert fields["Referrer-Policy"] == "no-referrer"
        assert fields["Cross-Origin-Resource-Policy"] == "same-origin"


def test_no_file_of_the_page_has_a_script_or_a_style_in_it(dashboard: Dashboard) -> None:
    """What the policy would refuse: the browser says nothing of it to who looks at the page."""
    for path, file in dashboard.application._files.items():
        if file.type.startswith("text/html"):
            text = file.body.decode()
            assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text), path
            assert not re.search(r"(?:src|href)=.(?:https?:)?//", text), path


def test_the_state_has_the_newest_row_and_the_last_errors(dashboard: Dashboard) -> None:
    assert dashboard.get("/api/state").json()["now_row"] is None
    fail(dashboard, ValueError("4111"))
    dashboard.journal.collect()
    dashboard.pass_()
    answer = dashboard.get("/api/state")
    state = answer.json()
    assert state["name"] == "site"
    assert len(state["now_row"]) == len(COLUMNS)
    assert state["actions"] is False
    [error] = state["errors"]
    assert error["text"].endswith("ValueError: GET /<script>alert(1)</script>?...")
    assert b"<" not in answer.body  # whatever takes it for something else finds no mark in it
    assert b"4111" not in answer.body


def test_queries_are_shown_to_who_wants_them() -> None:
    shown = Dashboard(shows_queries=True)
    fail(shown, ValueError("no card"))
    shown.journal.collect()
    [error] = shown.get("/api/state").json()["errors"]
    assert "ValueError: no card: GET /<script>alert(1)</script>?card=4111" in error["text"]
    [process] = shown.get("/api/requests").json()["processes"]
    assert process["requests"][0]["target"] == HOSTILE
    shown.journal.close()


def test_the_history_is_the_hour(dashboard: Dashboard) -> None:
    dashboard.pass_()
    dashboard.pass_()
    found = dashboard.get("/api/history").json()
    assert found["columns"] == list(COLUMNS)
    assert found["step"] == 1
    assert len(found["rows"]) == 2


def test_requests_in_flight_are_masked_and_asked_for_once_by_many(dashboard: Dashboard) -> None:
    for _ in range(5):
        found = dashboard.get("/api/requests?stacks=1").json()
    assert found["processes"][0]["requests"][0] == {
        "id": "1",
        "method": "GET",
        "target": "/<script>alert(1)</script>?...",
        "stack": ["File x"],
    }
    assert dashboard.asked == 1
    assert dashboard.get("/api/requests").json()["processes"][0]["requests"][0]["stack"] is None


def test_what_many_ask_for_is_made_once_until_there_is_something_new(dashboard: Dashboard) -> None:
    for _ in range(20):
        dashboard.get("/api/state")
    before = dashboard.states
    dashboard.pass_()
    dashboard.get("/api/state")
    assert before < 20
    assert dashboard.states == before + 1


def test_heads_and_other_methods(dashboard: Dashboard) -> None:
    head = dashboard.client.head("/api/state", headers=HOST)
    assert (head.status, head.body) == (200, b"")
    assert dashboard.client.head("/api/events", headers=HOST).status == 200
    assert len(dashboard.application._places) == 0
    refused = dashboard.post("/api/state", b"")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")
    assert list(refused.json()) == ["error"]


def test_an_error_of_its_own_tells_nothing_of_the_request() -> None:
    broken = Dashboard()
    broken.application._state._make = lambda: b""[0]  # type: ignore[assignment, return-value]
    answer = broken.get("/api/state?token=secret")
    assert answer.status == 500
    assert answer.json() == {"error": "an error inside the server: its log has it"}
    assert "secret" not in "".join(map(str, broken.errors))
    assert len(broken.errors) == 1
    broken.journal.close()


@pytest.mark.parametrize("path", ["/", "/api/state", "/api/events", "/api/scale", "/nothing"])
def test_a_host_that_is_not_ours_gets_nothing(dashboard: Dashboard, path: str) -> None:
    answer = dashboard.get(path, Host="evil.test")
    assert answer.status == 421
    assert "localhost" in answer.text


# --- Signing in


def test_the_token_leaves_the_address_and_a_cookie_stands_for_it(guarded: Dashboard) -> None:
    assert guarded.get("/api/state").status == 401
    page = guarded.get("/")
    assert page.status == 401
    assert b'type="password"' in page.body
    answer = guarded.get(f"/?token={TOKEN}")
    assert (answer.status, answer.headers["Location"], answer.body) == (303, "./", b"")
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    assert guarded.get("/api/state", Cookie=cookie).json()["actions"] is True
    assert guarded.get("/api/state", Cookie=cookie, Host="localhost:9181").status == 401


@pytest.mark.parametrize("path", ["/", "/api/state", "/api/events", "/api/scale"])
def test_who_has_not_signed_in_is_told_how(guarded: Dashboard, path: str) -> None:
    """A 401 has to say so (RFC 9110 §15.5.2)."""
    answer = guarded.get(path)
    assert (answer.status, answer.headers["WWW-Authenticate"][:7]) == (401, "Bearer ")


def test_by_the_form(guarded: Dashboard) -> None:
    answer = guarded.post("/sign-in", f"token={TOKEN}%0d%0a".encode())
    assert answer.status == 303
    assert "HttpOnly; SameSite=Strict" in answer.headers["Set-Cookie"]
    for wrong in (b"token=no", b"", b"token=" + b"x" * 5000, b"\xff=\xff"):
        assert guarded.post("/sign-in", wrong).status == 403


def test_a_link_that_was_clicked_elsewhere_leads_there_too(guarded: Dashboard) -> None:
    """A strict cookie is not sent where another site's link is sent on to."""
    answer = guarded.get(f"/?token={TOKEN}", **{"Sec-Fetch-Site": "cross-site"})
    assert (answer.status, answer.headers["Refresh"]) == (200, "0; url=./")
    assert "Set-Cookie" in answer.headers


def test_what_is_no_token_is_not_repeated(guarded: Dashboard) -> None:
    answer = guarded.get("/?token=guess-that-is-wrong")
    assert answer.status == 403
    assert "guess" not in answer.text + str(answer.headers)
    assert "Set-Cookie" not in answer.headers


def test_where_there_is_no_token_one_leads_to_the_page(dashboard: Dashboard) -> None:
    assert dashboard.get("/?token=x").headers["Location"] == "./"


# --- Acting


def test_who_has_the_token_acts(guarded: Dashboard) -> None:
    cookie = guarded.get(f"/?token={TOKEN}").headers["Set-Cookie"].partition(";")[0]
    fields = {
        "Cookie": cookie,
        "Origin": "http://localhost:9180",
        "Content-Type": "application/json",
    }
    answer = guarded.post("/api/scale", b'{"processes": 3}', **fields)
    assert (answer.status, answer.json()) == (200, {"accepted": True})
    refused = guarded.post("/api/scale", b'{"processes": 0}', **fields)
    assert (refused.status, refused.json()) == (409, {"error": "not now"})
    assert guarded.post("/api/scale", b"[", **fields).status == 400
    evil = guarded.post("/api/scale", b"{}", **{**fields, "Origin": "http://evil.test"})
    assert evil.status == 403
    by_get = guarded.get("/api/scale", **fields)
    assert (by_get.status, by_get.headers["Allow"]) == (405, "POST")
    assert guarded.ordered == [{"processes": 3}]


def test_without_a_token_nobody_does(dashboard: Dashboard) -> None:
    fields = {"Origin": "http://localhost:9180", "Content-Type": "application/json"}
    answer = dashboard.post("/api/scale", b"{}", **fields)
    assert answer.status == 403
    assert "--dashboard-token-file" in answer.json()["error"]
    assert dashboard.ordered == []


# --- Watching


def test_who_watches_is_sent_what_all_others_are_told(dashboard: Dashboard) -> None:
    dashboard.pass_()
    told: list[bytes] = []

    async def watch() -> None:
        viewer = dashboard.application._places.take()
        assert viewer is not None
        events = aiter(viewer)
        told.append(await anext(events))
        dashboard.pass_()
        told.append(await anext(events))
        dashboard.application.close()
        told.extend([each async for each in events])
        viewer.close()

    asyncio.run(asyncio.wait_for(watch(), TIMEOUT))
    assert re.sub(rb"\{.*\}", b"...", told[0]) == b"retry: 500\n\nevent: state\ndata: ...\n\n"
    before, after = (json.loads(each.rpartition(b"data: ")[2]) for each in told[:2])
    assert after["now_row"][0] == before["now_row"][0] + 1
    assert after == dashboard.get("/api/state").json()
    assert told[2:] == [b"retry: 500\n\n"]


def test_a_stream_that_nobody_finds_a_place_for_is_told_to_ask_instead(
    dashboard: Dashboard,
) -> None:
    for _ in range(VIEWERS):
        assert dashboard.application._places.take() is not None
    answer = dashboard.get("/api/events")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert "/api/state" in answer.json()["error"]
    assert dashboard.get("/api/state").json()["viewers"] == VIEWERS


def test_its_type_and_that_nobody_gathers_it(dashboard: Dashboard) -> None:
    dashboard.application.close()
    answer = dashboard.get("/api/events")
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Content-Encoding"] == "identity"
    assert answer.headers["Cache-Control"] == "no-store, no-transform"
    assert answer.body == b"retry: 500\n\n"  # whoever comes too late comes again soon
    assert len(dashboard.application._places) == 0  # it has ended, and left
