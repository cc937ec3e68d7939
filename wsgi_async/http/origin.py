"""Where a request comes from, as others than the connection say. Any thread."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Origin"]


@dataclass(slots=True, kw_only=True)  # as RequestHead
class Origin:
    """What a believed proxy or a front server says of a request. None is always: as the connection
    has it.

    All of it is native text, ready for the environ. Never changed.
    """

    remote_addr: str | None = None
    """REMOTE_ADDR of the client; "" for one on a unix socket."""
    remote_port: str | None = None
    """REMOTE_PORT; "" where nobody tells it. None exactly where `remote_addr` is."""
    scheme: str | None = None
    """``http`` or ``https``."""
    host: str | None = None
    """HTTP_HOST: the host that was asked for, with its port."""
    server_port: str | None = None
    """SERVER_PORT."""
    prefix: str | None = None
    """What is in front of the root path in SCRIPT_NAME, decoded: "" or a path with no slash at its
    end."""
    script_name: str | None = None
    """SCRIPT_NAME in place of the root path and of `prefix`, decoded; of the same form."""
    variables: tuple[tuple[str, str], ...] = ()
    """Further names of the environ (``HTTP_REMOTE_USER``) with their values."""
