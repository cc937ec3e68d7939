"""Does an application keep to PEP 3333? A validator that names the request which broke it.

Not built on ``wsgiref.validate``, which is at once too strict and too weak for that:

- too strict: it refuses a response without Content-Type and a 304 with one, header names that
  begin with a digit or end in a hyphen, tabs in values, subclasses of ``str``, and
  ``wsgi.input.read()`` without a size, which is well defined where ``wsgi.input_terminated`` says
  so, as here. None of that is in PEP 3333.
- too weak: it names no request; it forgets a violation that the application catches; it lets pass
  hop-by-hop headers, a second ``start_response`` without exc_info, ``write()`` from within the
  iterable, a body that is not as long as its Content-Length, a wrong ``__len__``, characters
  outside latin-1, and an environ that middleware has spoilt with text that is none.
- in the way: its iterator hides ``wsgi.file_wrapper`` from the server, so that files are read
  instead of sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, NoReturn

from wsgi_async.errors import ApplicationError
from wsgi_async.http.response import ResponseHead
from wsgi_async.wsgi.checks import HOP_BY_HOP, brief, check_chunk, check_head
from wsgi_async.wsgi.file_wrapper import is_wrapped_file
from wsgi_async.wsgi.types import Application, Environ, StartResponse

__all__ = ["Lint", "Violation"]


_REQUIRED = (
    "REQUEST_METHOD",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "wsgi.version",
    "wsgi.url_scheme",
    "wsgi.input",
    "wsgi.errors",
    "wsgi.multithread",
    "wsgi.multiprocess",
    "wsgi.run_once",
)
_INPUT = ("read", "readline", "readlines", "__iter__")
_ERRORS = ("write", "writelines", "flush")
_STATUS = re.compile(r"[2-9][0-9][0-9] .*", re.DOTALL)


class Violation(ApplicationError):
    """A rule of PEP 3333 was broken. The message has the request, the culprit and the rule."""


class NoSuchMethod(Violation, AttributeError):
    """Something of ``wsgi.input`` or ``wsgi.errors`` that PEP 3333 does not promise.

    An AttributeError too: to look whether it is there is allowed, as ``hasattr`` does.
    """


class Lint:
    """Stands between a server, or middleware, and an application, and holds both to PEP 3333.

    :param application: what is checked; anything that takes requests as one.
    :param name: what the messages call it.

    A violation is raised as :class:`Violation` right where it happens, so the traceback shows the
    line. It is raised again when an application that has caught it goes on. A server answers 500
    and logs it, or cuts the response if its head is sent; what is noticed too late for that (an
    iterable that nobody closed) is written to ``wsgi.errors``. The message begins with method and
    path of the request, and its id where somebody has given it one (``wsgi_async.request_id`` in
    the environ, else the field X-Request-Id).

    Chunks go through one by one; a list, a tuple, and what ``wsgi.file_wrapper`` made go through as
    they are.

    *Any thread*, as the application; only one thread at a time runs one request.
    """

    def __init__(self, application: Application, name: str = "the application") -> None:
        self._application = application
        self._name = name

    def __call__(self, *args: Any, **named: Any) -> Iterable[bytes]:
        check = _Check(self._name, args)
        if named or len(args) != 2:
            check.refuse(
                "was called with other than two positional arguments, environ and start_response"
            )
        environ, start_response = args
        check.environ(environ)
        check.server_start_response = start_response
        environ["wsgi.input"] = _Input(environ["wsgi.input"], check)
        environ["wsgi.errors"] = _Errors(environ["wsgi.errors"], check)
        wrapper = environ.get("wsgi.file_wrapper")
        result = self._application(environ, check.start_response)
        if check.violation is not None:
            _close(result)
            raise check.violation
        return check.result(result, wrapper)


class _Check:
    """What is known of one request."""

    def __init__(self, name: str, args: tuple[Any, ...]) -> None:
        environ = args[0] if args and isinstance(args[0], dict) else {}
        self._request = _name_request(environ)
        self._name = name
        self._head_only = environ.get("REQUEST_METHOD") == "HEAD"
        self._terminated = bool(environ.get("wsgi.input_terminated"))
        self._head: ResponseHead | None = None
        self._size = 0
        self._chunks = 0
        self._iterates = False
        self._errors: Any = environ.get("wsgi.errors")
        self.server_start_response: StartResponse | None = None
        self.violation: Violation | None = None
        """The first one, until it has reached the caller."""

    # --- saying so ---------------------------------------------------------------------------

    def refuse(self, what: str) -> NoReturn:
        """Raise, and remember it in case somebody catches it.

        :param what: completes the sentence "<name> ...".
        """
        error = Violation(self.sentence(what))
        if self.violation is None:
            self.violation = error
        raise error from None

    def sentence(self, what: str) -> str:
        source = "" if "PEP 3333" in what else " (PEP 3333)"
        return f"{self._request}: {self._name} {what}{source}"

    def tell(self, what: str) -> None:
        """Write it to ``wsgi.errors``, where it is too late to raise."""
        self._errors.write(self.sentence(what) + "\n")
        self._errors.flush()

    # --- the caller's side -------------------------------------------------------------------

    def environ(self, environ: Any) -> None:
        """ "environ Variables"; what is wrong here is the fault of whoever calls."""
        if type(environ) is not dict:
            self.refuse(f"was called with an environ that is no dict but a {_kind(environ)}")
        for name in _REQUIRED:
            if name not in environ:
                self.refuse(f"was called without {name} in the environ")
        for name, value in environ.items():
            if type(name) is not str:
                self.refuse(
                    f"was called with the key {brief(name)} in the environ, which is no str"
                )
            if "." in name:
                continue
            if not isinstance(value, str):
                self.refuse(f"was called with {name} in the environ that is a {_kind(value)}")
            if not _is_native(value):
                self.refuse(
                    f"was called with {name} in the environ that has a character outside latin-1: "
                    f"{brief(value)}"
                )
        for name in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
            if name in environ:
                self.refuse(f"was called with {name} in the environ, not {name[5:]}")
        for name in ("SCRIPT_NAME", "PATH_INFO"):
            path = environ.get(name, "")
            if path and not path.startswith("/"):
                self.refuse(f"was called with {name} {brief(path)}, which begins with no slash")
        if environ.get("SCRIPT_NAME") == "/":
            self.refuse("was called with the SCRIPT_NAME '/'; the root's is empty")
        length = environ.get("CONTENT_LENGTH", "")
        if length and re.fullmatch("[0-9]+", length) is None:
            self.refuse(f"was called with the CONTENT_LENGTH {brief(length)}")
        if environ["wsgi.version"] != (1, 0):
            self.refuse(f"was called with the wsgi.version {brief(environ['wsgi.version'])}")
        if environ["wsgi.url_scheme"] not in ("http", "https"):
            self.refuse(f"was called with the wsgi.url_scheme {brief(environ['wsgi.url_scheme'])}")
        for name, methods in (("wsgi.input", _INPUT), ("wsgi.errors", _ERRORS)):
            for method in methods:
                if not hasattr(environ[name], method):
                    self.refuse(f"was called with a {name} that has no {method}")

    # --- the application's side --------------------------------------------------------------

    def start_response(self, *args: Any, **named: Any) -> Callable[[bytes], None]:
        """ "The start_response() Callable"."""
        if named or len(args) not in (2, 3):
            self.refuse(
                "must call start_response with two or three positional arguments: "
                "status, headers, exc_info"
            )
        status, headers = args[:2]
        exc_info = args[2] if len(args) == 3 else None
        if exc_info is not None and not _is_exc_info(exc_info):
            self.refuse(f"passed as exc_info {brief(exc_info)}, not what sys.exc_info() gives")
        if self._head is not None and exc_info is None:
            self.refuse("called start_response a second time without exc_info")
        if isinstance(headers, list) and type(headers) is not list:
            self.refuse(f"gave start_response a {_kind(headers)} of headers, not a plain list")
        try:
            head, _ = check_head(status, headers)
        except ApplicationError as error:
            self.refuse(f"gave start_response what it does not take: {error}")
        if _STATUS.fullmatch(status) is None:
            self.refuse(f"gave the status {brief(status)}; it takes a space and a reason as well")
        for name, value in headers:
            if name.lower() in HOP_BY_HOP:
                self.refuse(
                    f"gave start_response the hop-by-hop header {name}, which belongs to the "
                    "server; remove it"
                )
            if name.lower() == "status":
                self.refuse(f"set the header Status, to {brief(value)}: that is start_response's")
        assert self.server_start_response is not None
        try:
            write = self.server_start_response(*args)
        finally:
            del args, exc_info  # PEP 3333: avoid a circular reference
        self._head = head

        def checked_write(*args: Any) -> None:
            """ "The write() Callable"."""
            if len(args) != 1:
                self.refuse("must call write() with one argument, the bytes")
            if self._iterates:
                self.refuse("called write() from within its iterable")
            self._take(args[0])
            write(args[0])

        return checked_write

    def result(self, result: Any, wrapper: object) -> Iterable[bytes]:
        """What the application returned."""
        if is_wrapped_file(result, wrapper):
            if self._head is None:
                self._refuse_result(result, "returned a file without having called start_response")
            iterable: Iterable[bytes] = result
            return iterable
        if isinstance(result, str | bytes | bytearray):
            self._refuse_result(
                result, f"returned {_kind(result)}; return a list with bytes in it, as [b'...']"
            )
        if type(result) is list or type(result) is tuple:
            self._iterates = True
            for chunk in result:
                self._take(chunk)
            self._end()
            return result
        try:
            iterator = iter(result)
        except TypeError:
            if hasattr(type(result), "__iter__"):
                _close(result)
                raise  # an error of its own
            self._refuse_result(result, f"returned {brief(result)}, which is no iterable of bytes")
        except BaseException:
            _close(result)
            raise
        return _Body(result, iterator, self)

    def _refuse_result(self, result: object, what: str) -> NoReturn:
        _close(result)
        self.refuse(what)

    def begin_iterating(self) -> None:
        self._iterates = True

    def next(self, chunk: Any) -> None:
        """One more chunk of the iterable."""
        if self.violation is not None:
            raise self.violation
        self._chunks += 1
        self._take(chunk)

    def end(self, promised: int | None) -> None:
        """The iterable is exhausted.

        :param promised: its ``len()`` before the first chunk, None where it has none.
        """
        if self.violation is not None:
            raise self.violation
        if promised is not None and promised != self._chunks:
            self.refuse(f"returned an iterable of len() {promised} with {self._chunks} chunks")
        self._end()

    def _take(self, chunk: Any) -> None:
        try:
            check_chunk(chunk)
        except ApplicationError as error:
            self.refuse(f"gave a chunk that is not bytes: {error}")
        if self._head is None:
            self.refuse("did not call start_response before the first chunk of the body")
        self._size += len(chunk)
        length = self._head.content_length
        if length is not None and self._size > length:
            self.refuse(f"gave a body longer than its Content-Length {length}")

    def _end(self) -> None:
        if self._head is None:
            self.refuse("did not call start_response before the end of the body")
        length = self._head.content_length
        # A HEAD and a 304 have the length of what a GET would bring (RFC 9110 §8.6).
        if self._head_only or self._head.status == 304 or length is None:
            return
        if self._size < length:
            self.refuse(f"gave {self._size} bytes of body for a Content-Length of {length}")

    # --- the streams -------------------------------------------------------------------------

    def read_size(self, args: tuple[Any, ...]) -> None:
        """ "Input and Error Streams": the arguments of a method of ``wsgi.input``."""
        if len(args) > 1 or (args and type(args[0]) is not int and args[0] is not None):
            self.refuse(f"passed wsgi.input {brief(args)}; it takes one number of bytes")

    def read_all(self) -> None:
        if not self._terminated:
            self.refuse(
                "read wsgi.input without a size, and no wsgi.input_terminated says that it ends"
            )


class _Body:
    """An application's iterable, checked."""

    def __init__(self, result: Any, iterator: Iterator[Any], check: _Check) -> None:
        self._result = result
        self._iterator = iterator
        self._check = check
        self._promised = _length(result)
        self._is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._is_closed:
            self._check.refuse("is iterated after its close()")
        self._check.begin_iterating()
        try:
            chunk = next(self._iterator)
        except StopIteration:
            self._check.end(self._promised)
            raise
        self._check.next(chunk)
        checked: bytes = chunk
        return checked

    def close(self) -> None:
        if self._is_closed:
            self._check.tell("had the close() of its iterable called twice")
            return
        self._is_closed = True
        _close(self._result)

    def __del__(self) -> None:
        # Only where there is something that close() would have done.
        if not self._is_closed and hasattr(self._result, "close"):
            self._check.tell("had its iterable dropped by its caller without close()")


class _Stream:
    """As much of ``wsgi.input`` or ``wsgi.errors`` as PEP 3333 promises."""

    _called = ""
    _promised: tuple[str, ...] = ()

    def __init__(self, stream: Any, check: _Check) -> None:
        self._stream = stream
        self._check = check

    def __getattr__(self, name: str) -> Any:
        promised = ", ".join(self._promised)
        raise NoSuchMethod(
            self._check.sentence(f"asked {self._called} for {name}; it only has {promised}")
        )

    def close(self) -> None:
        self._check.refuse(f"closed {self._called}, which is the server's")


class _Input(_Stream):
    _called = "wsgi.input"
    _promised = _INPUT

    def read(self, *args: Any) -> bytes:
        self._check.read_size(args)
        if not args or args[0] is None or args[0] < 0:
            self._check.read_all()
        data: bytes = self._stream.read(*args)
        return data

    def readline(self, *args: Any) -> bytes:
        self._check.read_size(args)
        line: bytes = self._stream.readline(*args)
        return line

    def readlines(self, *args: Any) -> list[bytes]:
        self._check.read_size(args)
        lines: list[bytes] = self._stream.readlines(*args)
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)


class _Errors(_Stream):
    _called = "wsgi.errors"
    _promised = _ERRORS

    def write(self, text: Any) -> Any:
        if not isinstance(text, str):
            self._check.refuse(f"wrote {_kind(text)} to wsgi.errors, which takes str")
        return self._stream.write(text)

    def writelines(self, lines: Iterable[Any]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._stream.flush()


def _name_request(environ: Environ) -> str:
    method = environ.get("REQUEST_METHOD", "?")
    path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
    # Latin-1 that holds UTF-8, and whatever a client sends: control characters are shown as such.
    path = path.encode("latin-1", "replace").decode("utf-8", "replace")
    path = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in path)
    identity = environ.get("wsgi_async.request_id") or environ.get("HTTP_X_REQUEST_ID")
    shown = f" [{brief(identity)}]" if identity else ""
    return f"{method} {path or '/'}{shown}"


def _kind(value: object) -> str:
    return type(value).__name__


def _is_native(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def _is_exc_info(value: object) -> bool:
    if type(value) is not tuple or len(value) != 3:
        return False
    kind, error, frames = value
    return (
        isinstance(kind, type)
        and isinstance(error, BaseException)
        and (frames is None or isinstance(frames, TracebackType))
    )


def _length(result: Any) -> int | None:
    """PEP 3333, "Handling the Content-Length Header": a working ``__len__`` must be right."""
    if not hasattr(type(result), "__len__"):
        return None
    try:
        return len(result)
    except Exception:  # not a working one
        return None


def _close(result: Any) -> None:
    close = getattr(result, "close", None)
    if close is not None:
        close()
