"""waitress's settings, its "adjustments", as its command line and its section of a PasteDeploy file
have them."""

from __future__ import annotations

from typing import Any

from wsgi_async.config.calls import join_address
from wsgi_async.config.other_servers import ABSENT

__all__ = [
    "CONVERTED",
    "HOST",
    "IGNORED",
    "LOST",
    "OPTIONS",
    "PORT",
    "SETTINGS",
    "SWITCHES",
    "addresses",
    "is_true",
    "loss",
    "options_of",
]

HOST, PORT = "0.0.0.0", 8080
"""Where it listens if nobody says it."""

_OPTION_NAMES = (
    "backlog channel_timeout connection_limit expose_tracebacks host inbuf_overflow "
    "max_request_body_size max_request_header_size outbuf_overflow port threads unix_socket_perms"
)
OPTIONS = frozenset(_OPTION_NAMES.split())
"""Those that are options here, or aliases of some (:mod:`wsgi_async.config.options`)."""

CONVERTED = frozenset(
    (
        *("ident", "listen", "trusted_proxy", "trusted_proxy_headers", "unix_socket"),
        "url_prefix",
    )
)
"""Those that become options, whose values are written in another way: see :func:`options_of`."""

LOST: dict[str, str] = {
    "clear_untrusted_proxy_headers": "true",
    "trusted_proxy_count": "1",
    "url_scheme": "http",
}
"""Those of which one value is what is so here, and no other can be had: see :func:`loss`."""

_IGNORED_NAMES = (
    "asyncore_loop_timeout asyncore_use_poll channel_request_lookahead cleanup_interval ipv4 ipv6 "
    "log_socket_errors log_untrusted_proxy_headers outbuf_high_watermark recv_bytes send_bytes "
    "server_name sockets"
)
IGNORED = frozenset(_IGNORED_NAMES.split())
"""Those that say how waitress does its work; a site is served without them all the same."""

SETTINGS = frozenset((*OPTIONS, *CONVERTED, *LOST, *IGNORED))
"""All that are known here by their names."""

_SWITCH_NAMES = (
    "asyncore_use_poll clear_untrusted_proxy_headers expose_tracebacks ipv4 ipv6 log_socket_errors "
    "log_untrusted_proxy_headers"
)
SWITCHES = frozenset(_SWITCH_NAMES.split())
"""Those that are true or false."""

_TRUE = ("t", "true", "y", "yes", "on", "1")


def is_true(text: str) -> bool:
    """What a switch means in a file, where whatever is no word for it is false."""
    return text.strip().lower() in _TRUE


def addresses(text: str) -> list[str]:
    """Those of ``listen``, as ``--bind`` takes them."""
    found = []
    for part in text.split():
        has_port = ":" in part and "]" not in part.rpartition(":")[2]
        found.append(part if has_port else join_address(part, PORT))
    return found


def options_of(setting: str, text: str) -> dict[str, Any]:
    """Our options for one of :data:`CONVERTED`; none where it says nothing."""
    match setting:
        case "listen":
            return {"bind": addresses(text)}
        case "unix_socket":
            return {"bind": [f"unix:{text}"]}
        case "ident":
            return {"header": [f"Server: {text}"]} if text else {"server_header": False}
        case "url_prefix":
            return {"root_path": f"/{text.strip('/')}".rstrip("/")}
        case "trusted_proxy":  # "localhost" is what it calls who comes by a unix socket
            return (
                {"forwarded_allow_ips": ["unix" if text == "localhost" else text]} if text else {}
            )
        case _:
            # No application reads X-Forwarded-By, and no option takes it.
            words = [word for word in text.lower().split() if word != "x-forwarded-by"]
            return {"proxy_headers": words} if words else {}


def loss(setting: str, text: str) -> str:
    """Of one of :data:`LOST`: what to do about a value that cannot be had; empty where it is so
    here."""
    if setting in SWITCHES:
        text = "true" if is_true(text) else "false"
    if text.lower() == LOST[setting]:
        return ""
    flag = setting.replace("_", "-")
    return ABSENT[f"--no-{flag}" if setting in SWITCHES else f"--{flag}"]
