"""A WSGI server on an asyncio event loop: a slow client costs no thread.

The names below are the whole public interface; each is imported when it is first used.
"""

from ._imports import StandardFirst

with StandardFirst():
    from ._lazy import lazy_names
    from ._version import __version__

TYPE_CHECKING = False  # without an import of typing, see _imports
if TYPE_CHECKING:
    from . import sse
    from .applications.mounts import Mounts
    from .config.options import Config
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
    from .events import Observer
    from .launch.serving import serve
    from .logs.observer import LogObserver
    from .realtime.hooks import on_start
    from .realtime.live import live
    from .realtime.running import run
    from .realtime.spawning import spawn
    from .server.server import Server

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
    "live",
    "main",
    "on_start",
    "run",
    "serve",
    "spawn",
    "sse",
]

__getattr__, __dir__ = lazy_names(
    globals(),
    {
        "ApplicationError": "errors",
        "ClientDisconnected": "errors",
        "Config": "config.options",
        "ConfigError": "errors",
        "HTTPError": "errors",
        "LoadError": "errors",
        "LogObserver": "logs.observer",
        "Mounts": "applications.mounts",
        "Observer": "events",
        "RequestTimeout": "errors",
        "Server": "server.server",
        "StorageExhausted": "errors",
        "WsgiAsyncError": "errors",
        "live": "realtime.live",
        "main": "entry",
        "on_start": "realtime.hooks",
        "run": "realtime.running",
        "serve": "launch.serving",
        "spawn": "realtime.spawning",
        "sse": "sse",
    },
)
