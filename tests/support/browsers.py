"""Headless Chromium, told by a pair of pipes what to do: pages, scripts in them, keys, pictures."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools import require_program

__all__ = ["PATIENCE", "Browser", "Page", "browser"]

PATIENCE = 50.0
"""Seconds for a browser to start, and for whatever a page is to come to."""

_KEYS = {
    "Enter": (13, "\r"),
    "Tab": (9, ""),
    "ArrowLeft": (37, ""),
    "ArrowUp": (38, ""),
    "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
    "/": (191, "/"),
    "Escape": (27, ""),
    " ": (32, " "),
}
"""Their numbers, and the text that they make."""


class Browser:
    """A browser without a window, and what it says.

    :param directory: for its profile and its log.
    """

    def __init__(self, directory: Path) -> None:
        program = require_program("chromium")
        theirs_in, self._in = os.pipe()
        out, theirs_out = os.pipe()
        command = [
            *(program, "--headless=new", "--no-first-run", "--disable-gpu", "--no-sandbox"),
            *("--disable-dev-shm-usage", "--disable-background-networking", "--no-proxy-server"),
            *("--remote-debugging-pipe", f"--user-data-dir={directory / 'profile'}", "about:blank"),
        ]
        # It reads from 3 and writes to 4; the shell puts them there, and is replaced.
        swap = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self.log = directory / "log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", swap, "bash", *command],
                env={**os.environ, "HOME": str(directory)},
                pass_fds=(theirs_in, theirs_out),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        os.close(theirs_in)
        os.close(theirs_out)
        self._numbers = itertools.count(1)
        self._said: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._answers: dict[int, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        """What it said without being asked."""
        self._reader = threading.Thread(target=self._read, args=(out,), daemon=True)
        self._reader.start()

    def _read(self, out: int) -> None:
        with open(out, "rb") as stream:
            rest = b""
            while data := stream.read1(1 << 16):
                *messages, rest = (rest + data).split(b"\0")
                for message in messages:
                    self._said.put(json.loads(message))
        self._said.put(None)

    def ask(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """Have it do something, by the DevTools protocol, and wait for its answer."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._in, json.dumps(message).encode() + b"\0")
        while number not in self._answers:
            try:
                said = self._said.get(timeout=PATIENCE)
            except queue.Empty:
                said = None
            if said is None:
                log = self.log.read_text(errors="replace")[-3000:]
                raise AssertionError(f"no answer to {method}:\n{log}")
            if "id" in said:
                self._answers[said["id"]] = said
            else:
                self.events.append(said)
        answer = self._answers.pop(number)
        assert "error" not in answer, (method, answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def open(
        self,
        url: str,
        *,
        width: int = 1280,
        height: int = 900,
        window: bool = False,
        **media: str,
    ) -> Page:
        """A page, loaded.

        :param window: in a window of its own; else the other tabs of its window are hidden.
        :param media: features of CSS, as ``prefers_color_scheme="dark"``.
        """
        target = self.ask("Target.createTarget", url="about:blank", newWindow=window)["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, target)
        page.tell("Page.enable")
        page.tell("Runtime.enable")
        page.tell("Log.enable")
        page.resize(width, height)
        page.prefer(**media)
        page.tell("Page.navigate", url=url)
        page.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")
        return page

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait()
        os.close(self._in)
        self._reader.join(PATIENCE)


class Page:
    """One page in it."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target

    def tell(self, method: str, **params: Any) -> dict[str, Any]:
        """Something of the DevTools protocol, for this page."""
        return self._browser.ask(method, self._session, **params)

    def value(self, script: str) -> Any:
        """What an expression comes to in it; a promise is awaited."""
        answer = self.tell(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """Evaluate it until it is true, and return that."""
        deadline = time.monotonic() + PATIENCE
        while not (found := self.value(script)):
            assert time.monotonic() < deadline, f"{script} is not so in:\n{self.text}"
            # The page's own clock says when to look again.
            self.value("new Promise(done => setTimeout(done, 50))")
        return found

    @property
    def text(self) -> str:
        """What can be read in it."""
        found: str = self.value("document.body.innerText")
        return found

    @property
    def faults(self) -> list[str]:
        """What it complained of so far: exceptions, and what was not loaded or not allowed, but
        for answers to the page's own questions: whether those come is the page's to say."""
        said = [each for each in self._browser.events if each.get("sessionId") == self._session]
        return [
            json.dumps(each["params"])
            for each in said
            if each["method"] == "Runtime.exceptionThrown"
            or (
                each["method"] == "Log.entryAdded"
                and each["params"]["entry"]["level"] == "error"
                and "/api/" not in each["params"]["entry"].get("url", "")
            )
        ]

    def press(self, *keys: str) -> None:
        """Keys, one after another, wherever the focus is."""
        for key in keys:
            code, text = _KEYS[key]
            what = {"key": key, "code": key, "windowsVirtualKeyCode": code}
            self.tell("Input.dispatchKeyEvent", type="keyDown", **what, text=text)
            self.tell("Input.dispatchKeyEvent", type="keyUp", **what)

    def click(self, selector: str) -> None:
        """The mouse's first button, in the middle of that element."""
        where = self.value(
            f"(element => {{ element.scrollIntoView({{block: 'center'}});"
            " const {x, y, width, height} = element.getBoundingClientRect();"
            f" return [x + width / 2, y + height / 2]; }})(document.querySelector({selector!r}))"
        )
        for kind in ("mousePressed", "mouseReleased"):
            how = {"button": "left", "clickCount": 1}
            self.tell("Input.dispatchMouseEvent", type=kind, x=where[0], y=where[1], **how)

    def resize(self, width: int, height: int) -> None:
        """As if its window, or a phone, had this size."""
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def prefer(self, **media: str) -> None:
        """As if its user, or his system, preferred that; see :meth:`Browser.open`."""
        features = [{"name": key.replace("_", "-"), "value": media[key]} for key in media]
        self.tell("Emulation.setEmulatedMedia", features=features)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """A PNG of it.

        :param whole: not only what the window shows.
        """
        data = self.tell("Page.captureScreenshot", format="png", captureBeyondViewport=whole)[
            "data"
        ]
        path.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        self._browser.ask("Target.closeTarget", targetId=self._target)


@contextlib.contextmanager
def browser(directory: Path) -> Iterator[Browser]:
    """A browser with a profile of its own, which ends with the block."""
    found = Browser(directory)
    try:
        yield found
    finally:
        found.close()
