"""What other servers' command lines have: those of gunicorn, uvicorn, waitress, granian, hypercorn
and uWSGI.

Where there is an option for it here, their spelling is an alias of that option, in
:mod:`~wsgi_async.config.options`. Here are the others.
"""

from __future__ import annotations

__all__ = [
    "ABSENT",
    "FULFILLED_FLAGS",
    "IGNORED",
    "IGNORED_FLAGS",
    "UVICORN_HTTP",
    "WORKER_CLASSES",
    "absence",
]

_CLASS_NAMES = (
    "sync gthread gevent gevent_wsgi gevent_pywsgi eventlet tornado asgi meinheld "
    "egg:meinheld#gunicorn_worker uvicorn.workers.UvicornWorker "
    "uvicorn.workers.UvicornH11Worker uvicorn_worker.UvicornWorker asyncio uvloop trio"
)
WORKER_CLASSES = frozenset(_CLASS_NAMES.split())
"""What ``-k`` is known to be followed by."""

IGNORED: tuple[str, ...] = (
    # gunicorn
    "--worker-tmp-dir",
    "--reload-engine",
    "-n",
    "--name",
    # uvicorn
    "--loop",
    "--ws",
    "--lifespan",
    "--interface",
    # waitress
    "--asyncore-loop-timeout",
    "--asyncore-use-poll",
    "--cleanup-interval",
    "--recv-bytes",
    "--send-bytes",
    # granian
    "--blocking-threads-idle-timeout",
    "--metrics-scrape-interval",
    "--process-name",
    "--respawn-interval",
    "--runtime-blocking-threads",
    "--runtime-mode",
    "--runtime-threads",
    "--task-impl",
    "--websockets",
    # uWSGI
    "--plugin",
    "--plugins",
)
"""Options with a value that say how another server is to do its work."""

IGNORED_FLAGS: tuple[str, ...] = (
    "--capture-output",
    "--clear-untrusted-proxy-headers",
    "--disable-redirect-access-to-syslog",
    "--do-handshake-on-connect",
    "-R",
    "--enable-stdio-inheritance",
    "--initgroups",
    "--no-sendfile",
    "--log-socket-errors",
    "--no-log-socket-errors",
    "--log-untrusted-proxy-headers",
    "--no-log-untrusted-proxy-headers",
    "--respawn-failed-workers",
    "--suppress-ragged-eofs",
    "--no-respawn-failed-workers",
    "--no-ws",
    "--use-colors",
    "--no-use-colors",
)
"""Likewise, without a value."""

FULFILLED_FLAGS: tuple[str, ...] = (
    # uWSGI
    "--die-on-term",
    "--enable-threads",
    "--lazy-apps",
    "--manage-script-name",
    "--master",
    "-M",
    "--need-app",
    "--no-orphans",
    "--single-interpreter",
    "--thunder-lock",
    "--vacuum",
)
"""What they ask for is done anyway, so that nothing is said of them."""

UVICORN_HTTP = frozenset({"auto", "h11", "httptools"})
"""What follows uvicorn's ``--http``, which names a parser; uWSGI's names an address."""

ABSENT: dict[str, str] = {
    # gunicorn
    "--enable-backlog-metric": "what waits in the kernel is taken within milliseconds here, and "
    "waits for a thread: see wsgi_async.request.queue of --statsd-host",
    "--logger-class": "",
    "--reuse-port": "the processes share their sockets",
    "--spew": "",
    # uvicorn
    "--date-header": "Date is always sent",
    "--limit-concurrency": "see --threads, --queue-size and --max-connections",
    "--no-date-header": "Date is always sent",
    "--reload-delay": "",
    "--reload-exclude": "name what is to be watched by --reload-dir",
    # waitress
    "--no-clear-untrusted-proxy-headers": "once --forwarded-allow-ips is set, the application sees "
    "no X-Forwarded fields but those of the proxies that it names",
    "--trusted-proxy-count": "the client is whom the last of the proxies in --forwarded-allow-ips "
    "has seen: name each of them there",
    "--url-scheme": "wsgi.url_scheme is https where a proxy in --forwarded-allow-ips sends "
    "X-Forwarded-Proto: https",
    # granian
    "--access-log-fmt": "write --access-logformat, with gunicorn's names: %(h)s for %(addr)s, "
    "%(r)s for method, path and protocol, %(L)s for the duration; see --guide logging",
    "--backpressure": "see --queue-size",
    "--http1-header-read-timeout": "see --header-timeout",
    "--http1-keep-alive": "see --keep-alive",
    "--ssl-crl": "lists of revoked certificates are not looked at; give clients certificates that "
    "do not live long, or let the application judge SSL_CLIENT_CERT",
    "--workers-max-rss": "see --max-requests and --worker-lifetime",
    # hypercorn
    "--insecure-bind": "write --bind http://ADDRESS",
    "--verify-flags": "",
    # uWSGI
    "--buffer-size": "see --max-header-size, --limit-request-line and --limit-request-field-size",
    "--cheaper": "write the number of processes as --workers; SIGTTIN and SIGTTOU change it",
    "--daemonize": "this server stays in the foreground, where systemd and Docker want it",
    "--emperor": "one service for each file",
    "--home": "install wsgi_async into that environment, and run its bin/wsgi-async",
    "--py-autoreload": "write --reload",
    "--stats": "see --metrics-bind and --control-socket",
    "--touch-reload": "kill -HUP loads the application anew, and so does wsgi-asyncctl reload",
    "--venv": "install wsgi_async into that environment, and run its bin/wsgi-async",
    "--virtualenv": "install wsgi_async into that environment, and run its bin/wsgi-async",
}
"""Options that there are elsewhere and not here, and what to do instead."""


def absence(flag: str) -> str | None:
    """Why there is no such option here; None where no other server known here has it either."""
    hint = ABSENT.get(flag)
    if hint is None:
        return None
    return f"No such option: {flag}. Other servers have it, this one does not" + (
        f": {hint}" if hint else ""
    )
