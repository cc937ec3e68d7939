"""What is in force after a reload that could not be, or not as a whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from wsgi_async.config.hooks import Hooks
from wsgi_async.config.sources import Settings, gather
from wsgi_async.errors import ConfigError
from wsgi_async.events import Observer
from wsgi_async.launch.program import ServerProgram
from wsgi_async.launch.reloading import Reloading, fixed_at_start


class Following(Hooks):
    def __init__(self) -> None:
        self.followed: list[Hooks] = []

    def follow(self, former: Hooks) -> None:
        self.followed.append(former)


def program(**config: Any) -> ServerProgram:
    options = {"error_logfile": "-", "access_logfile": "", "log_level": "info"}
    options |= {"access_logformat": "combined", "certfile": ()}
    options |= {"log_format": "text", "log_config": "", "log_syslog_to": ""}
    whole = SimpleNamespace(
        config=SimpleNamespace(**(options | config)),
        fixed={},
        statsd=None,
        hooks=Following(),
        configures_logs=True,
        directory="",
    )
    return cast("ServerProgram", whole)


def read(**options: object) -> Settings:
    return gather(options, parse=lambda words: {}, environ={})


def test_a_log_that_cannot_be_opened_leaves_the_former_program_in_force() -> None:
    former, wrong = program(), program(access_logfile="/dev/null/no-such-file")
    reloading = Reloading(former, lambda: wrong, Observer(), None)
    with pytest.raises(ConfigError, match="--access-logfile"):
        reloading.next()
    assert reloading.program is former
    assert cast("Following", wrong.hooks).followed == []


@pytest.mark.parametrize(("before", "after"), [((), ("a.pem",)), (("a.pem",), ())])
def test_tls_neither_comes_nor_goes_by_a_reload(before: object, after: object) -> None:
    """The sockets are what they are: clients would get plain bytes for TLS, or nothing."""
    former, wrong = program(certfile=before), program(certfile=after)
    reloading = Reloading(former, lambda: wrong, Observer(), None)
    with pytest.raises(ConfigError, match=r"--certfile cannot come or go"):
        reloading.next()
    assert reloading.program is former


def test_a_reload_may_name_other_certificates() -> None:
    after = program(certfile=("b.pem", "c.pem"))
    after.configures_logs = False
    reloading = Reloading(program(certfile=("a.pem",)), lambda: after, Observer(), None)
    assert reloading.next() is after


class Heard(Observer):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, message: str) -> None:
        self.warnings.append(message)


def test_what_a_reload_cannot_change_is_said() -> None:
    # An operator who has edited the file would else believe that it is in force.
    before = read(bind=["127.0.0.1:8001"], threads=2)
    after = read(bind=["127.0.0.1:8002"], threads=3, backlog=7, socket_mode="600", pid="/p")
    programs = [program(), program(), program()]
    for each, settings in zip(programs, (before, after, before), strict=True):
        each.fixed = fixed_at_start(settings)
        each.configures_logs = False
    first, second, third = programs
    observer = Heard()
    coming = iter((second, third))
    reloading = Reloading(first, lambda: next(coming), observer, None)
    reloading.next()
    assert observer.warnings == [
        f"--{name} has changed: that takes effect at the next start"
        for name in ("bind", "backlog", "socket-mode", "pid")
    ]
    observer.warnings.clear()
    reloading.next()  # as it was at the start: nothing is amiss
    assert observer.warnings == []
