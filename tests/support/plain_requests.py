"""Requests without a body."""

from __future__ import annotations

GET = "GET {} HTTP/1.1\r\nHost: a\r\n\r\n"
