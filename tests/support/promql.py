"""What expressions of PromQL name: metrics, matchers of labels, labels to group by.

No evaluation: enough of the grammar to find the names, and to refuse what is not of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["SCRAPED", "Expression", "Matcher", "Selector", "faults", "parse"]

SCRAPED = {"instance", "job", "namespace", "pod"}
"""Labels that Prometheus itself adds to all that it reads."""

GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
OPERATORS = {"and", "or", "unless", "bool", "offset"}
OF_COUNTERS = {"rate", "irate", "increase"}
FUNCTIONS = {
    *OF_COUNTERS,
    *("sum", "min", "max", "avg", "count", "topk", "histogram_quantile", "time", "clamp_max"),
    *("max_over_time", "avg_over_time", "changes", "label_replace", "vector", "label_values"),
}
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<range>\[[^\]]+\])
    |(?P<name>[A-Za-z_:][A-Za-z0-9_:]*)
    |(?P<number>[0-9]+(?:\.[0-9]+)?)
    |(?P<operator>=~|!~|!=|==|<=|>=|[-+*/%^<>=(){},])
    )""",
    re.VERBOSE,
)


class Matcher(NamedTuple):
    """A condition on a label."""

    label: str
    operator: str
    value: str


class Selector(NamedTuple):
    """A metric, with the conditions on its labels."""

    metric: str
    matchers: tuple[Matcher, ...]
    function: str
    """Whose argument it is directly; empty where it is none's."""
    has_range: bool


class Expression(NamedTuple):
    """All that an expression names."""

    selectors: tuple[Selector, ...]
    groups: frozenset[str]


def parse(text: str) -> Expression:
    """Find what is named.

    :raises ValueError: it is not PromQL, or has a function that is not known here.
    """
    tokens = _tokens(text)
    selectors: list[Selector] = []
    groups: set[str] = set()
    open_calls: list[str] = []
    at = 0
    while at < len(tokens):
        kind, word = tokens[at]
        following = tokens[at + 1][1] if at + 1 < len(tokens) else ""
        at += 1
        if kind == "name" and word in GROUPING:
            if following == "(":
                names, at = _names(tokens, at)
                groups |= names
        elif kind == "name" and word in OPERATORS:
            continue
        elif kind == "name" and following in ("(", "by", "without"):
            if word not in FUNCTIONS:
                raise ValueError(f"unknown function {word}: {text}")
            if following != "(":  # sum by (le) (...)
                names, at = _names(tokens, at + 1)
                groups |= names
            at = _past(tokens, at, "(")
            open_calls.append(word)
        elif kind == "name":
            matchers: tuple[Matcher, ...] = ()
            if following == "{":
                inner, at = _until(tokens, at + 1, "}")
                matchers = _matchers(inner, text)
            has_range = at < len(tokens) and tokens[at][0] == "range"
            at += has_range
            function = open_calls[-1] if open_calls else ""
            selectors.append(Selector(word, matchers, function, has_range))
        elif word == "(":
            open_calls.append("")
        elif word == ")":
            if not open_calls:
                raise ValueError(f"unbalanced: {text}")
            open_calls.pop()
        elif kind == "range":
            raise ValueError(f"a range of nothing: {text}")
    if open_calls:
        raise ValueError(f"unbalanced: {text}")
    return Expression(tuple(selectors), frozenset(groups))


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"not PromQL at {text[at:]!r}: {text}")
        kind = str(match.lastgroup)
        found.append((kind, match[kind]))
        at = match.end()
    return found


def _until(tokens: list[tuple[str, str]], at: int, end: str) -> tuple[list[tuple[str, str]], int]:
    """What comes before `end`, and where it goes on behind it."""
    for number in range(at, len(tokens)):
        if tokens[number][1] == end:
            return tokens[at:number], number + 1
    raise ValueError(f"{end} is missing")


def _past(tokens: list[tuple[str, str]], at: int, word: str) -> int:
    """Where it goes on behind `word`, which has to be here."""
    if at >= len(tokens) or tokens[at][1] != word:
        raise ValueError(f"{word} is missing")
    return at + 1


def _names(tokens: list[tuple[str, str]], at: int) -> tuple[set[str], int]:
    """The names of a list in parentheses, and where it goes on behind it."""
    found, at = _until(tokens, _past(tokens, at, "("), ")")
    return {name for _, name in found if name != ","}, at


def _matchers(tokens: list[tuple[str, str]], text: str) -> tuple[Matcher, ...]:
    words = [word for _, word in tokens if word != ","]
    if len(words) % 3:
        raise ValueError(f"a matcher is not complete: {text}")
    triples = zip(words[::3], words[1::3], words[2::3], strict=True)
    return tuple(Matcher(label, operator, value[1:-1]) for label, operator, value in triples)


def faults(text: str, families: Iterable[Any]) -> list[str]:
    """What is wrong with an expression, beside what a server exposes; nothing, if all is well.

    :param families: as prometheus_client has parsed them.
    """
    samples: dict[str, list[dict[str, str]]] = {}
    counters: set[str] = set()
    for family in families:
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample.labels)
            if family.type in ("counter", "histogram"):
                counters.add(sample.name)
    expression = parse(text)
    found: list[str] = []
    known = set(SCRAPED)
    for selector in expression.selectors:
        name = selector.metric
        if name not in samples:
            found.append(f"there is no {name}")
            continue
        known.update(*samples[name])
        if (name in counters) is not (selector.function in OF_COUNTERS):
            found.append(f"{name} in {selector.function or 'no function'}")
        if (selector.function in OF_COUNTERS) and not selector.has_range:
            found.append(f"{name} has no range")
        found += _faults_of_matchers(selector, samples[name])
    return found + [f"{name} is no label of these" for name in sorted(expression.groups - known)]


def _faults_of_matchers(selector: Selector, samples: list[dict[str, str]]) -> list[str]:
    found = []
    for label, operator, value in selector.matchers:
        if label in SCRAPED or value.startswith("$"):
            continue
        values = {sample[label] for sample in samples if label in sample}
        if not values:
            found.append(f"{selector.metric} has no label {label}")
        elif operator == "=" and value not in values:
            found.append(f"{label} of {selector.metric} is never {value}")
        elif operator == "=~":
            found += [
                f"{label} of {selector.metric} is never {each}"
                for each in value.split("|")
                if not any(re.fullmatch(each, one) for one in values)
            ]
    return found
