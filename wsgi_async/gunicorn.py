"""``gunicorn -k wsgi_async.gunicorn.Worker app:app``: a step on the way here.

gunicorn keeps its arbiter, its command line and its logs; in each of its workers a
:class:`~wsgi_async.server.server.Server` takes the connections of gunicorn's sockets and runs the
application in ``--threads`` threads. Slow clients cost no thread already.

In gunicorn's configuration file, subscribers of :mod:`wsgi_async.events` are attached so::

    def post_worker_init(worker):
        worker.subscribe(Metrics())
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import math
import os
import resource
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.instrument.statsd import Statsd as StatsdLogger
from gunicorn.sock import ssl_context
from gunicorn.workers.base import Worker as BaseWorker

from .config.calls import join_address
from .config.gateways import trust_notices
from .config.options import Config
from .errors import ConfigError
from .events import Observer, RequestInfo, ResponseInfo, check_subscriber, client_address
from .foreign.gunicorn import (
    OPTIONS,
    header_map_notices,
    options_of,
    proxy_protocol_notices,
    script_name,
)
from .foreign.hooks import RequestHooks
from .launch.ending import LAST, end_within
from .logs.access_entry import ServerEntry, basic_user, plain_text
from .logs.access_format import COMBINED, is_secret
from .logs.measures import measure
from .logs.observer import LogObserver
from .logs.setup import access_logger, logger
from .server.descriptors import plan_descriptors
from .server.server import Server
from .server.stopping import Stop, obey
from .system.event_loop import new_event_loop
from .system.forks import take_signal
from .system.sockets import BoundSocket
from .system.spoken import Spoken
from .tls.contexts import make_contexts
from .tls.given import GivenContext
from .tls.material import read_material
from .tls.settings import tls_settings
from .wsgi.types import Application

if TYPE_CHECKING:
    from .operations.statsd import Statsd

__all__ = ["Worker"]

BEAT = 1.0
"""Seconds between two signs of life, at most."""

LINGER = 1.0
"""Seconds for which a worker that ends waits for the next request of idle connections."""

_TAKEN = (
    *("backlog", "forwarder_headers", "graceful_timeout", "keepalive"),
    *("ca_certs", "cert_reqs", "certfile", "ciphers", "keyfile"),
    *("limit_request_field_size", "limit_request_fields", "limit_request_line"),
    *("proxy_allow_ips", "proxy_protocol", "root_path", "secure_scheme_headers", "threads"),
    *("protocol", "uwsgi_allow_ips"),
)
"""The settings of gunicorn that a server in one of its processes follows."""

_NEARBY = ("127.0.0.1,::1", "127.0.0.1")
"""gunicorn's default of ``forwarded_allow_ips``, in its versions, where no variable has another."""


class Worker(BaseWorker):  # type: ignore[misc]  # gunicorn has no type annotations
    """A worker of gunicorn's. Its hooks are called as with gunicorn's own workers."""

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """*gunicorn calls it in the arbiter.*

        :raises RuntimeError: a setting that this worker cannot follow: gunicorn shows it as it is.
        """
        try:
            config = _config(cfg)
            settings = tls_settings(config)
            if settings is not None and not _has_own_context(cfg):
                make_contexts(settings, read_material(settings))  # for what is wrong with the files
        except ConfigError as error:
            raise RuntimeError(str(error)) from None
        notices = header_map_notices(getattr(cfg, "header_map", "drop"), "gunicorn")
        notices += proxy_protocol_notices(config.proxy_protocol, "gunicorn")
        notices += trust_notices((), config.protocol, config.uwsgi_allow_from, is_given=False)
        for notice in notices:
            log.warning("%s", notice)

    subscribers: tuple[Observer, ...] = ()
    """Told what happens, after gunicorn's logs."""

    def subscribe(self, observer: Observer) -> None:
        """Have one more told what happens, as of the start: for ``post_worker_init``.

        :raises ConfigError: it is no subscriber.
        """
        check_subscriber(observer)
        self.subscribers = (*self.subscribers, observer)

    def run(self) -> None:
        """Serve until told to end."""
        # A worker that cannot start ends with the code at which gunicorn does not try again.
        self.booted = False
        _follow(self.log)
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(self._serve())
        except ConfigError as error:  # of a reload: gunicorn calls check_config at a start only
            self.log.error("%s", error)
            raise SystemExit(Arbiter.WORKER_BOOT_ERROR) from None

    async def _serve(self) -> None:
        await _Serving(self, self._application()).run()

    def _application(self) -> Application:
        before, after = (self._hook(name) for name in ("pre_request", "post_request"))
        if before is None and after is None:
            application: Application = self.wsgi
            return application
        return RequestHooks(self.wsgi, self, before, after)

    def _hook(self, name: str) -> Callable[..., Any] | None:
        setting = self.cfg.settings[name]
        hook: Callable[..., Any] = setting.get()
        return None if hook is type(setting).default else hook


class _Serving:
    """A server in a worker, until its end."""

    def __init__(self, worker: Worker, application: Application) -> None:
        self._worker = worker
        self._config = config = _config(worker.cfg)
        observer = _Observer(worker.log, worker.cfg)
        self._server = Server(
            application, config=config, observer=observer, observers=worker.subscribers
        )
        self._server.is_supervised = True
        if _has_own_context(worker.cfg):
            self._server.context_source = GivenContext(ssl_context(worker.cfg))
        self._statsd = _statsd(worker)
        if self._statsd is not None:
            measure(self._statsd)
            self._statsd.attach(self._server, workers=lambda is_over: None)
        self._stops: asyncio.Queue[Stop] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        timeout = worker.timeout  # half of gunicorn's
        self._beat_every = min(BEAT, timeout / 2) if timeout else BEAT
        self._is_ending = False
        self._told_at = math.inf

    async def run(self) -> None:
        worker = self._worker
        self._handle(signal.SIGTERM, self._end)
        for number in (signal.SIGINT, signal.SIGQUIT):
            self._handle(number, self._quit)
        self._handle(signal.SIGUSR1, self._report)
        sockets = [BoundSocket(fileno=os.dup(sock.fileno())) for sock in worker.sockets]
        for sock in sockets:
            sock.protocol = Spoken(self._config.protocol)
            sock.is_tls = bool(worker.cfg.is_ssl)
        await self._server.start(sockets)
        worker.booted = True
        self._beat()
        try:
            await obey(self._server, self._stops, drain_delay=0.0, linger=LINGER)
        finally:
            worker.alive = False
            if self._statsd is not None:
                measure(None)
                self._statsd.close()
            self._see_to_the_end()

    def _see_to_the_end(self) -> None:
        """gunicorn ends a worker that an arbiter has asked to end, and nobody one whose arbiter has
        gone, or that asked itself."""
        worker = self._worker

        def pulse() -> bool:
            with contextlib.suppress(Exception):  # gunicorn has closed what it writes to
                worker.notify()
            return False

        grace = worker.cfg.graceful_timeout
        left = self._told_at + grace - time.monotonic()
        end_within(max(LAST, left), 0, worker.log.error, pulse=pulse, every=self._beat_every)

    def _handle(self, number: signal.Signals, handler: Callable[[], object]) -> None:
        self._loop.add_signal_handler(number, handler)
        # Not gunicorn's handler, which ends nothing but a worker.
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        take_signal(number, None, usual)

    def _beat(self) -> None:
        """Tell the arbiter that loop and threads run; look at whether this process is to end."""
        worker, server = self._worker, self._server
        self._loop.call_later(self._beat_every, self._beat)
        if not server.is_stalled:
            worker.notify()
        worker.nr = server.requests
        if self._is_ending:
            return
        if not worker.alive:  # gunicorn's reloader has seen code change
            self._end()
        elif worker.ppid != os.getppid():
            worker.log.info("Parent changed, shutting down: %s", worker)
            self._end()
        elif server.requests >= worker.max_requests:
            worker.log.info("Autorestarting worker after %d requests", server.requests)
            self._end()
        elif server.lost_threads >= self._config.threads:
            worker.log.error("The threads of %s do not return from the application", worker)
            self._end()

    def _end(self) -> None:
        """Others may go on serving, so who has connected to this worker is to be answered by it."""
        self._is_ending = True
        self._told_at = min(self._told_at, time.monotonic())
        self._stops.put_nowait(Stop.RETIRE)

    def _quit(self) -> None:
        self._worker.cfg.worker_int(self._worker)
        self._is_ending = True
        self._told_at = -math.inf
        self._stops.put_nowait(Stop.NOW)

    def _report(self) -> None:
        self._worker.log.reopen_files()
        self._server.report_in_flight()


def _statsd(worker: Any) -> Statsd | None:
    """Where the requests are told of, if gunicorn's own logger would tell of them: it waits for a
    socket that is full, and everybody with it. Another class of logger does what it does.

    How many workers there are, and what gunicorn logs itself, its logger goes on to tell.
    """
    cfg = worker.cfg
    if type(worker.log) is not StatsdLogger or not cfg.statsd_host:
        return None
    from .operations.statsd import Statsd

    host = cfg.statsd_host
    if isinstance(host, str):
        address = f"unix:{host}"
    else:
        with contextlib.suppress(AttributeError, OSError):  # the arbiter has not found it
            host = worker.log.sock.getpeername()  # where the name led to, which may take a while
        address = join_address(*host[:2])
    try:
        return Statsd(
            address, prefix=cfg.statsd_prefix, tags=cfg.dogstatsd_tags, warn=worker.log.warning
        )
    except ConfigError as error:
        worker.log.warning("%s", error)  # gunicorn says nothing, and sends nothing
        return None


def _config(cfg: Any) -> Config:
    settings = {name: getattr(cfg, name) for name in _TAKEN if hasattr(cfg, name)}
    if _knows_proxies(cfg):
        settings["forwarded_allow_ips"] = cfg.forwarded_allow_ips
    options, _ = options_of(
        {name: value for name, value in settings.items() if name in OPTIONS}, "gunicorn"
    )
    if path := script_name(None, os.environ):  # the arbiter has put its raw_env there
        options["root_path"] = path
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    possible = plan_descriptors(limit, max_connections=0).connections
    return Config(
        **options,
        max_connections=min(cfg.worker_connections, possible),
        request_timeout=0,
    )


def _has_own_context(cfg: Any) -> bool:
    """Whether there is a hook ``ssl_context``, in whose stead nothing else is renewed."""
    hook = cfg.settings["ssl_context"]
    return bool(cfg.is_ssl) and hook.get() is not type(hook).default


def _knows_proxies(cfg: Any) -> bool:
    """Whether somebody has set ``forwarded_allow_ips``, or the variable that is gunicorn's default
    then."""
    default = type(cfg.settings["forwarded_allow_ips"]).default
    if os.environ.get("FORWARDED_ALLOW_IPS") or default not in _NEARBY:
        return True
    return bool(cfg.forwarded_allow_ips != default.split(","))


def _follow(log: Any) -> None:
    """Have this package's records written where gunicorn's are."""
    for ours, theirs in ((logger, log.error_log), (access_logger, log.access_log)):
        ours.handlers[:] = theirs.handlers
        ours.setLevel(theirs.level)
        ours.propagate = theirs.propagate
        ours.disabled = False


_LINE = "wsgi_async_line"
"""An atom for gunicorn's logger: the whole line."""


class _Line:
    """Text that gunicorn's logger takes as it is: in a `str` it would escape quotes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


class _Observer(LogObserver):
    """Writes the access log by gunicorn's logger, to the places that it is set to: in gunicorn's
    own way, or, where the format has a name or an atom of ours, as one atom that is the line."""

    def __init__(self, log: Any, cfg: Any) -> None:
        wanted = getattr(log, "access_log_enabled", bool(cfg.accesslog))
        self._write = log.access
        if type(log) is StatsdLogger:
            # What else its own does, :func:`_statsd` does.
            self._write = partial(Logger.access, log)
        elif cfg.statsd_host:
            wanted = True  # whatever it makes of it
        text = str(cfg.access_log_format)
        try:
            super().__init__(access=bool(wanted), format=text)
        except ConfigError:  # of an atom that it does not know gunicorn makes a hyphen
            super().__init__(access=bool(wanted), format=COMBINED)
            self.wants_fields = self.wants_environ = bool(wanted)
        self._line = ""
        if self._format.has_ours and wanted:
            cfg.set("access_log_format", f"%({_LINE})s")
            log.atoms = self._atoms

    def _atoms(self, *facts: object) -> dict[str, object]:
        """*Loop:* in the place of the logger's own."""
        return {_LINE: _Line(self._line)}

    def started(
        self,
        addresses: tuple[str, ...],
        threads: int,
        loop: str,
        parser: str,
        processes: int = 1,
    ) -> None:
        logger.debug("Serving with %d threads (%s, parser %s)", threads, loop, parser)

    def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
        if response.is_logged:
            return
        came = time.time() - response.duration
        status, size = response.status, response.body_size
        entry = ServerEntry(request.client, came, request, status, size, response)
        if self._format.has_ours:
            self._line = self._format.line(entry)
        answer = SimpleNamespace(
            status=str(status),
            status_code=status,
            sent=size,
            headers=response.fields or [],
            response_length=None,
        )
        self._write(
            answer,
            SimpleNamespace(
                headers=[
                    (name.upper(), value) for name, value in request.fields if not is_secret(name)
                ],
                method=request.method,
                uri=request.target,
                path=request.target.partition("?")[0],
                query=entry.query,
            ),
            _environ(request, response, entry),
            timedelta(seconds=response.duration),
        )


def _environ(request: RequestInfo, response: ResponseInfo, entry: ServerEntry) -> dict[str, object]:
    """What gunicorn's logger looks for a request's variables in."""
    address, port = client_address(request.client)
    environ: dict[str, object] = {
        "REQUEST_METHOD": request.method,
        "RAW_URI": request.target,
        "SERVER_PROTOCOL": request.version,
        "PATH_INFO": entry.path,
        "QUERY_STRING": entry.query,
        "REMOTE_ADDR": address,
        "REMOTE_PORT": port,
    }
    for name, value in request.fields:
        environ.setdefault(f"HTTP_{name.upper().replace('-', '_')}", value)
    if response.environ is not None:
        texts = {name: plain_text(value) for name, value in dict(response.environ).items()}
        environ.update({name: text for name, text in texts.items() if text is not None})
    environ.pop("HTTP_PROXY_AUTHORIZATION", None)
    if user := basic_user(str(environ.pop("HTTP_AUTHORIZATION", ""))):
        # It is read from there, and no more of it is needed.
        nothing_else = base64.b64encode(f"{user}:".encode()).decode()
        environ["HTTP_AUTHORIZATION"] = f"Basic {nothing_else}"
    return environ
