"""Files of --log-config that are wrong: each is one clear line, wherever it is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from log_lines import configured_by, restored

from wsgi_async.errors import ConfigError
from wsgi_async.logs.setup import follow_log_config

_restored = pytest.fixture(autouse=True)(restored)


BAD: dict[str, tuple[str, str]] = {
    "a.json": ("{", "is not valid JSON: "),
    "b.json": ("[]", "a table is expected, not list"),
    "c.json": ('{"handlers": []}', "handlers must be a table of tables"),
    "d.toml": ("a =", "is not valid TOML: "),
    "e.toml": (
        '[loggers.wsgi_async]\nhandlers = ["x"]',
        "the logger wsgi_async names the handler 'x', of which nothing is said",
    ),
    "f.ini": ("[loggers]\nkeys=root\n", "there is no section or key 'handlers'"),
    "g.ini": ("x", "File contains no section headers"),
    "h.ini": ("[loggers]\nkeys=a", "must have root among them"),
    "j.json": (
        '{"loggers": {"wsgi_async": {"handlers": 5}}}',
        "the handlers of the logger wsgi_async must be a list of names",
    ),
    "k.json": ('{"root": {"handlers": [["a"]]}}', "the logger root must be a list of names"),
    "i.yaml": ("a: b", "YAML is not read: write it as .toml, .json or .ini"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_clear_line(name: str, tmp_path: Path) -> None:
    text, expected = BAD[name]
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        configured_by(tmp_path, str(path))
    assert str(caught.value).startswith(f"--log-config {path}")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--log-config .*x\.ini: No such file or directory$"):
        configured_by(tmp_path, str(tmp_path / "x.ini"))


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (
            {"class": "nowhere.Handler"},
            "Unable to configure handler 'file': Cannot resolve 'nowhere",
        ),
        ({"class": "logging.FileHandler", "filename": "/nowhere/x"}, "No such file or directory"),
        ({"class": "logging.FileHandler"}, "filename"),
    ],
)
def test_a_handler_that_cannot_be_made(
    handler: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    config = {"handlers": {"file": handler}, "loggers": {"shop": {"handlers": ["file"]}}}
    configured_by(tmp_path, config)
    with pytest.raises(ConfigError, match=expected) as caught:
        follow_log_config()
    assert str(caught.value).startswith("--log-config: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("handler", "level", "expected"),
    [
        ({"filename": 5}, "INFO", "expected str, bytes or os.PathLike"),
        ({"filename": "a\0b"}, "INFO", "no path has such characters"),
        ({"level": "LOUD"}, "INFO", "Unknown level: 'LOUD'"),
        ({"level": [1]}, "INFO", "Level not an integer"),
        ({"formatter": ["x"]}, "INFO", "unhashable"),
        ({}, "LOUD", "Unknown level: 'LOUD'"),
    ],
)
def test_what_the_parent_would_take_if_it_were_right(
    handler: dict[str, Any], level: str, expected: str, tmp_path: Path
) -> None:
    """It is one clear line as well, and no traceback of the parent's, which may be serving."""
    plain = {"class": "logging.FileHandler", "filename": str(tmp_path / "x"), "delay": True}
    config = {
        "handlers": {"file": {**plain, **handler}},
        "loggers": {"wsgi_async": {"handlers": ["file"], "level": level}},
    }

    def serve() -> None:
        configured_by(tmp_path, config)
        follow_log_config()

    with pytest.raises(ConfigError, match=expected) as caught:
        serve()
    assert "\n" not in str(caught.value)
