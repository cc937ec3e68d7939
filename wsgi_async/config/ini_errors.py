"""What is wrong with an ini file, in a line that shows none of its values: some are passwords, and
logs are read by many. Pure; any thread."""

from __future__ import annotations

import re

__all__ = ["CIRCLE", "ini_problem"]

CIRCLE = "its sections lead to one another in a circle"

# configparser and PasteDeploy put behind these what stands in the file.
_SHOWS = re.compile(
    r"(\[line +\d+\](?=: ['\"])|, line: \d+\b| variable reference).*|(?:\. Raw value|, found): .*",
    re.DOTALL,
)


def ini_problem(error: BaseException) -> str:
    """What an error of configparser's says, or PasteDeploy's, without what it quotes of values."""
    return " ".join(_SHOWS.sub(lambda match: match[1] or "", str(error)).split())
