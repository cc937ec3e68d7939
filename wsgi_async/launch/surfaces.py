"""The surfaces of the operations process: of each, what is served there, and within which bounds.

Each has a server of its own, with threads and connections of its own, so that who looks at one can
take nothing from who asks at another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from wsgi_async.config.options import Config
from wsgi_async.config.surfaces import Surface
from wsgi_async.operations.application import HEALTHY, SCRAPES, OperationsApplication
from wsgi_async.operations.asking import Asking
from wsgi_async.operations.control import ControlApplication, Steering, interrupt
from wsgi_async.operations.dashboard import DashboardApplication, Shown
from wsgi_async.operations.json_pages import Asked, Pages
from wsgi_async.operations.profiles import Profiles
from wsgi_async.operations.questions import Questions
from wsgi_async.operations.state import Facts, state
from wsgi_async.processes import MOST_PROCESSES
from wsgi_async.server.descriptors import plan_descriptors
from wsgi_async.system.sockets import BoundSocket
from wsgi_async.wsgi.types import Application

from .handed import Handed

__all__ = ["LOOK_EVERY", "SURFACES", "Given", "Served", "Terms", "server_options"]


LOOK_EVERY = 0.25
"""Seconds between two looks at what there is to show."""


class Given(NamedTuple):
    """*In the operations process:* what an application is made of."""

    config: Config
    """The options in force."""
    handed: Handed
    facts: Facts
    options: Mapping[str, Any]
    """The options as they are shown, with where they come from."""
    starter: int
    """As whom the server was started: a uid."""
    asking: Asking
    """Asks the processes that serve. *Any thread.*"""
    say: Callable[[str, str], bool]
    """Sends the parent a word, and what stands behind it. *Any thread.*"""
    note: Callable[[str], object]
    """Logs a line. *Any thread.*"""
    warn: Callable[[str], object]
    """Likewise, what is doubtful."""
    own_error: Callable[[BaseException], object]
    """Likewise, what is the server's own fault."""
    listeners: Mapping[Surface, Sequence[BoundSocket]]
    """The sockets of each surface."""

    @property
    def questions(self) -> Questions:
        """To the processes that serve. *Any thread.*"""
        handed = self.handed
        return Questions(self.asking, handed.register.processes, handed.log_level)

    def state(self) -> dict[str, Any]:
        """How the server is. *Any thread.*"""
        return state(self.handed.board, self.handed.register, self.facts)


class Served(NamedTuple):
    """An application, and what is to be done at its end, when nobody runs it any more."""

    application: Application
    close: Callable[[], object] = lambda: None
    retire: Callable[[], object] = lambda: None
    """*Loop:* called before its server stops: whoever waits in it for what will come is to go."""
    look: Callable[[], object] = lambda: None
    """*Loop:* called every :data:`LOOK_EVERY` while it serves; returns at once."""


class Terms(NamedTuple):
    """What there is to know of a surface."""

    announcement: str
    """Said in the log, before its addresses."""
    make: Callable[[Given], Served]
    bounds: Mapping[str, Any]
    """Options of its server that are not those of all of them."""
    send_buffer: int = 0
    """Bytes of a connection's buffer in the system, so that who takes nothing is noticed soon; 0:
    the system's own."""
    connections: int = 64
    """At once, where there are descriptors for so many; and so many wait, as at a restart of the
    process."""
    is_given_away: bool = True
    """Whether a socket file becomes ``--user``'s, who serves."""


def _metrics(given: Given) -> Served:
    assert given.handed.application is not None
    collector = given.handed.application.collector(given.asking, given.warn)
    return Served(OperationsApplication(given.handed.board, collector))


def _control(given: Given) -> Served:
    journal = given.handed.journal
    assert journal is not None

    def errors(asked: Asked) -> dict[str, Any]:
        return {"errors": journal.entries(), "lost": journal.lost}

    application = ControlApplication(
        given.state,
        _steering(given),
        lambda: given.options,
        given.questions,
        Profiles(given.questions),
        uids={0, given.starter},
        more={"/errors": {"GET": errors}},
    )
    return Served(application, look=journal.collect)


def _dashboard(given: Given) -> Served:
    journal, dashboard = given.handed.journal, given.handed.dashboard
    assert journal is not None
    assert dashboard is not None
    steering, questions, who = _steering(given), given.questions, "Asked on --dashboard-bind"
    actions: Pages = {
        "/reload": {"POST": lambda asked: steering.reload(who)},
        "/scale": {"POST": lambda asked: steering.scale(asked, who)},
        "/interrupt": {"POST": steering.noted(partial(interrupt, questions), lambda asked: who)},
    }
    application = DashboardApplication(
        Shown(
            given.state,
            dashboard.history,
            journal,
            lambda stacks: questions.requests(stacks=stacks),
        ),
        dashboard.admission(given.listeners[Surface.DASHBOARD]),
        actions,
        shows_queries=given.config.dashboard_show_queries,
        own_error=given.own_error,
    )

    def look() -> None:
        journal.collect()
        dashboard.look(given.handed.board, application)

    return Served(application, retire=application.close, look=look)


def _steering(given: Given) -> Steering:
    return Steering(given.state, given.say, MOST_PROCESSES, given.note)


SURFACES: dict[Surface, Terms] = {
    Surface.METRICS: Terms(
        "Metrics and probes of the server are served on",
        _metrics,
        {"threads": SCRAPES + 2, "health_path": HEALTHY, "max_body_size": 1},
    ),
    Surface.CONTROL: Terms(
        "The server can be asked and steered on",
        _control,
        # Some requests may hold a thread for a minute.
        {"threads": 16, "max_body_size": 65536},
        connections=256,
        is_given_away=False,
    ),
    Surface.DASHBOARD: Terms(
        "The dashboard is served on",
        _dashboard,
        # What is asked for is there already: many may wait for a moment. Who watches has no thread.
        {
            "threads": 8,
            "queue_size": 2048,
            "max_body_size": 4096,
            "send_timeout": 5.0,
            "live_grace": 1.0,
        },
        send_buffer=8192,
        connections=2048,
    ),
}


def server_options(surface: Surface, count: int, spool_dir: str) -> Config:
    """How it serves: small bounds, for nobody needs more.

    :param count: how many surfaces share the descriptors.
    :param spool_dir: where temporary files may be.
    """
    possible = plan_descriptors(os.sysconf("SC_OPEN_MAX"), max_connections=0).connections
    terms = SURFACES[surface]
    options = {
        "queue_size": 64,
        "queue_timeout": 10.0,
        "max_connections": min(terms.connections, max(1, possible // count)),
        "header_timeout": 5.0,
        "body_timeout": 5.0,
        "send_timeout": 10.0,
        "backlog": terms.connections,
        "max_header_size": 16384,
        "response_overflow": "park",
        "spool_dir": spool_dir,
        "graceful_timeout": 1.5,
        "forwarded_allow_ips": (),
        "server_header": False,
        **terms.bounds,
    }
    return Config(**options)
