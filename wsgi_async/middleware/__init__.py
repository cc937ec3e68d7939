"""Middleware: applications around an application (PEP 3333, "Middleware").

================== ===============================================================================
AccessLog          one line for each response, after its last byte
BasicAuth          asks for a user and a password (RFC 7617)
CORS               lets pages of other origins read the responses (the Fetch standard)
Errors             a page for an exception; :func:`debugging`: one with its traceback
HTTPExceptions     ``raise HTTPException(404)`` becomes a page
HealthChecks       one path that says whether what the application needs is there
Pooled             connections of a bounded :class:`ConnectionPool`
RequestId          one name for a request in every log
================== ===============================================================================

Each is called with the application and its own options, ``AccessLog(application)``, and returns an
application, so ``--middleware wsgi_async.middleware:AccessLog`` will do where the defaults will.
They keep to PEP 3333, so any server can run them, and they are transparent: a chunk is passed on
before the next one is asked for; lists, and files for ``wsgi.file_wrapper``, stay what they are, so
that the server still counts or sends them by itself; ``close()``, ``exc_info`` and ``write()`` work
as without them. One that answers by itself leaves the request's body unread.

An order that makes sense, the outermost first::

    AccessLog(RequestId(CORS(Errors(HealthChecks(BasicAuth(HTTPExceptions(application)))))))

The names below are imported when they are first used.

Runs on: pool threads (``HealthChecks`` runs its checks in threads of its own).

May import: errors, events, http, logs, system, wsgi.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsgi_async._lazy import lazy_names

if TYPE_CHECKING:
    from .access import AccessLog
    from .basicauth import BasicAuth
    from .connectionpool import ConnectionPool, Loan, Pooled, PoolExhausted
    from .cors import CORS
    from .errors import Errors, debugging
    from .healthchecks import Check, HealthChecks
    from .httpexceptions import HTTPException, HTTPExceptions
    from .requestid import RequestId

__all__ = [
    "CORS",
    "AccessLog",
    "BasicAuth",
    "Check",
    "ConnectionPool",
    "Errors",
    "HTTPException",
    "HTTPExceptions",
    "HealthChecks",
    "Loan",
    "PoolExhausted",
    "Pooled",
    "RequestId",
    "debugging",
]

__getattr__, __dir__ = lazy_names(
    globals(),
    {
        "CORS": "cors",
        "AccessLog": "access",
        "BasicAuth": "basicauth",
        "Check": "healthchecks",
        "ConnectionPool": "connectionpool",
        "Errors": "errors",
        "HTTPException": "httpexceptions",
        "HTTPExceptions": "httpexceptions",
        "HealthChecks": "healthchecks",
        "Loan": "connectionpool",
        "PoolExhausted": "connectionpool",
        "Pooled": "connectionpool",
        "RequestId": "requestid",
        "debugging": "errors",
    },
)
