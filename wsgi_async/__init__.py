"""A WSGI server on an asyncio event loop: a slow client costs no thread.

The names below are the whole public interface; each is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .config import Config
    from .entry import main
    from .errors import (
        ApplicationError,
        ClientDisconnected,
        ConfigError,
        HTTPError,
        LoadError,
        RequestTimeout,
        StorageExhausted,
        WsgiAsyncError,
    )
    from .logs import LogObserver
    from .mounts import Mounts
    from .observer import Observer
    from .run import serve
    from .server import Server

__all__ = [
    "ApplicationError",
    "ClientDisconnected",
    "Config",
    "ConfigError",
    "HTTPError",
    "LoadError",
    "LogObserver",
    "Mounts",
    "Observer",
    "RequestTimeout",
    "Server",
    "StorageExhausted",
    "WsgiAsyncError",
    "__version__",
    "main",
    "serve",
]

_HOMES = {
    "Config": "config",
    "LogObserver": "logs",
    "Mounts": "mounts",
    "Observer": "observer",
    "Server": "server",
    "main": "entry",
    "serve": "run",
}


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES.get(name, 'errors')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
