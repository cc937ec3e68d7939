"""What the dashboard needs before there is an operations process: made in the parent, once.

Imported where ``--dashboard-bind`` is set only.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Iterable

from wsgi_async.config.options import Config
from wsgi_async.operations.admission import Admission, read_token
from wsgi_async.operations.dashboard import DashboardApplication
from wsgi_async.operations.history import History, steady_clock
from wsgi_async.scoreboard.board import Scoreboard

__all__ = ["Dashboard"]


class Dashboard:
    """*In the parent:* all of it, handed down by forks.

    :param config: the options at the start.
    :raises ConfigError: there is no token in the file that is to have it.
    """

    def __init__(self, config: Config) -> None:
        file = config.dashboard_token_file
        self._token = read_token(file) if file else b""
        self._secret = secrets.token_bytes(32)
        self.history = History()

    def admission(self, listeners: Iterable[socket.socket]) -> Admission:
        """*In the operations process:* who may see it.

        :param listeners: where it listens.
        """
        families = {socket.AF_INET: "{}", socket.AF_INET6: "[{}]"}
        bound = [
            families[sock.family].format(sock.getsockname()[0])
            for sock in listeners
            if sock.family in families
        ]
        return Admission(bound, self._token, self._secret)

    def look(self, board: Scoreboard, application: DashboardApplication) -> None:
        """*In the operations process, loop:* write the row of this second, if it is due."""
        now = steady_clock()
        if self.history.is_due(now):
            is_clock_set = self.history.write(board.read(), now, time.time())
            application.publish(is_clock_set=is_clock_set)
