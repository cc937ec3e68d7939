"""One request answered in the calling thread, by the parts that make up the server.

The bytes of the request go through :class:`RequestReader`, the body through
:class:`BodySpool`, the environ is :func:`build_environ`'s,
:class:`WSGIResponse` calls the application, and the head is framed as for a
socket. Only the thread line is missing: after each chunk the iteration is suspended, as for a
client that has not read it yet, and resumed when the next one is asked for.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, NamedTuple

from wsgi_async.buffers.budgets import Budgets
from wsgi_async.buffers.spool import BodySpool
from wsgi_async.config.options import Config
from wsgi_async.connection.kinds import id_field_of
from wsgi_async.connection.own_fields import id_fields, server_timing
from wsgi_async.connection.proxy_fields import FieldsOf
from wsgi_async.connection.upload import largest_body, storage_error
from wsgi_async.errors import ApplicationError, ClientDisconnected, HTTPError
from wsgi_async.events import Observer, RequestInfo
from wsgi_async.http.framing import BodyFraming, FramedHead
from wsgi_async.http.limits import Limits
from wsgi_async.http.origin import Origin
from wsgi_async.http.reading import Signal
from wsgi_async.http.request import RequestHead
from wsgi_async.http.request_id import KEY, RequestIdField
from wsgi_async.http.response import ResponseHead, with_fields
from wsgi_async.http1.framing import HTTP1Framer
from wsgi_async.http1.reader import RequestReader
from wsgi_async.wsgi.calling import Step, WSGIResponse
from wsgi_async.wsgi.client_watch import Watch
from wsgi_async.wsgi.environ import build_environ, client_name, remote_address, server_variables
from wsgi_async.wsgi.error_stream import ErrorStream
from wsgi_async.wsgi.file_wrapper import FileWrapper
from wsgi_async.wsgi.types import Application

from .request import Request
from .response import Headers

if TYPE_CHECKING:
    from wsgi_async.realtime.bridge import Bridge

__all__ = ["InProcessExchange", "Setting"]

_FILE_BLOCK = 64 * 1024
_OPEN_FILES = 64

_ids = itertools.count(1)


class Setting(NamedTuple):
    """The server that a client pretends to talk to."""

    config: Config
    server: object
    """Its address, as of ``getsockname``."""
    peer: object
    """The client's, as of ``getpeername``."""
    framer: HTTP1Framer
    proxy_fields: FieldsOf
    observer: Observer
    raise_exceptions: bool
    warned: set[str]
    """Of what the application has been warned."""


class InProcessExchange:
    """One request and its response; the :class:`Writer` that the latter goes to.

    :param application: the WSGI application.
    :param request: what is asked.
    :param setting: of whom.
    :param extra: for the environ, in place of what is there.

    Made, it has run until the head and the first chunk are there. All of it runs on one thread; the
    application's code in a context of its own, as in the server.

    :raises Exception: what the application raised, if ``raise_exceptions`` is set.
    """

    def __init__(
        self,
        application: Application,
        request: Request,
        setting: Setting,
        extra: dict[str, object],
    ) -> None:
        self.is_complete = False
        self.errors: list[tuple[str, BaseException | None]] = []
        self.stderr: list[str] = []
        self.early_hints: list[Headers] = []
        self._setting = setting
        self._framer = setting.framer
        self._framer.set_date(formatdate(usegmt=True))
        self._info: RequestInfo | None = None
        self._context = Context()
        self._framed: FramedHead | None = None
        self._raised = 0
        self._chunks: deque[bytes] = deque()
        self._file: tuple[int, int, int] | None = None
        self._response: WSGIResponse | None = None
        self._bridge: Bridge | None = None
        self._body: BodySpool | None = None
        self._origin: Origin | None = None
        self._id = f"test-{next(_ids):x}"
        self._id_field: RequestIdField | None = None
        """The field with it, once a head that may have one has been read."""
        self._began = (0.0, 0.0)
        self._errors = ErrorStream(self)
        self._watch = Watch()
        try:
            head = self._receive(request)
        except HTTPError as error:
            self._refuse(error, request)
            return
        self._head = head
        self._begin(application, request, extra)

    # --- the request -------------------------------------------------------------------------

    def _receive(self, request: Request) -> RequestHead:
        """Read the request as a connection does."""
        config = self._setting.config
        limits = Limits(
            config.limit_request_line,
            config.limit_request_fields,
            config.limit_request_field_size,
            config.max_header_size,
        )
        reader = RequestReader(limits, config.parser)
        pieces = request.wire()
        reader.receive_data(pieces[0])
        head = reader.next_event()
        assert isinstance(head, RequestHead)  # all of it is there, and errors are raised
        self._id_field = id_field_of(config)
        if self._id_field is not None:
            self._id = self._id_field.read(head.variables) or self._id
        peer, _ = remote_address(self._setting.peer)
        fields = self._setting.proxy_fields(peer)
        if fields is not None:
            head, self._origin = fields.read(head, peer, request.origin.scheme)
        if not head.chunked and not head.content_length:
            return head
        limit = largest_body(config, streams=False)
        if (head.content_length or 0) > limit:
            raise HTTPError(413, "The request body is too large")
        budgets = Budgets(
            memory=config.max_buffer_size,
            disk=config.max_spool_size,
            files=_OPEN_FILES,
            directory=config.spool_dir,
        )
        self._body = body = BodySpool(budgets, config.spool_threshold, config.spool_limit)
        try:
            for piece in pieces[1:]:
                reader.receive_data(piece)
                while isinstance(event := reader.next_event(), bytes):
                    if body.size + len(event) > limit:
                        raise HTTPError(413, "The request body is too large")
                    body.append(event)
            assert event is Signal.END_OF_BODY
        except OSError as error:
            body.close()
            raise storage_error(error, 1) from error
        except BaseException:
            body.close()
            raise
        return head

    def _begin(self, application: Application, request: Request, extra: dict[str, object]) -> None:
        head, setting = self._head, self._setting
        config = setting.config
        facts = server_variables(
            setting.server,
            root_path=config.root_path,
            scheme=request.origin.scheme,
            threads=config.threads,
            file_wrapper=FileWrapper,
            processes=config.workers,
        )
        addr, port = remote_address(setting.peer)
        self._info = RequestInfo(
            self._id,
            head.method,
            head.target,
            head.version,
            client_name(addr, port, self._origin),
            head.fields,
        )
        body = self._body if self._body is not None else BodySpool(_NOTHING, 0, 0)
        response = WSGIResponse(application, self, self, head.method == "HEAD")
        environ = build_environ(
            head, facts, addr, port, body.open(), body.size, self._errors, response, self._origin
        )
        if self._id_field is not None:
            environ[KEY] = environ[self._id_field.variable] = self._id
        environ |= extra
        self._began = time.monotonic(), time.thread_time()
        self._response = response
        self._after(self._context.run(response.begin, environ))

    def _refuse(self, error: HTTPError, request: Request) -> None:
        """The server's own answer; the application is not asked."""
        head_only = request.method == "HEAD"
        field = self._id_field
        fields = ((field.name, self._id),) if field is not None else ()
        answer = self._framer.error_answer(error, head_only=head_only, fields=fields)
        data, _, body = answer.partition(b"\r\n\r\n")
        self._framed = FramedHead(error.status, data + b"\r\n\r\n", BodyFraming.LENGTH, False)
        self._chunks += [body] if body else []
        self.is_complete = True

    # --- the response ------------------------------------------------------------------------

    @property
    def head(self) -> tuple[int, str, Headers]:
        """Status, reason phrase and fields, as sent."""
        assert self._framed is not None
        start, *lines = self._framed.data.decode("latin-1").split("\r\n")[:-2]
        pairs = (line.partition(":") for line in lines)
        return (
            self._framed.status,
            start.split(" ", 2)[2],
            Headers((name, value.strip(" \t")) for name, _, value in pairs),
        )

    def next_chunk(self) -> bytes | None:
        """The next chunk of the body; None at its end.

        :raises Exception: what the application raises.
        """
        while not self._chunks:
            if self._file is not None:
                self._read_file()
            elif self._response is not None:
                self._after(self._context.run(self._response.advance))
            else:
                return None
        return self._chunks.popleft()

    def close(self) -> None:
        """The client goes: the application's iterable is closed.

        :raises Exception: what its ``close()`` raises.
        """
        self._chunks.clear()
        self._close_file()
        self._close_bridge()
        if self._response is not None:
            self._watch.leave(self)
            self._context.run(self._response.abandon)
            self._after(Step.DONE)

    def _close_bridge(self) -> None:
        bridge, self._bridge = self._bridge, None
        if bridge is not None:
            bridge.close()

    def _after(self, step: Step) -> None:
        """A step has been done: clean up after the last one, and say what went wrong."""
        if step is Step.DONE:
            self._response = None
            self._watch.serve()
            self._close_bridge()
            self._errors.flush()
            if self._body is not None:
                self._body.close()
        new, self._raised = self.errors[self._raised :], len(self.errors)
        for message, error in new:
            # What ends a program or a test (Ctrl-C, a test's own timeout) is nobody's 500.
            is_final = not isinstance(error, Exception | SystemExit | None)
            if is_final or self._setting.raise_exceptions:
                self._close_file()
                raise error if error is not None else ApplicationError(message)
        if step is Step.DONE and self._framed is None:
            raise ClientDisconnected("the application ended the connection without a response")

    def _read_file(self) -> None:
        assert self._file is not None
        descriptor, offset, count = self._file
        data = os.pread(descriptor, min(_FILE_BLOCK, count), offset)
        if data:
            self._chunks.append(data)
            self._file = descriptor, offset + len(data), count - len(data)
        if not data or count == len(data):
            self.is_complete = count == len(data)  # else it was cut short meanwhile
            self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file[0])
            self._file = None

    # --- the request of the client, see wsgi.client.ClientRequest ---------------------------------

    is_given_up = False

    @property
    def client_gone(self) -> bool:
        return self._watch.gone

    def watch(self) -> Watch:
        return self._watch

    def call_soon(self, function: Callable[[], object]) -> None:
        function()  # there is one thread

    def callback_failed(self, error: BaseException) -> None:
        self.app_error("what the application has called when its client goes raised", error)

    # --- the reporter and the writer of the WSGIResponse, see threads.ResponseWriter ----------

    def app_error(self, message: str, error: BaseException | None) -> None:
        self.errors.append((message, error))
        assert self._info is not None
        if not self._setting.raise_exceptions:
            self._setting.observer.app_error(self._info, message, error)

    def app_warning(self, topic: str, message: str) -> None:
        assert self._info is not None
        if topic not in self._setting.warned:
            self._setting.warned.add(topic)
            self._setting.observer.app_warning(self._info, message)

    def app_stderr(self, line: str) -> None:
        self.stderr.append(line)
        assert self._info is not None
        self._setting.observer.app_stderr(self._info, line)

    def _frame(self, head: ResponseHead, length: int | None) -> BodyFraming:
        request = self._head
        if self._id_field is not None:
            head = with_fields(head, id_fields(self._id_field, self._id, head))
        if self._setting.config.server_timing:
            began, cpu_from = self._began
            cpu, app = time.thread_time() - cpu_from, time.monotonic() - began
            head = with_fields(head, (server_timing(0.0, app, cpu),))
        self._framed = self._framer[
            head, length, request.method, request.version, request.keep_alive
        ]
        return self._framed.framing

    def respond(self, head: ResponseHead, body: bytes, length: int | None) -> None:
        if self._frame(head, length) is not BodyFraming.NONE and body:
            self._chunks.append(body)
        self.is_complete = True

    def start(self, head: ResponseHead, length: int | None) -> InProcessExchange:
        self._frame(head, length)
        return self

    def write(self, data: bytes) -> bool:
        self._chunks.append(data)
        return False  # this client has not taken it yet: the iteration is suspended

    def write_and_wait(self, data: bytes) -> None:
        self._chunks.append(data)

    def write_last(self, data: bytes) -> None:
        self._chunks.append(data)
        self.is_complete = True

    def send_file(self, head: ResponseHead, descriptor: int, offset: int, count: int) -> bool:
        self._frame(head, count)
        if count:
            self._file = os.dup(descriptor), offset, count
        else:
            self.is_complete = True
        return True

    def send_interim(self, head: ResponseHead, size: int) -> bool:
        if self._framed is None:
            self.early_hints.append(Headers(head.fields))
        return True

    def finish(self) -> None:
        self.is_complete = True

    def go_live(self) -> bool:
        return True

    def step_through(self, body: Any) -> Iterable[bytes]:
        from wsgi_async.realtime.bridge import Bridge  # a loop that nobody else needs

        self._bridge = Bridge(body)
        return self._bridge

    def cut(self) -> None:
        pass  # and is not complete


_NOTHING = Budgets(memory=0, disk=0, files=0, directory="")
