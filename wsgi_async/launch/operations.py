"""The operations process, as its parent has it: what shows how the server is, and has it steered.

It is no serving process: it has neither the application nor a socket of it, so that what is asked
there costs no client anything, and the death of either disturbs nobody. Its own sockets are the
parent's, which never accepts there: they outlive it, a reload, and each of its successors.

Imported where an option asks for one of its surfaces only (``config/surfaces.py``).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from wsgi_async.config.options import Config
from wsgi_async.config.surfaces import Surface
from wsgi_async.errors import ConfigError
from wsgi_async.operations.admission import read_token
from wsgi_async.operations.exposition import require_prometheus_client
from wsgi_async.operations.state import Facts
from wsgi_async.processes import Census, Channel
from wsgi_async.server.figures import SAMPLE_EVERY
from wsgi_async.server.in_flight import Occasions
from wsgi_async.system.sockets import BoundSocket, address_of, bind, close_all, hold, listen
from wsgi_async.system.user import Identity

from .handed import Handed
from .operations_process import OperationsProcess, sample
from .surfaces import SURFACES

__all__ = ["Operations", "check_operations"]


def check_operations(config: Config) -> None:
    """For ``--check-config``.

    :raises ConfigError: what a surface needs is not there.
    """
    if Surface.DASHBOARD in config.surfaces and config.dashboard_token_file:
        read_token(config.dashboard_token_file)
    for surface in config.surfaces:
        surface.address(getattr(config, surface.value))
    if Surface.METRICS in config.surfaces:
        require_prometheus_client()


class Operations:
    """*In the parent:* what the operations process is given, made before any process is forked.

    :param config: the options.
    :param name: what is served, in the operator's words.
    :param addresses: where.
    :raises ConfigError: an address cannot be had, or what a surface needs is not there.
    """

    def __init__(self, config: Config, name: str, addresses: tuple[str, ...]) -> None:
        check_operations(config)
        self._listeners: dict[Surface, list[BoundSocket]] = {}
        self._facts = Facts(os.getpid(), time.time(), name, addresses)
        self._starter = os.geteuid()
        self._samples = Occasions(SAMPLE_EVERY)
        try:
            for surface in config.surfaces:
                self._listeners[surface] = _bind(surface, config)
            self.handed = Handed(config)
        except BaseException as error:
            close_all(self.sockets)
            if isinstance(error, OSError):
                raise ConfigError(
                    f"no memory, or no descriptors, for the operations process: {error.strerror}"
                ) from None
            raise
        self._holding = hold(self.sockets)

    @property
    def sockets(self) -> list[BoundSocket]:
        """All of them."""
        return [sock for sockets in self._listeners.values() for sock in sockets]

    @property
    def files_to_give(self) -> list[str]:
        """Socket files that are to be ``--user``'s."""
        given = (surface for surface in self._listeners if SURFACES[surface].is_given_away)
        files = (sock.file for surface in given for sock in self._listeners[surface])
        return [file for file in files if file is not None]

    @property
    def announcements(self) -> list[str]:
        """Where its surfaces are found, for the log."""
        return [
            f"{SURFACES[surface].announcement} {', '.join(map(address_of, sockets))}"
            for surface, sockets in self._listeners.items()
        ]

    def take_census(self, census: Census) -> None:
        """Its fleet has changed, perhaps."""
        self.handed.take_census(census)
        if self._samples.take():  # each sign of life brings a census
            sample(self.handed.board.parent)

    def close(self) -> None:
        """Stop listening, and remove a socket file, where it is this process's. Harmless if
        repeated."""
        self._stop_listening()
        self.handed.close()

    def _stop_listening(self) -> None:
        close_all(self.sockets)
        self._holding.release()

    def leave(self) -> None:
        """*In another process of the server:* its sockets are none of this one's."""
        for sock in self.sockets:
            sock.disown_file()
        self._stop_listening()

    def run(
        self,
        config: Config,
        options: Callable[[], Mapping[str, Any]],
        identity: Identity | None,
        channel: Channel,
    ) -> int:
        """*In a process of its own:* serve until the parent has closed the channel, or is gone.

        :param config: the options in force.
        :param options: makes what is shown of them.
        :param identity: as whom to serve, if not as this one.
        """
        return OperationsProcess(
            config,
            self._listeners,
            self.handed,
            facts=self._facts,
            options=options(),
            starter=self._starter,
        ).run(identity, channel)


def _bind(surface: Surface, config: Config) -> list[BoundSocket]:
    """Its sockets; they listen."""
    address = surface.address(getattr(config, surface.value))
    is_control = surface is Surface.CONTROL
    mode = config.control_socket_mode if is_control else config.socket_mode
    sockets = bind([address], socket_mode=mode, flag=surface.flag)
    try:
        for sock in sockets:
            sock.asks_who = is_control
            if size := SURFACES[surface].send_buffer:  # of its connections too
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
            listen(sock, SURFACES[surface].connections)
    except ConfigError:
        close_all(sockets)
        raise
    return sockets
