"""A server beside an ordinary, blocking program: it runs in a thread while the block does.

Run it:

    python examples/embed_in_thread.py
"""

from urllib.request import urlopen

from wsgi_async import Server


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [b"Hello from ", environ["PATH_INFO"].encode("latin-1"), b"\n"]


def main():
    # Port 0: any free one. Every option of the command line is a keyword here.
    with Server(application, port=0, threads=4).run_in_thread() as server:
        print(f"Serving on {server.addresses[0]}")
        with urlopen(f"http://127.0.0.1:{server.port}/here") as response:
            print(response.read().decode(), end="")
    # What was in flight has been answered, and the threads are gone.
    print("Stopped")


if __name__ == "__main__":
    main()
