"""gunicorn's hooks, called where it would call them, with small stand-ins for its objects."""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

from wsgi_async.config.hooks import Hooks
from wsgi_async.config.sources import Value
from wsgi_async.config.statsd_options import statsd_address
from wsgi_async.config.tls_options import CERT_REQS
from wsgi_async.errors import ConfigError
from wsgi_async.logs import measures
from wsgi_async.logs.setup import access_logger, logger
from wsgi_async.wsgi.file_wrapper import FileWrapper
from wsgi_async.wsgi.types import Application

__all__ = ["HOOKS", "Configuration", "GunicornHooks", "RequestHooks", "describe"]

HOOKS: dict[str, tuple[int, ...]] = {
    "on_starting": (1,),
    "on_reload": (1,),
    "when_ready": (1,),
    "pre_fork": (2,),
    "post_fork": (2,),
    "post_worker_init": (1,),
    "pre_request": (2,),
    "post_request": (4, 3, 2),
    "child_exit": (2,),
    "worker_exit": (2,),
    "nworkers_changed": (3,),
    "on_exit": (1,),
}
"""The hooks that are called, and how many arguments they take."""


def describe(error: BaseException) -> str:
    """The exception on one line."""
    try:
        lines = str(error).splitlines() or [""]
    except Exception:  # of code that is not ours
        lines = ["its text cannot be had"]
    return f"{type(error).__name__}: {lines[0]}".removesuffix(": ")


class _StandIn:
    """Something of gunicorn's that hooks are given."""

    _name = ""

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"the {self._name} that hooks get from wsgi_async has no {name!r}")


class Log(_StandIn):
    """gunicorn's logger: ours, of which it has the methods."""

    _name = "log"
    error_log = logger
    access_log = access_logger
    debug = staticmethod(measures.debug)
    info = staticmethod(measures.info)
    warning = staticmethod(logger.warning)
    error = staticmethod(logger.error)
    critical = staticmethod(logger.critical)
    exception = staticmethod(logger.exception)
    log = staticmethod(measures.log)


def _first(values: tuple[str, ...]) -> str | None:
    return values[0] if values else None


def _as_it_is(value: Any) -> Any:
    return value


def _statsd_host(text: str) -> str | tuple[str, int] | None:
    if not text:
        return None
    address = statsd_address(text)
    return address.path or (address.host or "", address.port)


_FORMS: dict[str, Callable[[Any], Any]] = {
    "ca_certs": lambda file: file or None,
    "cert_reqs": CERT_REQS.index,
    "certfile": _first,
    "ciphers": lambda ciphers: ciphers or None,
    "keyfile": _first,
    "statsd_host": _statsd_host,
}
"""gunicorn's form of a value, where ours is another one."""


class Configuration(_StandIn):
    """``cfg``: the settings of the file by gunicorn's names, with the values that are in force."""

    _name = "cfg"

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.settings = dict(values)
        self.__dict__.update(values)

    @property
    def is_ssl(self) -> bool:
        """Whether there is a certificate."""
        return bool(self.settings.get("certfile"))


class Arbiter(_StandIn):
    """``server``: the parent."""

    _name = "server"

    def __init__(self, cfg: Configuration) -> None:
        self.cfg = cfg
        self.log = Log()
        self.pid = os.getpid()
        self.num_workers = 0
        self.worker_age = 0
        self.WORKERS: dict[int, Worker] = {}
        """Always empty: gunicorn has its workers by pid there."""


class Worker(_StandIn):
    """``worker``: a serving process."""

    _name = "worker"

    def __init__(self, age: int, cfg: Configuration, ppid: int) -> None:
        self.age = age
        self.pid: int | str = "[booting]"
        self.ppid = ppid
        self.cfg = cfg
        self.log = Log()
        self.alive = True
        self.booted = self.aborted = False
        self.nr = 0
        self.timeout = getattr(cfg, "timeout", 30)
        self.wsgi: Application | None = None

    def __str__(self) -> str:
        return f"<Worker {self.pid}>"


class GunicornHooks(Hooks):
    """See :class:`~wsgi_async.config.hooks.Hooks`.

    :param hooks: the functions by gunicorn's names.
    :param settings: the other settings of the file, by gunicorn's names.
    :param name: what the operator calls the file.
    :param names: for gunicorn's names of settings, those of our options.
    :param values: the values of the options that are in force.
    """

    def __init__(
        self,
        hooks: Mapping[str, Callable[..., Any]],
        settings: Mapping[str, Any],
        name: str,
        names: Mapping[str, str],
        values: Mapping[str, Value],
    ) -> None:
        self._hooks = hooks
        self._name = name
        known = {
            setting: _FORMS.get(setting, _as_it_is)(values[option].value)
            for setting, option in names.items()
            if option in values and setting != "ssl_version"  # of which there is a part only
        }
        self._cfg = Configuration({**settings, **known})
        self._server = Arbiter(self._cfg)
        self._workers: dict[int, Worker] = {}
        self._worker: Worker | None = None  # in a process, its own

    def _call(self, hook: str, *args: Any) -> None:
        function = self._hooks.get(hook)
        if function is None:
            return
        try:
            function(*args)
        except (Exception, SystemExit) as error:
            failure = ConfigError(f"{self._name}: {hook} raised {describe(error)}")
            frames = error.__traceback__.tb_next if error.__traceback__ else None
            failure.add_note("".join(traceback.format_exception(type(error), error, frames)))
            raise failure from None

    # --- in the parent -----------------------------------------------------------------------

    def follow(self, former: Hooks) -> None:
        if isinstance(former, GunicornHooks):
            self._server, self._workers = former._server, former._workers
            self._server.cfg = self._cfg

    def starting(self, processes: int) -> None:
        self._server.num_workers = processes
        self._call("nworkers_changed", self._server, processes, None)
        self._call("on_starting", self._server)

    def listening(self) -> None:
        self._call("when_ready", self._server)

    def forking(self, number: int) -> None:
        self._server.worker_age += 1
        worker = Worker(self._server.worker_age, self._cfg, self._server.pid)
        self._workers[number] = worker
        self._call("pre_fork", self._server, worker)

    def ended(self, number: int, pid: int) -> None:
        worker = self._workers.pop(number, None)
        if worker is not None and pid:
            worker.pid = pid
            worker.alive = False
            self._call("child_exit", self._server, worker)

    def wanted(self, processes: int, before: int) -> None:
        self._server.num_workers = processes
        self._call("nworkers_changed", self._server, processes, before)

    def reloading(self) -> None:
        self._call("on_reload", self._server)

    def exiting(self) -> None:
        self._call("on_exit", self._server)

    # --- in a process ------------------------------------------------------------------------

    def forked(self, number: int) -> None:
        worker = self._workers.get(number)
        if worker is None:  # a loader was forked before the parent knew of it
            worker = Worker(number + 1, self._cfg, self._server.pid)
        worker.pid = os.getpid()
        self._worker = worker
        self._call("post_fork", self._server, worker)

    def loaded(self, application: Application) -> Application:
        worker = self._worker
        assert worker is not None
        worker.wsgi = application
        self._call("post_worker_init", worker)
        worker.booted = True
        before, after = self._hooks.get("pre_request"), self._hooks.get("post_request")
        if before is None and after is None:
            return application
        return RequestHooks(application, worker, before, after)

    def leaving(self) -> None:
        if self._worker is not None:
            self._worker.alive = False
            self._call("worker_exit", self._server, self._worker)


class Request(_StandIn):
    """``req``: what gunicorn's parser knows of a request."""

    _name = "req"

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self.method: str = environ["REQUEST_METHOD"]
        self.path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        self.query: str = environ.get("QUERY_STRING", "")
        self.uri: str = environ.get("RAW_URI") or environ.get("REQUEST_URI") or self._target()
        self.scheme: str = environ.get("wsgi.url_scheme", "http")
        major, _, minor = environ["SERVER_PROTOCOL"].removeprefix("HTTP/").partition(".")
        self.version = (int(major), int(minor or 0))
        self.headers = [
            (key.removeprefix("HTTP_").replace("_", "-"), value)
            for key, value in environ.items()
            if key.startswith("HTTP_") or (key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value)
        ]

    def _target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path


class Response(_StandIn):
    """``resp``: what the application has answered."""

    _name = "resp"

    def __init__(self) -> None:
        self.status = ""
        self.status_code = 0
        self.headers: list[tuple[str, str]] = []

    def take(self, status: str, headers: list[tuple[str, str]]) -> None:
        self.status = status
        code = status[:3]
        self.status_code = int(code) if code.isascii() and code.isdigit() else 0
        self.headers = list(headers)


class RequestHooks:
    """An application with pre_request and post_request around it, on the thread that runs it.

    The latter is called once what the application has returned is closed; for a list or a tuple,
    which need no closing, at once, so that they go through as they are. A pre_request that raises
    is an error of the request; what post_request raises is logged.

    :param worker: what the hooks get first: a stand-in, or gunicorn's own.
    """

    def __init__(
        self,
        application: Application,
        worker: Any,
        before: Callable[..., Any] | None,
        after: Callable[..., Any] | None,
    ) -> None:
        self._application = application
        self._worker = worker
        self._before = before
        self._after = after
        self._arguments = 0
        if after is not None:
            self._arguments = _accepted(after, HOOKS["post_request"])

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        request = Request(environ)
        if self._before is not None:
            self._before(self._worker, request)
        if self._after is None:
            return self._application(environ, start_response)
        response = Response()

        def start(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], object]:
            response.take(status, headers)
            write: Callable[[bytes], object] = (
                start_response(status, headers)
                if exc_info is None
                else start_response(status, headers, exc_info)
            )
            return write

        def end() -> None:
            self._end(request, environ, response)

        try:
            result = self._application(environ, start)
        except BaseException:
            end()
            raise
        if type(result) is list or type(result) is tuple:
            end()
            return result
        if type(result) is FileWrapper:
            # The server knows it by its type.
            result.close = _Ending(getattr(result, "close", None), end)
            return result
        return _Results(result, end)

    def _end(self, request: Request, environ: dict[str, Any], response: Response) -> None:
        assert self._after is not None
        arguments = (self._worker, request, environ, response)[: self._arguments]
        try:
            self._after(*arguments)
        except Exception:
            logger.exception("post_request raised")


class _Ending:
    """A close() with something to do after it, once."""

    def __init__(self, close: Callable[[], object] | None, end: Callable[[], object]) -> None:
        self._close = close
        self._end: Callable[[], object] | None = end

    def __call__(self) -> None:
        end, self._end = self._end, None
        try:
            if self._close is not None:
                self._close()
        finally:
            if end is not None:
                end()


class _Results:
    """What an application returned, with something to do after its close()."""

    def __init__(self, results: Iterable[bytes], end: Callable[[], object]) -> None:
        self._results = results
        self.close = _Ending(getattr(results, "close", None), end)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._results)


def _accepted(function: Callable[..., Any], counts: tuple[int, ...]) -> int:
    """The first of `counts` that is a number of arguments which `function` takes."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return counts[0]
    for count in counts:
        try:
            signature.bind(*(None,) * count)
        except TypeError:
            continue
        return count
    return counts[0]
