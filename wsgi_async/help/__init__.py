"""The guide: one page of Markdown beside this module for each topic of ``wsgi-async --guide``.

``tables`` makes the tables of the pages from the code, and ``terminal`` the text of a page for one.

Runs on: whatever thread asks; nothing here serves.

May import: config, ctl, errors, logs, operations, processes, scoreboard.
"""

from __future__ import annotations

from pathlib import Path

from wsgi_async.config.option import did_you_mean
from wsgi_async.errors import ConfigError

__all__ = ["page", "title", "topics"]

DIRECTORY = Path(__file__).parent


def topics() -> list[str]:
    """Their names, in the order of the alphabet."""
    return sorted(path.stem for path in DIRECTORY.glob("*.md"))


def page(topic: str) -> str:
    """The Markdown of a topic.

    :raises ConfigError: there is none of this name; with the nearest.
    """
    names = topics()
    name = topic.lower().removesuffix(".md")
    if name not in names:
        hint = did_you_mean(name, names) or f" There are {', '.join(names)}."
        raise ConfigError(f"No such topic: {topic}.{hint}")
    return (DIRECTORY / f"{name}.md").read_text(encoding="utf-8")


def title(topic: str) -> str:
    """The heading of its page."""
    return page(topic).partition("\n")[0].lstrip("# ")
