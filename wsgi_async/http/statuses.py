"""What follows from a status code alone (RFC 9110 §15)."""

from __future__ import annotations

__all__ = ["BODILESS"]

BODILESS = frozenset((204, 205, 304))
"""Statuses of responses that never have content (RFC 9110 §6.4.1), and the 205 of §15.3.6."""
