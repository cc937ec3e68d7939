"""The environ of PEP 3333, made from a request head, the server's part and the client. Pure.

Any thread; the dict is new for every request, nothing in it comes from ``os.environ``.
"""

from __future__ import annotations

from functools import lru_cache

from wsgi_async._version import __version__
from wsgi_async.http.mounting import path_below, place, script_name
from wsgi_async.http.origin import Origin
from wsgi_async.http.request import RequestHead

__all__ = ["PEER_UID", "build_environ", "client_name", "remote_address", "server_variables"]

_SERVER_SOFTWARE = f"wsgi_async/{__version__}"


_OF_EACH_REQUEST = (
    *("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "SERVER_PROTOCOL", "RAW_URI", "REQUEST_URI"),
    *("REMOTE_ADDR", "REMOTE_PORT", "wsgi.input", "wsgi.errors", "wsgi.early_hints"),
    "wsgi_async.client",
)
"""Names that have a value of their own in each request. The dict that is copied has them already,
without a value, so that the copy need not grow."""


PEER_UID = "wsgi_async.peer_uid"
"""Name of what the kernel says of a unix socket's other end, where it is asked: as whom it runs."""

_NOWHERE = "localhost"
"""SERVER_NAME on a unix socket; an address of the network is a number."""


def server_variables(
    local: object,
    *,
    root_path: str,
    scheme: str,
    threads: int,
    file_wrapper: object,
    processes: int = 1,
) -> dict[str, object]:
    """The part of the environ that all requests to one address of the server have in common; what
    else each has is None in it.

    :param local: that address, as ``getsockname`` gives it; of a unix socket it is no tuple.
    :param root_path: where the application is mounted, as Unicode text, percent-encoded or not; ""
        or "/" for the root.
    :param scheme: ``http`` or ``https``.
    :param threads: number of the pool's threads, for ``wsgi_async.threads``.
    :param file_wrapper: the callable for ``wsgi.file_wrapper``.
    :param processes: how many are to serve this application.
    """
    # PEP 3333 wants SERVER_NAME and SERVER_PORT never empty.
    server_name, server_port = _NOWHERE, "443" if scheme == "https" else "80"
    if isinstance(local, tuple):
        server_name, server_port = _plain_address(local[0]), str(local[1])
    variables: dict[str, object] = {
        "SCRIPT_NAME": script_name(root_path),
        "SERVER_NAME": server_name,
        "SERVER_PORT": server_port,
        "SERVER_SOFTWARE": _SERVER_SOFTWARE,
        "GATEWAY_INTERFACE": "CGI/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.multithread": threads > 1,
        "wsgi.multiprocess": processes > 1,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "wsgi.file_wrapper": file_wrapper,
        "wsgi_async.threads": threads,
    }
    if scheme == "https":
        variables["HTTPS"] = "on"
    return dict.fromkeys(_OF_EACH_REQUEST) | variables


def remote_address(peer: object) -> tuple[str, str]:
    """REMOTE_ADDR and REMOTE_PORT of a client.

    :param peer: its address, as ``accept`` gives it.
    :returns: two empty strings for a unix socket.
    """
    if isinstance(peer, tuple):
        return _plain_address(peer[0]), str(peer[1])
    return "", ""


def client_name(remote_addr: str, remote_port: str, origin: Origin | None = None) -> str:
    """The client's name for log lines: ``127.0.0.1:50312``, ``[::1]:50312`` or ``unix``; without
    the port where that is not known. :func:`wsgi_async.events.client_address` reads it.

    :param origin: what a proxy or a front server says, who may name another client than the
        connection's.
    """
    if origin is not None and origin.remote_addr is not None:
        remote_addr, remote_port = origin.remote_addr, origin.remote_port or ""
    host = f"[{remote_addr}]" if ":" in remote_addr else remote_addr
    return f"{host}:{remote_port}" if remote_port else host or "unix"


@lru_cache(maxsize=1024)  # behind a proxy all connections share one string
def _plain_address(address: str) -> str:
    """An IPv4 address as such, where a dual-stack socket gives it in IPv6 form."""
    is_mapped = address.startswith("::ffff:") and "." in address
    return address[7:] if is_mapped else address


def build_environ(
    head: RequestHead,
    variables: dict[str, object],
    remote_addr: str,
    remote_port: str,
    body: object,
    body_size: int | None,
    errors: object,
    response: object,
    origin: Origin | None = None,
    more: dict[str, object] | None = None,
) -> dict[str, object]:
    """The environ of one request.

    :param variables: from :func:`server_variables`; copied.
    :param remote_addr: the client's address as the connection has it, and
    :param remote_port: its port, from :func:`remote_address`.
    :param body: ``wsgi.input``.
    :param body_size: bytes in `body` where all of it is there: then it is CONTENT_LENGTH also for
        a chunked body. None where it is still coming, or where there is none.
    :param errors: ``wsgi.errors``.
    :param response: ``wsgi.early_hints``, and the client: see :mod:`.client`.
    :param origin: what a proxy or a front server says, where one may: the connection's other end is
        then ``wsgi_async.peer``, by its name for log lines.
    :param more: further names, in place of what is there, where there are any.
    """
    environ = variables | head.variables
    environ["REMOTE_ADDR"] = remote_addr
    environ["REMOTE_PORT"] = remote_port
    environ["wsgi.input"] = body
    environ["wsgi.errors"] = errors
    environ["wsgi.early_hints"] = response
    environ["wsgi_async.client"] = response
    root = environ["SCRIPT_NAME"]
    if origin is not None:
        if "wsgi_async.peer" not in environ:
            environ["wsgi_async.peer"] = client_name(remote_addr, remote_port)
        _follow(environ, origin)
    elif root:
        environ["PATH_INFO"] = path_below(head.variables["PATH_INFO"], str(root))
    if body_size is not None and head.chunked:
        environ["CONTENT_LENGTH"] = str(body_size)
    if more is not None:
        environ |= more
    return environ


def _follow(environ: dict[str, object], origin: Origin) -> None:
    """Have the environ say what `origin` says."""
    if origin.remote_addr is not None:
        environ["REMOTE_ADDR"] = origin.remote_addr
        environ["REMOTE_PORT"] = origin.remote_port
    if origin.scheme is not None:
        environ["wsgi.url_scheme"] = origin.scheme
        if origin.scheme == "https":
            environ["HTTPS"] = "on"
        else:
            environ.pop("HTTPS", None)
    if origin.server_port is not None:
        environ["SERVER_PORT"] = origin.server_port
    elif origin.scheme == "https" and environ["SERVER_NAME"] == _NOWHERE:
        environ["SERVER_PORT"] = "443"
    if origin.host is not None:
        environ["HTTP_HOST"] = origin.host
    root, prefix = environ["SCRIPT_NAME"], origin.prefix
    if origin.script_name is not None:
        placed = place(str(environ["PATH_INFO"]), origin.script_name, "")
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = placed
    elif root or prefix:
        placed = place(str(environ["PATH_INFO"]), str(root), prefix or "")
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = placed
    if origin.variables:
        environ.update(origin.variables)
