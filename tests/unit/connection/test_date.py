"""The Date of responses."""

from __future__ import annotations

import random
from email.utils import formatdate

from wsgi_async.connection.dates import http_date


def test_it_is_the_one_that_the_library_makes() -> None:
    """Whose import costs more than all of a start's regular expressions."""
    draw = random.Random(1)
    seconds = [0, 951_782_399, 951_782_400, 4_102_444_799]
    seconds += [draw.randrange(1 << 33) for _ in range(2000)]
    assert [http_date(second) for second in seconds] == [
        formatdate(second, usegmt=True) for second in seconds
    ]
