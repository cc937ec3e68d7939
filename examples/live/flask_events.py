"""An event stream in Flask: prices that tick and jobs with progress bars, in any number of tabs.

Run it:

    pip install flask
    wsgi-async --threads 2 examples/live/flask_events.py

Open http://127.0.0.1:8000/ in a browser, start some jobs, and reload the server meanwhile
(`kill -HUP`): the page goes on where it was. Or:

    curl -N http://127.0.0.1:8000/events
    curl -X POST http://127.0.0.1:8000/jobs

Whatever happens is written into a journal, a table in SQLite, and the number of its row is the id
of the event. A browser that comes back says the last id that it has seen (Last-Event-ID) and gets
the rows after it, from whichever process answers. So nothing is lost and nothing comes twice, also
where that process is a new one, after a reload. A job that is under way at a reload is waited for.
"""

import asyncio
import json
import math
import os
import re
import secrets
import sqlite3
import tempfile
import time
from pathlib import Path

from flask import Flask, request, send_file

from wsgi_async import on_start, spawn, sse
from wsgi_async.flask import LiveResponse

PAGE = Path(__file__).with_suffix(".html")
PLACE = os.environ.get("JOURNAL") or Path(tempfile.gettempdir(), "flask_events.sqlite")

app = Flask(__name__)


class Journal:
    """What has happened, in order. Its queries take microseconds, so they may run on the
    application loop; for a database in the network take its asynchronous driver."""

    KEPT = 5000
    SHOWN = 100
    """How many rows there are at most, and how many somebody sees who is new."""

    def __init__(self, path):
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA synchronous = off")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, kind, data, once UNIQUE)"
        )

    def add(self, kind, once=None, **data):
        """:param once: what several processes say alike; only the first of them is heard."""
        row = (kind, json.dumps(data), once)
        self._db.execute("INSERT OR IGNORE INTO events (kind, data, once) VALUES (?, ?, ?)", row)

    def after(self, number):
        query = "SELECT id, kind, data FROM events WHERE id > ? ORDER BY id"
        return self._db.execute(query, (number,)).fetchall()

    def beginning(self, last_seen):
        """After which row somebody is to begin who has seen that one, or says nothing of use."""
        (newest,) = self._db.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
        if re.fullmatch("[0-9]{1,18}", last_seen or "") and int(last_seen) <= newest:
            return int(last_seen)
        return newest - self.SHOWN

    def forget(self):
        query = "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?"
        self._db.execute(query, (self.KEPT,))

    def close(self):
        self._db.close()


@on_start
async def journal():
    """One for each process: opened after the fork, closed when all streams and jobs are over.
    Everywhere else `journal()` is what is yielded here."""
    found = Journal(PLACE)
    ticking = asyncio.create_task(tick(found))
    try:
        yield found
    finally:
        ticking.cancel()
        found.close()


def prices(second):
    waves = {"tea": (4, 31, 7), "coffee": (7, 43, 11), "cocoa": (9, 23, 5)}
    return {
        name: round(base * (1 + math.sin(second / slow) / 20 + math.sin(second / fast) / 40), 2)
        for name, (base, slow, fast) in waves.items()
    }


async def tick(journal):
    """Prices, once a second, and at first those of the last minute."""
    second = int(time.time()) - 60
    while True:
        while second < int(time.time()):
            second += 1
            journal.add("prices", once=f"prices {second}", **prices(second))
        journal.forget()
        await asyncio.sleep(second + 1 - time.time())


async def job(name, seconds):
    """Something that takes its time, most of which it waits: for a service, a query, a file."""
    for percent in range(0, 101, 4):
        journal().add("job", name=name, percent=percent)
        await asyncio.sleep(seconds / 25)


async def events(after):
    """What a stream tells. While it waits for something to tell it holds no thread."""
    while True:
        for number, kind, data in journal().after(after):
            yield sse.event(data, event=kind, id=number)
            after = number
        await asyncio.sleep(0.2)


@app.get("/events")
def stream():
    # What the body needs of the request is taken here: it is gone when the body runs.
    last_seen = sse.last_event_id(request.environ) or request.args.get("after")
    return LiveResponse(sse.stream(events(journal().beginning(last_seen))))


@app.post("/jobs")
def start():
    name = secrets.token_hex(2)
    spawn(job(name, request.args.get("seconds", 10, int)))
    return {"name": name}, 202


@app.get("/")
def page():
    return send_file(PAGE)
