"""What an event loop and threads cannot live with: a standard library made of greenlets."""

from __future__ import annotations

import sys

from wsgi_async.errors import ConfigError

__all__ = ["refuse_greenlets"]

_PATCHERS = (
    ("gevent.monkey", "is_module_patched", "gevent.monkey.patch_all()"),
    ("eventlet.patcher", "is_monkey_patched", "eventlet.monkey_patch()"),
)
_PARTS = ("threading", "thread", "select", "socket")
"""What they call the parts that matter; each knows some of these words."""


def refuse_greenlets() -> None:
    """Say so where gevent or eventlet has replaced threads and sockets: the server would listen
    and never answer. An application for gunicorn's gevent worker may do it, or its settings. *Any
    thread.*

    :raises ConfigError: they are replaced.
    """
    for module, question, culprit in _PATCHERS:
        is_patched = getattr(sys.modules.get(module), question, None)
        if is_patched is not None and any(map(is_patched, _PARTS)):
            raise ConfigError(
                f"{culprit} has replaced threads and sockets, which this server needs as they "
                "are: take that call out"
            )
