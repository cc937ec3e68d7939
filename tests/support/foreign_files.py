"""Settings from other servers' configuration files, with nothing beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wsgi_async.config.sources import Settings, gather
from wsgi_async.foreign import read

__all__ = ["collect"]


def collect(
    directory: Path,
    name: str,
    text: str,
    *,
    environ: Mapping[str, str] | None = None,
    **given: object,
) -> Settings:
    """What is gathered where that file is written and named.

    :param given: options of the command line.
    """
    (directory / name).write_text(text)
    return gather(
        {"config": name, **given},
        parse=lambda words: {},
        environ=environ or {},
        directory=directory,
        read_foreign=read,
    )
