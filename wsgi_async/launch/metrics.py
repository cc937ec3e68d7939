"""What is sent to statsd where options say so: made in the parent, and followed by each process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsgi_async.config.options import Config
from wsgi_async.logs.measures import measure

if TYPE_CHECKING:
    from wsgi_async.operations.statsd import Statsd

__all__ = ["Outlets", "check_statsd", "make_statsd"]


def make_statsd(config: Config) -> Statsd | None:
    """The way to ``--statsd-host``, looked up: a name that cannot be is a warning, as nobody is to
    be without the site for want of its figures. None where there is no such option, and nothing is
    imported.

    :param config: names files so that they mean the same in any directory.
    """
    if not config.statsd_host:
        return None
    from wsgi_async.operations.statsd import Statsd

    statsd = Statsd(config.statsd_host, prefix=config.statsd_prefix, tags=config.dogstatsd_tags)
    if statsd.is_to_be_looked_up:
        statsd.look_up()
        statsd.adopt()
    return statsd


def check_statsd(config: Config) -> None:
    """Look for it without serving: for ``--check-config``. That it cannot be found is a warning."""
    statsd = make_statsd(config)
    if statsd is not None:
        statsd.close()


class Outlets:
    """*In the parent:* the statsd of one reload after the other. That of equal options is the same
    object: a name is looked up again by the processes, in a thread, and not by the parent, which
    has none and may not wait."""

    def __init__(self) -> None:
        self._statsd: Statsd | None = None
        self._all: list[Statsd] = []
        self._options = ("", "", "")

    def of(self, config: Config) -> Statsd | None:
        """The statsd of these options."""
        options = config.statsd_host, config.statsd_prefix, config.dogstatsd_tags
        if options != self._options:
            self._options, self._statsd = options, make_statsd(config)
            if self._statsd is not None:
                self._all.append(self._statsd)  # a former one's processes may come again
        return self._statsd

    def close(self) -> None:
        """*In any process, as it ends:* close all of them."""
        measure(None)
        for statsd in self._all:
            statsd.close()
