"""The environ of PEP 3333, made from a request head and the facts of its connection. Pure.

Any thread; the dict is new for every request, nothing in it comes from ``os.environ``.
"""

from __future__ import annotations

from ._version import __version__
from .head import RequestHead

__all__ = ["build_environ", "connection_facts"]

_SERVER_SOFTWARE = f"wsgi_async/{__version__}"


def connection_facts(
    local: object,
    peer: object,
    *,
    root_path: str,
    scheme: str,
    threads: int,
    file_wrapper: object,
) -> tuple[dict[str, object], str]:
    """The part of the environ that all requests of one connection have in common.

    :param local: the socket's own address, as ``getsockname`` gives it.
    :param peer: the client's; of a unix socket neither is a tuple.
    :param root_path: where the application is mounted, as Unicode text; "" or "/" for the root.
    :param scheme: ``http`` or ``https``.
    :param threads: number of the pool's threads, for ``wsgi_async.threads``.
    :param file_wrapper: the callable for ``wsgi.file_wrapper``.
    :returns: that part, and the client's name for log lines: ``127.0.0.1:50312``,
        ``[::1]:50312`` or ``unix``.
    """
    # PEP 3333 wants SERVER_NAME and SERVER_PORT never empty.
    server_name, server_port, remote_addr, remote_port = "localhost", "80", "", ""
    client = "unix"
    if isinstance(local, tuple) and isinstance(peer, tuple):
        server_name, server_port = _plain_address(local[0]), str(local[1])
        remote_addr, remote_port = _plain_address(peer[0]), str(peer[1])
        client = f"[{remote_addr}]" if ":" in remote_addr else remote_addr
        client = f"{client}:{remote_port}"
    facts: dict[str, object] = {
        # native strings: the bytes of UTF-8, read as latin-1 (PEP 3333, "Unicode Issues")
        "SCRIPT_NAME": root_path.rstrip("/").encode("utf-8").decode("latin-1"),
        "SERVER_NAME": server_name,
        "SERVER_PORT": server_port,
        "SERVER_SOFTWARE": _SERVER_SOFTWARE,
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REMOTE_ADDR": remote_addr,
        "REMOTE_PORT": remote_port,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.multithread": threads > 1,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "wsgi.file_wrapper": file_wrapper,
        "wsgi_async.threads": threads,
    }
    if scheme == "https":
        facts["HTTPS"] = "on"
    return facts, client


def _plain_address(address: str) -> str:
    """An IPv4 address as such, where a dual-stack socket gives it in IPv6 form."""
    is_mapped = address.startswith("::ffff:") and "." in address
    return address[7:] if is_mapped else address


def build_environ(
    head: RequestHead,
    facts: dict[str, object],
    body: object,
    body_size: int | None,
    errors: object,
) -> dict[str, object]:
    """The environ of one request.

    :param facts: from :func:`connection_facts`; copied.
    :param body: ``wsgi.input``.
    :param body_size: bytes in `body` where all of it is there: then it is CONTENT_LENGTH also for
        a chunked body. None where it is still coming.
    :param errors: ``wsgi.errors``.
    """
    environ = facts | head.variables
    environ["wsgi.input"] = body
    environ["wsgi.errors"] = errors
    root = environ["SCRIPT_NAME"]
    if root:
        environ["PATH_INFO"] = _below(head.variables["PATH_INFO"], str(root))
    if head.chunked and body_size is not None:
        environ["CONTENT_LENGTH"] = str(body_size)
    return environ


def _below(path: str, root: str) -> str:
    """`path` without `root` in front; whole where a proxy has already taken it off."""
    rest = path.removeprefix(root)
    return rest if not rest or rest[0] == "/" else path
