"""The options of a server: one frozen dataclass, in which an option is written exactly once.

The flag, the environment variable, the key of a configuration file, the line of ``--help``, the
row of the README's table and the validation are all derived from the field. Nothing here reads
the environment or the disk; :mod:`wsgi_async.config.sources` does.

Values may be given as Python objects or as the text an operator types: durations ``"500ms"``,
``"30s"``, ``"5m"``, ``"1h"``, ``"1d"`` (a bare number is seconds), sizes ``"512K"``, ``"1M"``,
``"1G"`` (powers of 1024; a bare number is bytes).
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from wsgi_async.errors import ConfigError
from wsgi_async.system.cpu_affinity import CAN_PIN

__all__ = [
    "OPTIONS",
    "Config",
    "Option",
    "did_you_mean",
    "from_options",
    "join_address",
    "parse_bool",
    "parse_duration",
    "parse_size",
]

T = TypeVar("T")

Kind = Literal["text", "texts", "choice", "bool", "number", "duration", "size", "mode"]

# Unicode digits must not pass ('²'.isdigit() is true), and int() refuses more than 4300 digits.
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?(ms|s|m|h|d)?", re.IGNORECASE | re.ASCII)
_SIZE = re.compile(r"([0-9]{1,18}) ?([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_MODE = re.compile(r"(?:0[oO])?[0-7]{1,4}")
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


def parse_bool(value: object) -> bool:
    """True or False, or one of true/false, 1/0, yes/no, on/off in any case. ValueError else."""
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if isinstance(value, str | int) and word in _TRUE | _FALSE:
        return word in _TRUE
    raise ValueError(value)


def parse_duration(value: object) -> float:
    """Seconds, from a finite number of them or text such as ``"1.5s"``. ValueError else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if math.isfinite(value):
            return float(value)
    elif isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        return float(match[1]) * _SECONDS[(match[2] or "").lower()]
    raise ValueError(value)


def parse_size(value: object) -> int:
    """Bytes, from a number of them or text such as ``"64K"``. ValueError else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        return int(match[1]) * _BYTES[match[2].upper()]
    raise ValueError(value)


def _parse_number(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    raise ValueError(value)


def _parse_mode(value: object) -> int:
    """Permission bits: an int as it is, text as octal digits (``660``, ``0660``, ``0o660``)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _MODE.fullmatch(value):
        return int(value, 8)
    raise ValueError(value)


def _parse_text(value: object) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    # NUL would reach open() and getaddrinfo(), which answer with a bare ValueError.
    if isinstance(value, str) and "\0" not in value:
        return value
    raise ValueError(value)


def _parse_texts(value: object) -> tuple[str, ...]:
    """A list of non-empty texts; one text is split at its commas."""
    if isinstance(value, str):
        value = [part.strip(" \t") for part in value.split(",")] if value else []
    if not isinstance(value, list | tuple):
        raise ValueError(value)
    texts = tuple(_parse_text(part) for part in value)
    if not all(texts):
        raise ValueError(value)
    return texts


_PARSERS: dict[Kind, Callable[[object], Any]] = {
    "text": _parse_text,
    "texts": _parse_texts,
    "choice": lambda value: _parse_text(value).lower(),
    "bool": parse_bool,
    "number": _parse_number,
    "duration": parse_duration,
    "size": parse_size,
    "mode": _parse_mode,
}

_TAKES: dict[Kind, str] = {
    "text": "text",
    "texts": "one or more texts",
    "bool": "true or false",
    "number": "a whole number",
    "duration": "a duration such as 500ms, 30s, 5m or 1h",
    "size": "a number of bytes such as 4096, 512K, 1M or 1G",
    "mode": "permissions in octal such as 660",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What there is to know about one option. The name is the field's."""

    name: str = ""
    default: Any = None
    help: str = ""
    kind: Kind = "text"
    unit: str = ""
    flags: tuple[str, ...] = ()
    """Short flags, shown: ``-b``."""
    aliases: tuple[str, ...] = ()
    """Other servers' spellings, accepted on the command line and not shown: ``--listen``."""
    metavar: str = ""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    check: Callable[[Any], bool] | None = None
    takes: str = ""
    """What the option takes, where the kind and the range do not say it."""

    @property
    def flag(self) -> str:
        """The long flag: ``--keep-alive``."""
        return "--" + self.name.replace("_", "-")

    def parse(self, value: object) -> Any:
        """The value in its type, from a Python object or from text.

        :raises ConfigError: naming the flag and what it takes.
        """
        try:
            parsed = _PARSERS[self.kind](value)
        except ValueError:
            raise self._refuse(value) from None
        if (
            (self.choices and parsed not in self.choices)
            or (self.minimum is not None and parsed < self.minimum)
            or (self.maximum is not None and parsed > self.maximum)
            or (self.check is not None and not self.check(parsed))
        ):
            raise self._refuse(value)
        return parsed

    def format(self, value: Any) -> str:
        """The value as an operator writes it: ``75s``, ``64K``, ``0o660``; empty text is empty."""
        if self.kind == "duration":
            return _format_duration(value)
        if self.kind == "size":
            return _format_size(value)
        if self.kind == "mode":
            return f"0o{value:03o}"
        if self.kind == "bool":
            return "true" if value else "false"
        if self.kind == "texts":
            return ",".join(value)
        return str(value)

    def _refuse(self, value: object) -> ConfigError:
        return ConfigError(f"{self.flag} takes {self.takes or self._describe()}, not {value!r}")

    def _describe(self) -> str:
        if self.choices:
            return f"{', '.join(self.choices[:-1])} or {self.choices[-1]}"
        text, low, high = _TAKES[self.kind], self.minimum, self.maximum
        if low is None:
            return text
        if high is not None:
            return f"{text}, from {self.format(low)} to {self.format(high)}"
        return f"{text}, {self.format(low)} or more" if low else text


def _format_duration(seconds: float) -> str:
    if not seconds:
        return "0"
    return f"{seconds * 1000:g}ms" if seconds < 1 else f"{seconds:.10g}s"


def _format_size(size: int) -> str:
    for suffix in "TGMK":
        if size and size % _BYTES[suffix] == 0:
            return f"{size // _BYTES[suffix]}{suffix}"
    return str(size)


def option(default: T, *, help: str, unit: str = "", **more: Any) -> T:
    """A dataclass field that is an option; `more` are further attributes of :class:`Option`.

    :param unit: ``s`` makes it a duration, ``bytes`` and ``bytes/s`` a size, ``octal``
        permissions; without one, the default's type says what it is.
    """
    kind: Kind
    if unit == "s":
        kind = "duration"
    elif unit.startswith("bytes"):
        kind = "size"
    elif unit == "octal":
        kind = "mode"
    elif more.get("choices"):
        kind = "choice"
    elif isinstance(default, tuple):
        kind = "texts"
    elif isinstance(default, bool):
        kind = "bool"
    else:
        kind = "number" if isinstance(default, int) else "text"
    if kind in ("duration", "size", "mode", "number"):
        more.setdefault("minimum", 0)
    spec = Option(default=default, help=help, unit=unit, kind=kind, **more)
    return dataclasses.field(default=default, metadata={"option": spec})


def _is_root_path(path: str) -> bool:
    # It becomes SCRIPT_NAME (RFC 3875 §4.1.13): empty, or "/" and no "/" at its end.
    return re.fullmatch(r"(?:/[!-\"$->@-~/]*[!-\"$-.0->@-~])?", path) is not None


def _is_probe(path: str) -> bool:
    return re.fullmatch(r"(?:/[!\"$->@-~]*)?", path) is not None


def _is_warmup(target: str) -> bool:
    return re.fullmatch(r"(?:http://[0-9A-Za-z.:\[\]-]+)?/[!\"$-~]*", target) is not None


KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The validated options of a server: timeouts in seconds, sizes in bytes.

    :raises ConfigError: where a value is wrong; one line that names the option as a flag and
        says what it takes.
    """

    # Where it listens
    bind: tuple[str, ...] = option(
        (),
        help="Where to listen: HOST, HOST:PORT, :PORT (all interfaces), [V6]:PORT, unix:PATH, "
        "unix:@NAME or fd://N; repeatable. Without it 127.0.0.1:8000 and [::1]:8000.",
        flags=("-b",),
        aliases=("--listen",),
        metavar="ADDRESS",
        takes="addresses such as 127.0.0.1:8000, :8000 or unix:/run/app.sock",
    )
    backlog: int = option(
        2048,
        help="Connections the kernel queues until they are accepted.",
        minimum=1,
        maximum=(1 << 31) - 1,
    )
    socket_mode: int = option(
        0o660,
        help="Permissions of a unix socket file.",
        unit="octal",
        maximum=0o777,
        aliases=(
            "--uds-permissions",
            "--unix-socket-perms",
        ),
    )

    # How much at once
    workers: int = option(
        1,
        help="Processes that serve, each with its own threads. Without it $WEB_CONCURRENCY, or 1.",
        flags=("-w",),
        minimum=1,
        maximum=1000,
        aliases=("--processes",),
    )
    threads: int = option(
        8,
        help="Threads of a process that run the application.",
        aliases=("--blocking-threads",),
        minimum=1,
        maximum=10_000,
    )
    queue_size: int = option(
        2048,
        help="Requests that may wait for a thread; beyond it the answer is 503 with Retry-After.",
        minimum=1,
        maximum=10_000_000,
    )
    queue_timeout: float = option(
        30.0,
        help="Longest wait for a thread, then 503 with Retry-After. 0 = off.",
        unit="s",
    )
    max_connections: int = option(
        0,
        help="Open connections of a process; at the bound one that has sent nothing or the oldest "
        "idle one is closed, else 503. "
        "0 = what RLIMIT_NOFILE allows.",
        aliases=("--worker-connections", "--connection-limit"),
        maximum=10_000_000,
    )

    # Deadlines
    header_timeout: float = option(
        10.0, help="For a whole request head, then 408. 0 = off.", unit="s"
    )
    body_timeout: float = option(
        30.0, help="Longest gap within a request body, then 408. 0 = off.", unit="s"
    )
    send_timeout: float = option(
        60.0,
        help="Longest gap in which a client takes nothing of its response, then it is cut off. "
        "0 = off.",
        unit="s",
    )
    keep_alive: float = option(
        75.0,
        help="How long an idle connection is kept. 0 = close after each response.",
        unit="s",
        aliases=("--timeout-keep-alive", "--channel-timeout"),
    )
    request_timeout: float = option(
        0.0,
        help="For the application to produce the first chunk of its response, the wait for a "
        "thread included, and then each next one; then 504, and its thread is replaced. 0 = off.",
        unit="s",
        aliases=("--harakiri",),
    )
    interrupt_late: bool = option(
        False,
        help="Raise wsgi_async.RequestTimeout in a thread that is later than --request-timeout.",
    )
    timeout: float = option(
        30.0,
        help="For a process to show that its event loop runs, then its stacks are logged and it "
        "is killed and replaced; requests may take longer. 0 = off.",
        unit="s",
        flags=("-t",),
        aliases=("--timeout-worker-healthcheck",),
    )
    boot_timeout: float = option(
        60.0,
        help="For a process to load the application and answer its --warmup. 0 = off.",
        unit="s",
    )
    drain_delay: float = option(
        0.0,
        help="How long to go on serving after SIGTERM, with --ready-path answering 503, so that a "
        "load balancer sees it first.",
        unit="s",
    )
    graceful_timeout: float = option(
        30.0,
        help="For requests in flight to finish at a stop. 0 = no limit.",
        unit="s",
        aliases=("--timeout-graceful-shutdown", "--workers-kill-timeout"),
    )
    min_rate: int = option(
        500,
        help="Bytes per second a client must send or take on average, after 10 s of grace. "
        "0 = off.",
        unit="bytes/s",
    )

    # Processes and their health
    preload: bool = option(
        False,
        help="Load the application once, in a process that forks the serving ones: less memory, "
        "quicker starts. SIGHUP loads it anew.",
    )
    cpu_affinity: bool = option(
        False,
        help="Keep each process on one processor, in turn: for applications that compute in "
        "Python, and as many processes as processors. Linux, under a supervisor.",
        check=lambda wanted: not wanted or CAN_PIN,
        takes="false on this system",
    )
    warmup: tuple[str, ...] = option(
        (),
        help="A path to ask the application for, in each new process, before it accepts "
        "connections; an answer of 500 or above, or none, is a failed start. Or a URL, for its "
        "Host field. Repeatable.",
        metavar="PATH",
        check=lambda paths: all(map(_is_warmup, paths)),
        takes="paths such as /login, or URLs such as http://www.example.org/login",
    )
    max_requests: int = option(
        0,
        help="Requests after which a process is replaced. 0 = off.",
        aliases=("--limit-max-requests",),
        maximum=1 << 62,
    )
    max_requests_jitter: int = option(
        0,
        help="Up to so many more, by chance for each process.",
        aliases=("--limit-max-requests-jitter",),
        maximum=1 << 62,
    )
    worker_lifetime: float = option(
        0.0,
        help="Age at which a process is replaced, up to a tenth later. 0 = off.",
        unit="s",
        aliases=("--workers-lifetime",),
    )
    health_path: str = option(
        "",
        help="Path that the event loop itself answers with 200, also while every thread is busy. "
        "Empty = off.",
        metavar="PATH",
        check=lambda path: _is_probe(path),
        takes="a path such as /healthz",
    )
    ready_path: str = option(
        "",
        help="Like --health-path, but 503 while the process drains or --ready-max-wait is "
        "exceeded. Empty = off.",
        metavar="PATH",
        check=lambda path: _is_probe(path),
        takes="a path such as /readyz",
    )
    ready_max_wait: float = option(
        5.0,
        help="How long a request may have been waiting for a thread before --ready-path answers "
        "503.",
        unit="s",
    )

    # Bounds of one request
    limit_request_line: int = option(
        8190, help="Longest request line, then 414.", unit="bytes", minimum=1
    )
    limit_request_fields: int = option(100, help="Most header fields, then 431.", minimum=1)
    limit_request_field_size: int = option(
        8190,
        help="Longest header field, then 431.",
        unit="bytes",
        minimum=1,
        aliases=("--limit-request-field_size",),
    )
    max_header_size: int = option(
        64 * KIB,
        help="Largest request head, then 431.",
        unit="bytes",
        minimum=1,
        aliases=(
            "--h11-max-incomplete-event-size",
            "--max-request-header-size",
        ),
    )
    max_body_size: int = option(
        1 * GIB,
        help="Largest request body, then 413.",
        unit="bytes",
        aliases=("--max-request-body-size",),
        minimum=1,
    )

    # Buffers
    request_buffering: str = option(
        "full",
        help="full: a body is complete before the application is called; "
        "stream: the application reads it as it arrives.",
        choices=("full", "stream"),
    )
    spool_threshold: int = option(
        512 * KIB,
        help="Memory one request body may take before it goes to a temporary file.",
        unit="bytes",
        aliases=("--inbuf-overflow",),
    )
    response_buffer: int = option(
        1 * MIB,
        help="Memory one response may take when its client is slower than the application.",
        unit="bytes",
        minimum=1,
        aliases=("--outbuf-overflow",),
    )
    response_overflow: str = option(
        "spool",
        help="When that is full: spool to a temporary file, park the iteration and free its "
        "thread, or block the thread.",
        choices=("spool", "park", "block"),
    )
    spool_dir: str = option(
        "",
        help="Directory of the temporary files. Empty = the system's.",
        metavar="DIRECTORY",
        takes="a directory",
    )
    spool_limit: int = option(
        1 * GIB, help="Disk one request body (else 413) or one response may take.", unit="bytes"
    )
    max_spool_size: int = option(
        4 * GIB,
        help="Disk all temporary files may take; those of responses at most half of it.",
        unit="bytes",
    )
    max_buffer_size: int = option(
        256 * MIB,
        help="Memory all buffers may take; above it they go straight to disk.",
        unit="bytes",
        minimum=1,
    )

    # The rest
    parser: str = option(
        "auto",
        help="auto: plain request heads by the fast lane, the rest by h11; h11: all by h11.",
        choices=("auto", "h11"),
    )
    switch_interval: float = option(
        0.0005,
        help="How long a thread may hold the GIL while others wait (command line only). "
        "0 = as it is.",
        unit="s",
        maximum=10.0,
    )
    root_path: str = option(
        "",
        help="Path the application is mounted at: its SCRIPT_NAME.",
        aliases=("--url-prefix", "--url-path-prefix", "--script-name"),
        metavar="PATH",
        check=_is_root_path,
        takes='nothing ("") or an ASCII path that begins with / and does not end with it',
    )
    access_logfile: str = option(
        "",
        help="Access log: a file, or - for standard output. Empty = off.",
        metavar="FILE",
        takes="a file, or -",
    )
    error_logfile: str = option(
        "-",
        help="Log of the server and of the application's errors: a file, or - for standard error.",
        aliases=("--log-file",),
        metavar="FILE",
        check=bool,
        takes="a file, or -",
    )
    log_level: str = option(
        "info",
        help="Least severe message that is logged.",
        choices=("debug", "info", "warning", "error", "critical"),
    )

    def __post_init__(self) -> None:
        for spec in OPTIONS:
            # The dataclass is frozen; this is its one conversion, before anybody has seen it.
            object.__setattr__(self, spec.name, spec.parse(getattr(self, spec.name)))


OPTIONS: tuple[Option, ...] = tuple(
    dataclasses.replace(field.metadata["option"], name=field.name)
    for field in dataclasses.fields(Config)
)
"""Every option of :class:`Config`, in its order."""


def from_options(**options: Any) -> Config:
    """A Config from keyword options, as ``serve(app, **options)`` takes them.

    :raises ConfigError: for a wrong value, or for a name that is no option, with the nearest.
    """
    names = [spec.name for spec in OPTIONS]
    for name in options:
        if name not in names:
            raise ConfigError(f"No such option: {name}.{did_you_mean(name, names)}")
    return Config(**options)


def join_address(host: str | None, port: int) -> str:
    """A bind address from a host and a port; ``""``, ``"*"`` and None are all interfaces."""
    if host in ("", "*", None):
        return f":{port}"
    return f"[{host.strip('[]')}]:{port}" if ":" in host else f"{host}:{port}"


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`` Did you mean NAME?`` for the nearest of `names`, or nothing where none is near."""
    nearest = difflib.get_close_matches(name, list(names), n=1)
    return f" Did you mean {nearest[0]}?" if nearest else ""
