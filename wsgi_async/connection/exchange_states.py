"""Who has an exchange, and who may have it next."""

from __future__ import annotations

import enum

__all__ = ["NEXT", "ExchangeState"]


class ExchangeState(enum.Enum):
    """Who has an exchange. Changed on the loop."""

    BEGUN = "the loop: its body is being collected"
    ANSWERED = "the loop, which answers it itself"
    SUBMITTED = "a thread, or a queue for threads"
    WITHDRAWN = "nobody: it was taken out of the queue"
    GIVEN_UP = "a lost thread: what that still has to say interests nobody"

    __hash__ = object.__hash__  # Enum's own is Python code


NEXT: dict[ExchangeState, set[ExchangeState]] = {
    ExchangeState.BEGUN: {ExchangeState.ANSWERED, ExchangeState.SUBMITTED},
    ExchangeState.ANSWERED: set(),
    ExchangeState.SUBMITTED: {ExchangeState.WITHDRAWN, ExchangeState.GIVEN_UP},
    ExchangeState.WITHDRAWN: set(),
    ExchangeState.GIVEN_UP: set(),
}
