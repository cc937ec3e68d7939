"""Every metric of the server, once. Names and units are as Prometheus has them: base units, and
``_total`` where it only ever grows.

A label's values are written down here, so no client can make one, and the figures of a server take
as much memory on its first day as on its last.
"""

from __future__ import annotations

import enum
import itertools
from typing import NamedTuple

__all__ = [
    "FLEET_STATES",
    "LIVE_ENDS",
    "METHODS",
    "METRICS",
    "OVERLOADS",
    "PROCESS",
    "PROCESS_STATES",
    "REFUSALS",
    "RELOAD_STATES",
    "RESTARTED",
    "STATUSES",
    "ConnectionKind",
    "Kind",
    "Label",
    "Metric",
    "ThreadKind",
]


class Kind(enum.Enum):
    """What becomes of the figures of several processes."""

    COUNTER = "counter"
    """They are added, those of processes that are gone too."""
    GAUGE = "gauge"
    """Each process that lives shows its own, by the label ``process``."""
    HISTOGRAM = "histogram"
    """As a counter. How many there were is the sum of the buckets, and nowhere else."""


class Label(NamedTuple):
    """A label, and all the values it may have."""

    name: str
    values: tuple[str, ...]


class Metric(NamedTuple):
    """One metric."""

    name: str
    kind: Kind
    help: str
    """One sentence, without Markdown."""
    labels: tuple[Label, ...] = ()
    """Without ``process``, and without ``le`` of a histogram."""
    bounds: tuple[float, ...] = ()
    """Of a histogram: the upper bounds of its buckets but the last, which has none."""

    @property
    def unit(self) -> str:
        """The base unit in its name, or an empty string: what is counted has none."""
        name = self.name.removesuffix("_total")
        return next((unit for unit in _UNITS if name.endswith(f"_{unit}")), "")

    @property
    def series(self) -> list[tuple[str, ...]]:
        """All combinations of values of its labels, in the order of the memory."""
        return list(itertools.product(*(label.values for label in self.labels)))


_UNITS = ("seconds", "bytes")

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other")
"""Methods by name; any other one is ``other``, and so is that of a head that cannot be read."""

STATUSES = ("1xx", "2xx", "3xx", "4xx", "5xx")

REFUSALS = {
    400: "bad_request",
    408: "client_too_slow",
    413: "body_too_large",
    414: "target_too_long",
    417: "expectation",
    421: "host_unknown",
    431: "fields_too_large",
    501: "not_implemented",
    503: "overloaded",
    504: "application_late",
    505: "http_version",
    507: "no_storage",
}
"""Why the server answers a request itself, by the status that it gives."""

LIVE_ENDS = ("ended", "left", "error", "timeout", "stopped")
"""Why an asynchronous body has ended: the values of ``realtime.body_states.End``."""

OVERLOADS = ("queue_full", "queue_timeout", "connections_full", "buffers_full", "live_full")
"""What is full where the status is 503: the names of ``errors.Overload``, which knows nothing of
this. One that is for another reason is as :data:`REFUSALS` says."""

OTHER = "other"

PROCESS = "process"
"""The label that each gauge has as well: whose it is, by the number of a process, or ``parent`` or
``operations``. It is not the system's: that would make a new series with each restart."""


class ThreadKind(enum.Enum):
    """What a thread of the pool does."""

    BUSY = "busy"
    IDLE = "idle"
    ASIDE = "aside"
    LOST = "lost"


class ConnectionKind(enum.Enum):
    """What a connection waits for."""

    NEW = "new"
    HEAD = "head"
    BUSY = "busy"
    IDLE = "idle"
    LINGERING = "lingering"


RESTARTED = (
    *("died", "not_started", "boot_timeout", "loop_blocked", "requests_stalled"),
    *("max_requests", "lifetime", "threads_lost", "signal", OTHER),
)
"""Why a process is replaced: the words of ``processes/states.py``, which knows nothing of this."""

FLEET_STATES = ("starting", "up", "stopping")
"""Where the processes stand as a whole, likewise."""

RELOAD_STATES = ("none", "under_way", "failed")
"""What there is of a reload, likewise."""

PROCESS_STATES = ("booting", "ready", "retiring", "leaving", "doomed")
"""Where a process stands, likewise."""

_TIMES = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Seconds, from what costs nothing to what nobody waits for."""


def _values(kind: type[enum.Enum]) -> tuple[str, ...]:
    return tuple(member.value for member in kind)


# --- Traffic

REQUESTS = Metric(
    "wsgi_async_requests_total",
    Kind.COUNTER,
    "Requests that were answered, refused or given up, by method and class of status; a client "
    "that left before there was one counts as 4xx.",
    (Label("method", METHODS), Label("status", STATUSES)),
)
REFUSED = Metric(
    "wsgi_async_refusals_total",
    Kind.COUNTER,
    "Requests that the server itself answered with an error, by reason.",
    (Label("reason", (*REFUSALS.values(), *OVERLOADS, OTHER)),),
)
RECEIVED = Metric(
    "wsgi_async_request_body_bytes_total",
    Kind.COUNTER,
    "Bytes of the bodies of requests that came, without framing.",
)
SENT = Metric(
    "wsgi_async_response_body_bytes_total",
    Kind.COUNTER,
    "Bytes of the bodies of responses that were handed to the transport, without framing.",
)
CUT = Metric(
    "wsgi_async_responses_cut_total",
    Kind.COUNTER,
    "Responses that were not complete: the application failed, or the client has gone.",
)
SPOOLED = Metric(
    "wsgi_async_requests_spooled_total",
    Kind.COUNTER,
    "Requests that were on a disk in part, on their way in or out.",
)
PARKED = Metric(
    "wsgi_async_requests_parked_total",
    Kind.COUNTER,
    "Requests whose response was suspended until its client had taken more of it.",
)
GIVEN_UP = Metric(
    "wsgi_async_requests_given_up_total",
    Kind.COUNTER,
    "Requests whose application was later than --request-timeout.",
)
DROPPED = Metric(
    "wsgi_async_connections_dropped_total",
    Kind.COUNTER,
    "Connections that the server gave up: clients that stalled or were too slow, responses that "
    "were cut.",
)

# --- Where the time goes

DURATION = Metric(
    "wsgi_async_request_duration_seconds",
    Kind.HISTOGRAM,
    "Time from the complete head of a request to the end of its response, or to the first chunk of "
    "an asynchronous body, which is meant to last.",
    bounds=_TIMES,
)
QUEUE = Metric(
    "wsgi_async_request_queue_seconds",
    Kind.HISTOGRAM,
    "Time that a complete request waited for a thread.",
    bounds=_TIMES,
)
APPLICATION = Metric(
    "wsgi_async_request_application_seconds",
    Kind.HISTOGRAM,
    "Time that a request had a thread.",
    bounds=_TIMES,
)
CPU = Metric(
    "wsgi_async_request_cpu_seconds",
    Kind.HISTOGRAM,
    "Processor time that the thread of a request took for it.",
    bounds=_TIMES,
)

LIVE_ENDED = Metric(
    "wsgi_async_live_responses_ended_total",
    Kind.COUNTER,
    "Responses with an asynchronous body that have ended, by why: at their end, as their client "
    "left, by an error, by a time limit, or with the server.",
    (Label("end", LIVE_ENDS),),
)

# --- How full it is

IN_FLIGHT = Metric(
    "wsgi_async_requests_in_flight",
    Kind.GAUGE,
    "Requests that are with the application, wait for a thread, or are being sent.",
)
LIVE = Metric(
    "wsgi_async_live_responses",
    Kind.GAUGE,
    "Responses with an asynchronous body, which hold no thread.",
)
THREADS = Metric(
    "wsgi_async_threads",
    Kind.GAUGE,
    "Threads of the pool: at work, idle, aside (they wait for a client, and another one has their "
    "place), or lost in the application.",
    (Label("state", _values(ThreadKind)),),
)
QUEUED = Metric(
    "wsgi_async_queue_length",
    Kind.GAUGE,
    "Requests and resumed responses that wait for a thread.",
)
OLDEST_WAIT = Metric(
    "wsgi_async_queue_oldest_wait_seconds",
    Kind.GAUGE,
    "For how long the oldest of the waiting requests has waited.",
)
LOOP_BLOCKED = Metric(
    "wsgi_async_application_loop_blocked_seconds",
    Kind.GAUGE,
    "For how long code of the application has kept the application loop from everything else; 0 "
    "where it does not.",
)
LOOP_BLOCKS = Metric(
    "wsgi_async_application_loop_blocks_total",
    Kind.COUNTER,
    "How often code of the application has kept the application loop from everything else.",
)
CONNECTIONS = Metric(
    "wsgi_async_connections",
    Kind.GAUGE,
    "Open connections: new (nothing came), head (a head or a handshake has begun), busy (with a "
    "request or its response), idle (between two), or lingering (all is sent).",
    (Label("state", _values(ConnectionKind)),),
)
CONNECTIONS_LIMIT = Metric(
    "wsgi_async_connections_limit",
    Kind.GAUGE,
    "Open connections at most.",
)
BUFFERED = Metric(
    "wsgi_async_buffer_bytes",
    Kind.GAUGE,
    "Bytes of bodies that are held in memory.",
)
BUFFER_LIMIT = Metric(
    "wsgi_async_buffer_limit_bytes",
    Kind.GAUGE,
    "Bytes of bodies that may be held in memory (--max-buffer-size).",
)
SPOOL = Metric(
    "wsgi_async_spool_bytes",
    Kind.GAUGE,
    "Bytes of bodies that are held on disk.",
)
SPOOL_LIMIT = Metric(
    "wsgi_async_spool_limit_bytes",
    Kind.GAUGE,
    "Bytes of bodies that may be held on disk (--max-spool-size).",
)
SPOOL_FILES = Metric(
    "wsgi_async_spool_files",
    Kind.GAUGE,
    "Temporary files, and files that are being sent.",
)
SPOOL_FILES_LIMIT = Metric(
    "wsgi_async_spool_files_limit",
    Kind.GAUGE,
    "How many there may be.",
)

# --- Processes

UP = Metric(
    "wsgi_async_process_up",
    Kind.GAUGE,
    "1 for each process that lives.",
)
STARTED = Metric(
    "wsgi_async_process_start_time_seconds",
    Kind.GAUGE,
    "When it began to count, in seconds since 1970.",
)
MEMORY = Metric(
    "wsgi_async_process_resident_memory_bytes",
    Kind.GAUGE,
    "Memory that a process has, as the system counts it (RSS).",
)
FILES = Metric(
    "wsgi_async_process_open_fds",
    Kind.GAUGE,
    "File descriptors that a process has open.",
)
TLS_EXPIRY = Metric(
    "wsgi_async_tls_certificate_expiry_timestamp_seconds",
    Kind.GAUGE,
    "When the first of the certificates that a process shows ends, in seconds since 1970.",
)
LOG_DROPPED = Metric(
    "wsgi_async_log_lines_dropped_total",
    Kind.COUNTER,
    "Lines of the logs that were dropped, because nobody took them.",
)
WANTED = Metric(
    "wsgi_async_processes_wanted",
    Kind.GAUGE,
    "How many processes are to serve.",
)
READY = Metric(
    "wsgi_async_processes_ready",
    Kind.GAUGE,
    "How many processes accept connections, and are not to leave.",
)
FLEET = Metric(
    "wsgi_async_fleet_state",
    Kind.GAUGE,
    "1 for the state of the processes as a whole: starting (not all of the first have been ready), "
    "up, or stopping.",
    (Label("state", FLEET_STATES),),
)
RESTARTS = Metric(
    "wsgi_async_process_restarts_total",
    Kind.COUNTER,
    "Processes that were to be replaced, by reason; those of a reload are not among them.",
    (Label("reason", RESTARTED),),
)
RELOADS = Metric(
    "wsgi_async_reloads_total",
    Kind.COUNTER,
    "Reloads that were begun, by who asked for them.",
    (Label("reason", ("signal", "files", "control")),),
)
RELOADS_FAILED = Metric(
    "wsgi_async_reloads_failed_total",
    Kind.COUNTER,
    "Reloads that were given up.",
)
OPERATIONS_RESTARTS = Metric(
    "wsgi_async_operations_restarts_total",
    Kind.COUNTER,
    "How often the operations process, which serves the metrics, was started again.",
)

METRICS: tuple[Metric, ...] = (
    *(REQUESTS, REFUSED, RECEIVED, SENT, CUT, SPOOLED, PARKED, GIVEN_UP, DROPPED),
    LIVE_ENDED,
    *(DURATION, QUEUE, APPLICATION, CPU),
    *(IN_FLIGHT, LIVE, THREADS, QUEUED, OLDEST_WAIT, CONNECTIONS, CONNECTIONS_LIMIT),
    *(LOOP_BLOCKED, LOOP_BLOCKS),
    *(BUFFERED, BUFFER_LIMIT, SPOOL, SPOOL_LIMIT, SPOOL_FILES, SPOOL_FILES_LIMIT),
    *(UP, STARTED, MEMORY, FILES, TLS_EXPIRY, LOG_DROPPED),
    *(WANTED, READY, FLEET, RESTARTS, RELOADS, RELOADS_FAILED, OPERATIONS_RESTARTS),
)
"""All of them, in the order in which they are shown and lie in memory."""
