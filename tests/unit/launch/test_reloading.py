"""What is in force after a reload that could not be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from wsgi_async.config.hooks import Hooks
from wsgi_async.errors import ConfigError
from wsgi_async.events import Observer
from wsgi_async.launch.program import ServerProgram
from wsgi_async.launch.reloading import Reloading


class Following(Hooks):
    def __init__(self) -> None:
        self.followed: list[Hooks] = []

    def follow(self, former: Hooks) -> None:
        self.followed.append(former)


def program(**config: Any) -> ServerProgram:
    options = {"bind": (), "error_logfile": "-", "access_logfile": "", "log_level": "info"}
    whole = SimpleNamespace(
        config=SimpleNamespace(**(options | config)), hooks=Following(), configures_logs=True
    )
    return cast("ServerProgram", whole)


def test_a_log_that_cannot_be_opened_leaves_the_former_program_in_force() -> None:
    former, wrong = program(), program(access_logfile="/dev/null/no-such-file")
    reloading = Reloading(former, lambda: wrong, Observer(), None)
    with pytest.raises(ConfigError, match="--access-logfile"):
        reloading.next()
    assert reloading.program is former
    assert cast("Following", wrong.hooks).followed == []
