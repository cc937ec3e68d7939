"""A view that asks ten others at once: a coroutine in synchronous code, one client for all.

Run it:

    pip install flask httpx
    wsgi-async --threads 2 examples/live/fetch_ten.py

Try it:

    curl http://127.0.0.1:8000/

The answer takes as long as the slowest of the ten, a third of a second, and not as long as all of
them together. The client is made once for each process and keeps its connections between requests,
as a client that is made in an `async` view cannot: Flask gives each view a loop of its own.

What is asked is this server itself (`UPSTREAM` names another): `/weather/...` waits before it
answers, and holds no thread meanwhile, so two threads are enough for eleven requests.
"""

import asyncio
import os
import time

import httpx
from flask import Flask, abort

from wsgi_async import on_start, run
from wsgi_async.flask import LiveResponse

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:8000")
CITIES = [
    "Accra",
    "Bergen",
    "Cusco",
    "Dakar",
    "Edirne",
    "Fukuoka",
    "Graz",
    "Hobart",
    "Izmir",
    "Jos",
]

app = Flask(__name__)


@on_start
async def client():
    """One for each process; everywhere else `client()` is what is yielded here."""
    async with httpx.AsyncClient(base_url=UPSTREAM, timeout=5) as found:
        yield found


async def weather(city):
    try:
        answer = await client().get(f"/weather/{city}")
        answer.raise_for_status()
    except httpx.HTTPError as error:
        # One that fails does not spoil the other nine.
        return {"city": city, "error": str(error) or type(error).__name__}
    return {"city": city, "weather": answer.text}


async def weather_of_all():
    return await asyncio.gather(*(weather(city) for city in CITIES))


@app.get("/")
def overview():
    began = time.monotonic()
    # The thread waits, as it would for a database. Where the request is given up, or 10 s are
    # over, what is still asked is cancelled.
    cities = run(weather_of_all(), timeout=10)
    return {"seconds": round(time.monotonic() - began, 2), "cities": cities}


@app.get("/weather/<city>")
def forecast(city):
    if city not in CITIES:
        abort(404)

    async def body():
        await asyncio.sleep(0.3)
        yield f"{len(city) * 3} degrees, and a light breeze".encode()

    return LiveResponse(body(), mimetype="text/plain")
