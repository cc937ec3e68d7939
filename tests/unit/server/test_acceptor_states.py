"""The table of an acceptor: what it may do after what."""

from __future__ import annotations

import contextlib

import pytest
from acceptors import LOOPS, Side, listening, own_counts, run

from wsgi_async.server.acceptor import NEXT, AcceptorState


def test_the_table_has_every_state_and_each_can_be_ended_and_begun_again() -> None:
    assert set(NEXT) == set(AcceptorState)
    for state in AcceptorState:
        assert AcceptorState.OFF in NEXT[state]
        assert state is AcceptorState.WATCHING or AcceptorState.WATCHING in NEXT[state]


@pytest.mark.parametrize("state", AcceptorState)
@pytest.mark.parametrize("loop", LOOPS)
def test_what_is_not_in_the_table_is_refused(loop: str, state: AcceptorState) -> None:
    async def main(stack: contextlib.ExitStack) -> None:
        sock = stack.enter_context(listening())
        acceptor = Side(own_counts(1)[0], [sock]).acceptor
        stack.callback(acceptor.close)
        if state is not AcceptorState.OFF:
            acceptor.start()
        if state is not AcceptorState.WATCHING:
            acceptor._enter(state)
        for other in set(AcceptorState) - NEXT[state]:
            with pytest.raises(RuntimeError, match=f"from {state.name} to {other.name}"):
                acceptor._enter(other)
            assert acceptor.state is state

    run(loop, main)
