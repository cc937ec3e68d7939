"""A WSGI server on an asyncio event loop: a slow client costs no thread.

The names below are the whole public interface; each is imported when it is first used.
"""

from ._imports import StandardFirst

with StandardFirst():
    from ._lazy import lazy_names
    from ._version import __version__

TYPE_CHECKING = False  # without an import of typing, see _imports
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

__getattr__, __dir__ = lazy_names(
    globals(),
    {
        "ApplicationError": "errors",
        "ClientDisconnected": "errors",
        "Config": "config",
        "ConfigError": "errors",
        "HTTPError": "errors",
        "LoadError": "errors",
        "LogObserver": "logs",
        "Mounts": "mounts",
        "Observer": "observer",
        "RequestTimeout": "errors",
        "Server": "server",
        "StorageExhausted": "errors",
        "WsgiAsyncError": "errors",
        "main": "entry",
        "serve": "run",
    },
)
