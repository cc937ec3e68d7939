"""Headless Chromium on a page over TLS, with an upload and a stream of events."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import certificates
import pytest
from certificates import certificate_of_authority
from serving import Served, serving
from tools import require_program

PATIENCE = 50.0
"""Seconds for a browser to start, and to do it all."""

PAGE = """<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<title>A page over TLS</title>
<h1>A page over TLS</h1>
<p>Upload: <b id="upload">...</b></p>
<p>Events: <b id="events">...</b></p>
<script>
const show = (id, text) => { document.getElementById(id).textContent = text; return text; };
const hex = bytes => [...new Uint8Array(bytes)].map(b => b.toString(16).padStart(2, "0")).join("");

async function upload() {
  const data = new Uint8Array(3_000_000);
  for (let at = 0; at < data.length; at += 50_000)
    crypto.getRandomValues(data.subarray(at, at + 50_000));
  const form = new FormData();
  form.append("file", new Blob([data]), "random");
  const plain = await fetch("/upload", {method: "POST", body: data});
  const digest = hex(await crypto.subtle.digest("SHA-256", data));
  const inForm = await fetch("/size", {method: "POST", body: form});
  return show("upload", await plain.text() === digest && +await inForm.text() > data.length);
}

function events() {
  return new Promise((done, failed) => {
    const seen = [];
    const source = new EventSource("/events");
    source.onmessage = event => {
      seen.push(event.data);
      fetch("/seen?" + event.data);  // the server says the next one once it knows of this one
    };
    source.addEventListener("end", () => {
      source.close();
      done(show("events", seen.join(" ")));
    });
    source.onerror = () => failed("the stream has failed after " + seen.join(" "));
  });
}

Promise.all([upload(), events()])
  .then(([uploaded, seen]) => ({
    uploaded, seen, secure: isSecureContext, scheme: location.protocol,
    protocols: [...new Set(performance.getEntriesByType("resource").map(e => e.nextHopProtocol))],
  }))
  .catch(error => ({error: String(error)}))
  .then(result => fetch("/result", {method: "POST", body: JSON.stringify(result)}));
</script>
"""


class Site:
    """The page, and what it asks for."""

    def __init__(self) -> None:
        self.results: queue.Queue[dict[str, Any]] = queue.Queue()
        self.paths: list[str] = []
        self._seen: queue.Queue[str] = queue.Queue()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        self.paths.append(path)
        assert environ["wsgi.url_scheme"] == "https"
        body = environ["wsgi.input"].read()
        if path == "/events":
            start_response("200 OK", [("Content-Type", "text/event-stream")])
            return self._events()
        start_response("200 OK", [("Content-Type", "text/html")])
        if path == "/upload":
            return [hashlib.sha256(body).hexdigest().encode()]
        if path == "/size":
            return [b"%d" % len(body)]
        if path == "/seen":
            self._seen.put(environ["QUERY_STRING"])
        if path == "/result":
            self.results.put(json.loads(body))
        return [PAGE.encode() if path == "/" else b""]

    def _events(self) -> Iterator[bytes]:
        for number in range(5):
            yield b"data: %d\n\n" % number
            assert self._seen.get(timeout=PATIENCE) == str(number)
        yield b"event: end\ndata:\n\n"


@contextlib.contextmanager
def browsing(url: str, directory: Path, *more: str) -> Iterator[None]:
    """A browser on that page, with a profile of its own that trusts the tests' authority."""
    program = require_program("chromium")
    store = directory / ".pki" / "nssdb"
    store.mkdir(parents=True)
    certutil = [require_program("certutil"), "-d", f"sql:{store}"]
    ca = ("-A", "-t", "C,,", "-n", "tests", "-i", str(certificate_of_authority()))
    for args in (("-N", "--empty-password"), ca):
        subprocess.run([*certutil, *args], check=True, capture_output=True, timeout=PATIENCE)
    with (directory / "log").open("wb") as log:
        browser = subprocess.Popen(
            [
                *(program, "--headless=new", "--no-first-run", "--disable-gpu", "--no-sandbox"),
                *("--disable-dev-shm-usage", "--disable-background-networking"),
                *("--no-proxy-server", f"--user-data-dir={directory / 'profile'}"),
                *more,
                url,
            ],
            env={**os.environ, "HOME": str(directory)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(browser.pid, 9)
        browser.wait()


@pytest.fixture(params=["uvloop", "asyncio"])
def site(request: pytest.FixtureRequest) -> Iterator[tuple[Site, Served]]:
    site = Site()
    with serving(site, loop=request.param, tls=True) as served:
        yield site, served


def test_a_page_with_an_upload_and_a_stream(site: tuple[Site, Served], tmp_path: Path) -> None:
    application, served = site
    with browsing(served.url + "/", tmp_path):
        try:
            result = application.results.get(timeout=PATIENCE)
        except queue.Empty:
            pytest.fail((tmp_path / "log").read_text(errors="replace")[-3000:])
    assert result == {
        "uploaded": True,
        "seen": "0 1 2 3 4",
        "secure": True,
        "scheme": "https:",
        "protocols": ["http/1.1"],
    }
    assert served.recorder.of("app_error") == []


def test_a_browser_that_does_not_trust_it_asks_nothing(tmp_path: Path) -> None:
    """And the server's operator hears of it."""
    directory = tmp_path / "other"
    directory.mkdir()
    pair = certificates.Authority().issue(directory, *certificates.LOCAL)
    site = Site()
    options = pair.options
    with serving(site, **options) as served:
        url = f"https://localhost:{served.server.port}/"
        with browsing(url, tmp_path):
            client, why = served.recorder.wait_for("connection_dropped")[0]
        assert client.startswith("127.0.0.1:")
        assert "TLS handshake has failed" in why
        assert site.paths == []
