"""How the command may end: its exit codes, and the error that names one of them."""

from __future__ import annotations

import enum

__all__ = ["Exit", "Failed"]


class Exit(enum.IntEnum):
    """The exit codes of ``wsgi-asyncctl``."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Exit:
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    DONE = 0, "It is done, and what was asked for is shown."
    WRONG = 1, "The command line is wrong, or what it names cannot be read or written."
    LOST = (
        2,
        "Of `migrate`: something of consequence would be lost by a move, and waits for a decision.",
    )
    FAILED = (
        3,
        "The server has tried and failed: a reload whose code does not start (the old processes go "
        "on), an interrupt that reached no request, a server that ended while it was followed.",
    )
    UNREACHABLE = (
        4,
        "No control socket was found, nobody listens on it, or what answers there is none.",
    )
    REFUSED = (
        5,
        "You may not (only root and the user who started the server may), or the server refuses "
        "what it was asked for; it says why.",
    )
    LATE = (
        6,
        "There was no answer, or it was not done, within `--timeout`. What was asked for may yet "
        "happen.",
    )
    PARTLY = 7, "A process did not answer, and is named; what the others have said or done stands."
    INTERRUPTED = 130, "Ctrl-C. What was asked for goes on."


class Failed(Exception):
    """The command ends with this.

    :param code: the exit code.
    :param message: one line that says what to do.
    """

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code
