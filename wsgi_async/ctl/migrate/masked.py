"""Values that are secrets, which a report is not to show: it is pasted into tickets."""

from __future__ import annotations

import re

__all__ = ["HIDDEN", "masked", "masked_pair", "masked_prose"]

HIDDEN = "..."

_SECRET = re.compile(
    r"passw|passphrase|pwd|secret|token|api_?key|private_?key|access_?key|credential|requirepass|(?:^|_)(?:dsn|auth|key|pass)$|^(?:alarm|legion)$",
    re.IGNORECASE,
)
"""Of a name: what it means is nobody else's."""

_USERINFO = re.compile(r"(?<=://)[^/\s@'\"]+(?=@)")
"""Of a URL: who logs in, and by which password."""

_FLAG = re.compile(r"(?P<name>(?<!\S)--[a-z][\w-]*+)(?P<between>\s+)(?P<value>[^\s-]\S*)")
"""A flag with the word behind it."""

_CREDENTIALS = re.compile(
    r"(\bbearer\s+|\bauthorization:?\s+[\"']?\w+\s+|\bbasicauth:[^,\s]*,)[^\s'\"]+", re.IGNORECASE
)
"""What a field of HTTP has, and uWSGI's ``route = ^/ basicauth:site,user:password``."""

_QUOTED = re.compile(r"(?<!\w)(['\"])(.*?)\1(?!\w)", re.DOTALL)
"""In a sentence: what somebody else has written."""

_NAME, _BETWEEN = r"(?P<name>[A-Za-z_][\w.-]*+)", r"(?P<between>['\"]?\s*[=:]\s*)"
_PAIR = re.compile(rf"{_NAME}{_BETWEEN}(?P<value>'[^']*'|\"[^\"]*\"|[^\s'\",()\[\]{{}}]+)")
"""``NAME=VALUE``, and the like in a list or a dict of Python."""

_QUOTED_PAIR = re.compile(rf"(?P<quote>['\"]){_NAME}(?P<between>=)(?P<value>[^'\"]*)(?P=quote)")
"""``"NAME=VALUE"``, whose value may have spaces."""


_LONGEST = 4096
"""Letters in which secrets are looked for: it takes the square of that, and nobody reads more."""

_REFERENCE = re.compile(r"\$\w+|\$\{\w+\}|\.\.\.")
"""What only says where a secret is, or that it was hidden."""

_FILE = re.compile(r"/[\w./-]*\.\w+")
"""What is where a secret is; a secret itself may begin with a slash."""

_WHOLE_PAIR = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


def masked(setting: str, text: str) -> str:
    """The text of a value, with ``...`` for what is secret in it.

    :param setting: what it is the value of, by the other server's name.
    """
    if _REFERENCE.fullmatch(text):
        return text
    if len(text) > _LONGEST:
        return HIDDEN
    if setting and _is_secret(setting) and text:
        return HIDDEN
    if (match := _WHOLE_PAIR.fullmatch(text)) and _is_secret(match[1]):
        return f"{match[1]}={masked(match[1], match[2])}"
    text = _QUOTED_PAIR.sub(lambda match: f"{match['quote']}{_hide(match)}{match['quote']}", text)
    text = _FLAG.sub(_hide, _hide_pairs(text))
    text = _CREDENTIALS.sub(rf"\1{HIDDEN}", text)
    return _USERINFO.sub(HIDDEN, text)


def masked_pair(pair: str) -> str:
    """``NAME=VALUE``, likewise; the value is all behind the first ``=``."""
    name, equals, value = pair.partition("=")
    return f"{name}{equals}{masked(name, value)}"


def masked_prose(text: str) -> str:
    """A sentence, likewise of what it quotes: errors quote values."""
    return _QUOTED.sub(lambda match: f"{match[1]}{masked('', match[2])}{match[1]}", text)


def _hide_pairs(text: str) -> str:
    """Likewise of each pair; the value of one may be the name of the next: ``env = NAME=VALUE``."""
    done: list[str] = []
    position = 0
    while (match := _PAIR.search(text, position)) is not None:
        if _is_secret(match["name"]):
            done += text[position : match.start()], _hide(match)
            position = match.end()
        else:
            done.append(text[position : match.start("value")])
            position = match.start("value")
    return "".join((*done, text[position:]))


def _hide(match: re.Match[str]) -> str:
    value = match["value"].strip("'\"")
    if not _is_secret(match["name"]) or _FILE.fullmatch(value) or _REFERENCE.fullmatch(value):
        return match[0].strip(match.groupdict().get("quote") or "")  # a file that has it is none
    return f"{match['name']}{match['between']}{HIDDEN}"


def _is_secret(name: str) -> bool:
    plain = name.strip("-").replace("-", "_")
    return _SECRET.search(plain) is not None and not plain.lower().endswith(("file", "dir", "path"))
