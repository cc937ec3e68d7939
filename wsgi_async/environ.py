"""The environ of PEP 3333, made from a request head and the facts of its connection. Pure.

Any thread; the dict is new for every request, nothing in it comes from ``os.environ``.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

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
    method, target, path, query, version, fields, content_length, chunked, _, _ = head
    environ = facts.copy()
    environ["REQUEST_METHOD"] = method
    environ["RAW_URI"] = environ["REQUEST_URI"] = target
    environ["QUERY_STRING"] = query
    environ["SERVER_PROTOCOL"] = version
    environ["wsgi.input"] = body
    environ["wsgi.errors"] = errors
    if "%" in path:
        path = unquote_to_bytes(path).decode("latin-1")
    root = environ["SCRIPT_NAME"]
    if root:
        path = _below(path, str(root))
    environ["PATH_INFO"] = path
    keys = _keys
    for name, value in fields:
        try:
            key = keys[name]
        except KeyError:
            key = _key(name)
        if key in environ:
            # RFC 9110 §5.3; cookies have a separator of their own (RFC 6265 §4.2.1)
            environ[key] = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{value}"
        else:
            environ[key] = value
    if _DROPPED in environ:
        del environ[_DROPPED]
    if chunked:
        # RFC 9112 §7.1.3: who decodes the body takes the coding off. An application that saw it
        # might decode again (Bottle does).
        del environ["HTTP_TRANSFER_ENCODING"]
        if body_size is not None:
            environ["CONTENT_LENGTH"] = str(body_size)
    elif content_length is not None:
        environ["CONTENT_LENGTH"] = str(content_length if body_size is None else body_size)
    return environ


def _below(path: str, root: str) -> str:
    """`path` without `root` in front; whole where a proxy has already taken it off."""
    rest = path.removeprefix(root)
    return rest if not rest or rest[0] == "/" else path


# What fields go to that the application must not see: names with an underscore, which CGI cannot
# tell from a hyphen (a client's X_Real_IP would pass for a proxy's X-Real-IP), and Proxy, which
# would become HTTP_PROXY and redirect the application's own requests (CVE-2016-5385).
_DROPPED = ""

# Name as received -> key. Clients choose the names, so it is bounded: emptied when it is full, and
# those of every day are soon back. Threads may race for the last place; nothing breaks.
_keys: dict[str, str] = {}
_MAX_KEYS = 1024
_MAX_NAME_SIZE = 64


def _key(name: str) -> str:
    """The key for a field that is not in the memo yet."""
    if "_" in name:
        return _DROPPED
    key = name.upper().replace("-", "_")
    if key == "PROXY":
        return _DROPPED
    if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        key = "HTTP_" + key
    if len(name) <= _MAX_NAME_SIZE:
        if len(_keys) >= _MAX_KEYS:
            _keys.clear()
        _keys[name] = key
    return key
