"""A WSGI status page inside an asyncio program, in the program's own event loop.

Run it:

    python examples/embed_in_loop.py

The application runs in a thread, so it may block; the loop goes on meanwhile. What belongs to the
loop it asks for by asyncio.run_coroutine_threadsafe().
"""

import asyncio
import time
from urllib.request import urlopen

from wsgi_async import Server


class Program:
    """Does something every 10 ms, and knows how often it did."""

    def __init__(self):
        self.rounds = 0

    async def run(self):
        while True:
            self.rounds += 1
            await asyncio.sleep(0.01)

    async def report(self):
        return f"{self.rounds} rounds so far\n"


def status_page(program, loop):
    def application(environ, start_response):
        time.sleep(0.2)  # a slow database, say
        report = asyncio.run_coroutine_threadsafe(program.report(), loop).result(timeout=5)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [report.encode()]

    return application


def ask(url):
    with urlopen(url) as response:
        return response.read().decode()


async def main():
    program = Program()
    running = asyncio.create_task(program.run())
    application = status_page(program, asyncio.get_running_loop())
    async with Server(application, port=0) as server:
        url = f"http://127.0.0.1:{server.port}/"
        print(f"Serving on {url}")
        for _ in range(2):
            print(await asyncio.to_thread(ask, url), end="")
    running.cancel()
    print("Stopped")


if __name__ == "__main__":
    asyncio.run(main())
