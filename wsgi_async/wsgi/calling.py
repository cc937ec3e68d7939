"""PEP 3333: calls the application, keeps its rules, goes through what it has returned.

All of it runs on a pool thread. It knows neither sockets nor framing; what it needs of the
outside is the :class:`Writer` and the :class:`Reporter` it is given.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import FunctionType, MethodType
from typing import Any

from wsgi_async.errors import ApplicationError
from wsgi_async.http.statuses import BODILESS

from .async_bodies import is_async_body, why_not_async
from .awaited import AwaitedResponse
from .checks import brief, check_chunk, check_head, remembered_head, why_dropped
from .client import runs_applications
from .early_hints import SIZE_LIMIT, EarlyFields, check_hints, why_not_sent, why_too_much
from .file_wrapper import FileWrapper
from .outside import ForkedReporter, Nowhere, Reporter, Step, Writer
from .types import Application, Environ, ExcInfo, Fields, StartResponse

__all__ = ["Step", "WSGIResponse", "Writer", "direct"]

_DONE = Step.DONE
_PARKED = Step.PARKED
_LIVE = Step.LIVE


_WHOLE = (str, bytes, bytearray)
"""What can be iterated, but is not meant to be. (A union would be made anew at each look.)"""

_PLAIN: set[type] = set()
"""Types of which it is known that nothing but their chunks is of interest: a look at what an
application returns, instead of several. A race loses nothing but an entry."""

_PLAIN_LIMIT = 256
"""So many are remembered: an application may make its types anew each time."""


_NOWHERE = Nowhere()


def direct(application: Application) -> Application:
    """The same application, of which nothing that it returns can be lost.

    An exception that is raised in a thread from outside strikes after a call of C code, which that
    of an object, a class or a partial is, and what the call has returned is gone, never closed.
    After the call of a Python function, or of a method that is one, nothing strikes.
    """
    if isinstance(application, FunctionType):
        return application
    method = getattr(type(application), "__call__", None)  # noqa: B004
    if isinstance(method, FunctionType):
        return MethodType(method, application)
    if isinstance(application, MethodType) and isinstance(application.__func__, FunctionType):
        return application
    return _keeping(application)


def _keeping(application: Application) -> Application:
    def call(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        returned: list[Any] = []
        try:
            # All in C: what is returned is in the list before anything can strike.
            returned.extend(map(application, (environ,), (start_response,)))
            if returned:
                return returned[0]  # type: ignore[no-any-return]
        except BaseException:
            if returned and hasattr(returned[0], "close"):
                returned[0].close()
            raise
        raise RuntimeError("the application raised StopIteration")

    return call


class WSGIResponse(AwaitedResponse):
    """One call of the application and the response that comes of it.

    :param application: the WSGI application.
    :param writer: where the response goes.
    :param reporter: told what goes wrong.
    :param head_only: the request is a HEAD: its response has no body.

    ``begin`` is called once, then ``advance`` until one of them returns :attr:`Step.DONE`. Where it
    returns :attr:`Step.LIVE` somebody else awaits the chunks, and hands them over, see
    :class:`.AwaitedResponse`; then ``abandon`` is called. Whatever
    happens, the iterable's ``close`` is called exactly once. It is the environ's
    ``wsgi.early_hints`` itself: a method would be bound anew for each request, most of which never
    ask for it. For the same reason it is ``wsgi_async.client``.
    """

    __slots__ = ("_application",)

    def __init__(
        self, application: Application, writer: Writer, reporter: Reporter, head_only: bool
    ) -> None:
        self._application = application
        self._writer = writer
        self._reporter = reporter
        self._head_only = head_only
        self._head = None
        self._head_sent = False
        self._remaining = None
        self._pipe = _NOWHERE
        self._iterable = None
        self._iterator = None

    # --- the two sides' entry points ---------------------------------------------------------

    def begin(self, environ: Environ) -> Step:
        """Call the application, and go through its iterable until the end or a full writer.

        :param environ: the application owns it from here on.
        """
        try:
            iterable = self._iterable = self._application(environ, self.start_response)
            del environ
            if type(iterable) is list or type(iterable) is tuple:
                if not self._head_sent and self._respond(iterable):
                    return _DONE  # neither has a close()
                self._iterator = self._iter(iterable)
            else:
                try:
                    is_plain = type(iterable) in _PLAIN
                except Exception:  # its metaclass has a __hash__ of its own, or none
                    is_plain = False
                if is_plain:
                    self._iterator = islice(iterable, None)
                elif (step := self._examine(iterable)) is not None:
                    return step
        except BaseException as error:  # SystemExit must not end a pool thread
            self._fail(error)
            return self._close()
        return self.advance()

    def advance(self) -> Step:
        """Go on with the iterable, until the end or a full writer."""
        try:
            if self._iterate() is _PARKED:
                return _PARKED
        except BaseException as error:
            self._fail(error)
        return self._close()

    def abandon(self) -> None:
        """Close the iterable without asking it for more: nobody is there to take it."""
        self._close()

    def disown(self, writer: Writer) -> None:
        """*In a process that the application has forked, in this response's thread:* where it comes
        back from the application with an error, it ends.

        :param writer: takes what it comes back with.
        """
        self._writer = writer
        self._reporter = ForkedReporter(self._reporter)
        self._pipe = _NOWHERE

    def start_response(
        self, status: str, headers: Fields, exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """PEP 3333, "The start_response() Callable".

        :raises ApplicationError: called twice without `exc_info`, or wrong types or syntax.
        """
        if exc_info:
            try:
                if self._head_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # PEP 3333: avoid a circular reference
        elif self._head is not None:
            raise ApplicationError(
                "start_response was called a second time without exc_info; "
                "pass sys.exc_info() to replace a response that has not been sent"
            )
        try:
            # A list and nothing else: a tuple would find what a list has left there.
            head = remembered_head((status, *headers)) if type(headers) is list else None
        except TypeError:  # something in it is not hashable, so not a str either
            head = None
        if head is None:
            head, dropped = check_head(status, headers)
            for name in dropped:
                self._reporter.app_warning(name.lower(), why_dropped(name))
        self._head = head
        return self._write

    def __call__(self, fields: EarlyFields) -> None:
        """``environ["wsgi.early_hints"]``: send a 103 with these fields ahead of the response
        (RFC 8297). *Any thread.*

        Any number of times, until the response's own head has been handed over, which the first
        chunk of its body does; after that nothing is sent. Nor is it to a client of HTTP/1.0, to
        one that has gone, or where 16 KiB wait for a client already.

        :raises ApplicationError: wrong types or syntax.
        """
        if self._head_sent:
            return
        head, size, dropped = check_hints(fields)
        for name in dropped:
            self._reporter.app_warning(f"early hint {name.lower()}", why_not_sent(name))
        if size > SIZE_LIMIT or (head is not None and not self._writer.send_interim(head, size)):
            self._reporter.app_warning("early hints", why_too_much(size))

    # --- steps -------------------------------------------------------------------------------

    def _examine(self, iterable: Iterable[bytes]) -> Step | None:
        """Look at what is no list, and of a type that is not known. None: it is to be iterated."""
        if type(iterable) is FileWrapper:
            if self._send_file(iterable):
                return self._close()
        elif is_async_body(iterable):
            if self._has_no_body():
                return self._close()
            chunks = self._writer.step_through(iterable)
            if chunks is None:
                return _LIVE
            self._iterator = self._iter(chunks)
            return None
        self._iterator = self._iter(iterable)
        kind = type(iterable)
        if kind is not FileWrapper and not hasattr(kind, "__aiter__"):  # which may be either
            if len(_PLAIN) >= _PLAIN_LIMIT:
                _PLAIN.clear()
            with contextlib.suppress(Exception):  # see begin()
                _PLAIN.add(kind)
        return None

    def _has_no_body(self) -> bool:
        """Whether the response is to have no body, as far as is known before its first chunk; then
        it has been answered, and an asynchronous one is never asked."""
        head = self._head
        if self._head_sent or head is None:
            return self._head_only and self._head_sent
        if self._head_only or head.status in BODILESS:
            self._start()
            return True
        return False

    def _iter(self, iterable: Iterable[bytes]) -> Iterator[bytes]:
        """Ask for the iterator, and refuse what can be iterated but is not chunks."""
        try:
            # iter(), but it asks for the application's iterator once, and that one never again
            # after its end: neither has to bear it.
            iterator = islice(iterable, None)
        except TypeError:
            if hasattr(type(iterable), "__iter__"):
                raise  # an error of its own
            raise ApplicationError(
                why_not_async(iterable)
                or f"the application returned {brief(iterable)}; "
                "it must return an iterable of bytes, such as [b'...']"
            ) from None
        if issubclass(type(iterable), _WHOLE):  # isinstance() asks for __class__ three times
            if isinstance(iterable, str):
                raise ApplicationError(
                    "the application returned str; encode it and return a list: "
                    "[text.encode('utf-8')]; or start with --encode-str utf-8"
                )
            raise ApplicationError(
                f"the application returned {type(iterable).__name__}; "
                "return a list with it, as [b'...'], else it is sent byte by byte"
            )
        return iterator

    def _iterate(self) -> Step:
        iterator: Iterator[bytes] | None = self._iterator
        assert iterator is not None
        if self._head_only and self._head_sent:
            return _DONE  # write() has begun, and ended, a response without a body
        for chunk in iterator:
            if type(chunk) is not bytes:
                check_chunk(chunk)
            if not chunk:
                continue
            if not self._head_sent:
                if self._is_all(chunk):
                    continue
                if not self._start():
                    return _DONE  # HEAD, 204, 304: the first chunk told that the head is final
            write = self._pipe.write  # the iterable may have called write() meanwhile
            if self._remaining is None:
                if not write(chunk):
                    return _PARKED
                break
            if not self._write_counted(chunk, write):
                return _PARKED
            if self._remaining < 0:
                return _DONE
        # Where no length was promised there is nothing to count. Nothing is left here but after the
        # break, so `write` is the one it has used.
        for chunk in iterator:
            if type(chunk) is not bytes:
                check_chunk(chunk)
            if chunk and not write(chunk):
                return _PARKED
        if self._remaining != 0:  # else all that was promised has been handed over
            self._end()
        return _DONE

    def _send_file(self, wrapper: FileWrapper) -> bool:
        """Give the descriptor of a plain file to the writer. False: iterate it instead."""
        found = wrapper.regular_file()
        if found is None or self._head is None or self._head_sent:
            return False
        descriptor, offset, size = found
        head = self._head
        length = head.content_length
        if self._head_only or head.status in BODILESS:
            self._head_sent = True
            self._writer.respond(head, b"", length)
            return True
        if length is None:
            length = size
        elif length > size:
            return False  # let the iteration find out and report
        if not self._writer.send_file(head, descriptor, offset, length):
            return False
        self._head_sent = True
        return True

    # --- ends --------------------------------------------------------------------------------

    def _close(self) -> Step:
        iterable: Any = self._iterable
        try:
            # Not getattr(), after which the thread could be struck: it would not be closed at all.
            try:
                close = iterable.close
            except AttributeError:
                close = None
            self._iterable = self._iterator = None
            if close is not None:
                close()
        except BaseException as error:  # SystemExit too
            self._reporter.app_error("the iterable's close() raised", error)
        return _DONE


runs_applications(WSGIResponse.begin, WSGIResponse.advance, WSGIResponse.abandon)
