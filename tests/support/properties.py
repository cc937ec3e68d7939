"""How many examples a property is tried with: some in every run, all of them by `-m soak`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings

__all__ = ["examples"]

Check = Callable[..., None]


def examples(count: int, *strategies: Any) -> Callable[[Check], Check]:
    """Hypothesis's ``given`` and ``settings``, for a test that is run twice: with a fifth of so
    many examples, other ones in each run, and with all of them by ``-m soak``.

    Hypothesis's own ``example`` goes beneath it.
    """
    some = pytest.param(count // 5, id="some")
    every = pytest.param(count, id="all", marks=pytest.mark.soak)

    def decorate(check: Check) -> Check:
        @pytest.mark.parametrize("number", [some, every])
        def test(number: int) -> None:
            settings(max_examples=number)(given(*strategies)(check))()

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return decorate
