"""What there is to say of another server's setting, where its value makes no difference to that."""

from __future__ import annotations

from typing import NamedTuple

from .report import Verdict

__all__ = ["Rule", "changed", "missing", "taken", "unused"]


class Rule(NamedTuple):
    verdict: Verdict
    text: str
    """One sentence: what is the same, what differs, or the way round."""
    matters: bool = False
    """Whether something of consequence is lost."""
    option: str = ""
    """The option here that its value becomes; none: it becomes none."""


def taken(text: str, option: str = "") -> Rule:
    """It is the same here."""
    return Rule(Verdict.TAKEN_OVER, text, option=option)


def changed(text: str, option: str = "", *, matters: bool = False) -> Rule:
    """It is to be had, and behaves differently."""
    return Rule(Verdict.CHANGED, text, matters, option)


def unused(text: str, *, matters: bool = False) -> Rule:
    """There is no need of it, or nobody heeds it: the consequence."""
    return Rule(Verdict.WITHOUT_EFFECT, text, matters)


def missing(text: str) -> Rule:
    """It is not to be had, and somebody who relies on it has something to do: the way round."""
    return Rule(Verdict.MISSING, text, matters=True)
