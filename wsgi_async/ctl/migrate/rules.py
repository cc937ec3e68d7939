"""What there is to say of another server's setting, where its value makes no difference to that."""

from __future__ import annotations

from typing import NamedTuple

from .checked import default_of
from .report import Verdict

__all__ = [
    "FILE_ELSEWHERE",
    "NO_BODY_BOUND",
    "OTHER_ENVIRONMENT",
    "REPLACED_BY_AGE",
    "REPLACED_BY_REQUESTS",
    "UNKNOWN",
    "Rule",
    "changed",
    "missing",
    "single_threaded",
    "taken",
    "unused",
]


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


# --- What is said of several servers


def single_threaded(server: str) -> Rule:
    """Of a server that has one thread in each process where nobody says how many."""
    return changed(
        f"not set, where {server} has 1 in each process; here there are {default_of('threads')}, "
        "so that requests run beside each other in one process, and fewer processes may do: write "
        "threads = 1 for an application that is not thread-safe"
    )


UNKNOWN = unused("this report does not know it: look what it does for you", matters=True)
FILE_ELSEWHERE = missing(
    "that file is not where this says, so that what it sets is not in here: run migrate where it "
    "is, or give the file itself"
)
NO_BODY_BOUND = changed(
    f"0 is no bound there; here it is {default_of('max_body_size')} where --max-body-size says "
    "nothing"
)
OTHER_ENVIRONMENT = changed(
    "install wsgi_async into that environment and run the wsgi-async of its bin: its interpreter "
    "decides what is imported"
)
REPLACED_BY_REQUESTS = changed(
    "a process is replaced after so many, once its successor is ready: no request waits for a start"
)
REPLACED_BY_AGE = changed(
    "a process of that age is replaced, up to a tenth later, once its successor is ready: no "
    "request waits for a start"
)
