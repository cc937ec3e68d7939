"""The part of a request's environ that is the server's, once for each local address."""

from __future__ import annotations

from functools import lru_cache

from wsgi_async.config.options import Config
from wsgi_async.wsgi.environ import server_variables
from wsgi_async.wsgi.file_wrapper import FileWrapper

__all__ = ["ServerVariables"]


class ServerVariables:
    """What the requests to an address find in their environ.

    :param config: the options.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        # One dict for all connections to an address that are encrypted alike: a kilobyte less for
        # each.
        self.at = lru_cache(maxsize=256)(self._at)
        """*Loop:* those of a local address, with what a handshake has told; not to be changed."""

    def _at(self, local: object, tls: tuple[tuple[str, object], ...] = ()) -> dict[str, object]:
        config = self._config
        return server_variables(
            local,
            root_path=config.root_path,
            scheme="https" if tls else "http",
            threads=config.threads,
            file_wrapper=FileWrapper,
            processes=config.workers,
        ) | dict(tls)
