"""An application that starts processes, as applications do, in a view or at import.

What a child does is said on standard error, in one write a line.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import time

context = multiprocessing.get_context("fork")
processes = []


def say(text):
    os.write(2, text.encode() + b"\n")


def linger():
    say(f"child {os.getpid()}")
    time.sleep(60)


def start(**options):
    process = context.Process(target=linger, **options)
    process.start()
    processes.append(process)
    return str(process.pid)


def double(number):
    return 2 * number


def pool(query):
    with context.Pool(2) as pool:
        return str(pool.map(double, range(5)))


def terminated(query):
    """As many as the query says, each told to end in the moment of its start."""
    codes = set()
    for _ in range(int(query)):
        process = context.Process(target=linger)
        process.start()
        process.terminate()
        process.join(8)
        codes.add(process.exitcode)
        process.kill()
    return str(sorted(codes, key=str))


def status_of(child):
    """The exit code of a forked process that comes back from the application."""
    pid = os.fork()
    if not pid:
        child()
        return None
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return str(os.waitstatus_to_exitcode(status))
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "it stays"


def fail():
    raise LookupError("in the child")


def links():
    """What each descriptor is."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def descriptors(query):
    """What a child has open that is neither a file, nor standard, nor /dev/null.

    :param query: ``loop`` for what only libuv has.
    """
    kinds = ("socket:", "anon_inode:[event")
    if query == "loop":
        kinds = ("pipe:", "anon_inode:[io_uring]")
        # And what it makes anew in a child is the child's.
        kinds = tuple(link for link in links().values() if link.startswith(kinds))
    standard = {os.readlink(f"/proc/self/fd/{number}") for number in range(3)}
    reader, writer = os.pipe()
    if not os.fork():
        os.close(reader)
        kept = [
            f"{number} {link}"
            for number, link in links().items()
            if number not in (0, 1, 2, writer) and link not in standard and link.startswith(kinds)
        ]
        os.write(writer, "\n".join(["kept:", *kept]).encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as file:
        answer = file.read()
    os.wait()
    return answer


def signals(query):
    """What signals do in a child."""
    names = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCHLD")
    reader, writer = os.pipe()
    if not os.fork():
        handlers = [signal.getsignal(getattr(signal, name)) for name in names]
        found = [str(getattr(handler, "name", handler)) for handler in handlers]
        found.append(str(signal.set_wakeup_fd(-1)))
        found.append(str(len(signal.pthread_sigmask(signal.SIG_BLOCK, []))))
        os.write(writer, " | ".join(found).encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as file:
        answer = file.read()
    os.wait()
    return answer


def stream(environ, start_response):
    """The child is forked between two chunks, and goes on with the iteration."""
    start_response("200 OK", [])
    yield b"one,"
    if status := status_of(lambda: None):
        yield status.encode()
    else:
        yield b"never,"
        say("the child was asked for more")
        yield b"never"


def written(environ, start_response):
    write = start_response("200 OK", [])

    def child():
        try:
            write(b"never")
        except Exception as error:
            say(f"write raised {type(error).__name__}")
            raise

    return [status_of(child).encode()]


def body(environ, start_response):
    """The child reads what is still to come."""

    def child():
        try:
            environ["wsgi.input"].read()
        except Exception as error:
            say(f"read raised {type(error).__name__}")
            raise

    status = status_of(child)
    start_response("200 OK", [])
    return [f"{status} {len(environ['wsgi.input'].read())}".encode()]


class Closing:
    """The child is forked in close(), and comes back from there."""

    def __iter__(self):
        yield b"done"

    def close(self):
        say(f"close: {status_of(lambda: None)}")


DEEDS = {
    "/": lambda query: str(os.getpid()),
    "/start": lambda query: start(),
    "/daemon": lambda query: start(daemon=True),
    "/pool": pool,
    "/terminated": terminated,
    "/descriptors": descriptors,
    "/signals": signals,
    "/return": lambda query: status_of(lambda: None),
    "/exit": lambda query: status_of(lambda: sys.exit(int(query))),
    "/exit-text": lambda query: status_of(lambda: sys.exit("the reason")),
    "/raise": lambda query: status_of(fail),
}


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path in ("/stream", "/written", "/body"):
        return globals()[path[1:]](environ, start_response)
    if path == "/close":
        start_response("200 OK", [])
        return Closing()
    text = DEEDS[path](environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [(text or "never").encode()]
