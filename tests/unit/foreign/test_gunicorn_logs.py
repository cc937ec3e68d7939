"""gunicorn's settings on where its logs go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wsgi_async.errors import ConfigError
from wsgi_async.foreign.gunicorn import read
from wsgi_async.logs.configuration import read_log_config

NAME = "gunicorn.conf.py"


def convert(directory: Path, source: str) -> Any:
    path = directory / NAME
    path.write_text(f"threads = 2\n{source}\n")
    return read(path, NAME, {})


def test_logconfig_is_relative_to_chdir(tmp_path: Path) -> None:
    found = convert(tmp_path, "chdir = '/srv'\nlogconfig = 'log.ini'")
    assert found.options["log_config"] == "/srv/log.ini"
    assert found.notices == ()


def test_a_dict_has_gunicorns_defaults(tmp_path: Path) -> None:
    """Of which a key that is given replaces all."""
    found = convert(
        tmp_path, "logconfig_dict = {'loggers': {'gunicorn.error': {'handlers': ['console']}}}"
    )
    table = found.options["log_config"]
    assert set(table["handlers"]) == {"console", "error_console"}
    assert table["root"] == {"level": "INFO", "handlers": ["console"]}
    config = read_log_config(table)
    assert config is not None
    assert config.handlers_of("wsgi_async") == ("console",)
    assert config.plain["console"].target == "sys.stdout"


def test_a_dict_with_handlers_of_its_own_needs_no_root(tmp_path: Path) -> None:
    """gunicorn would look for its `console` in vain, and say so."""
    found = convert(tmp_path, "logconfig_dict = {'handlers': {}}")
    assert "root" not in found.options["log_config"]


def test_a_dict_goes_before_json_and_that_before_ini(tmp_path: Path) -> None:
    (tmp_path / "log.config").write_text('{"root": {"level": "ERROR"}}')
    both = f"logconfig = 'x.ini'\nchdir = {str(tmp_path)!r}\nlogconfig_json = 'log.config'"
    found = convert(tmp_path, both)
    assert found.options["log_config"]["root"] == {"level": "ERROR"}
    found = convert(tmp_path, f"{both}\nlogconfig_dict = {{'root': {{'level': 'DEBUG'}}}}")
    assert found.options["log_config"]["root"] == {"level": "DEBUG"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("logconfig_json = '/nowhere.json'", "/nowhere.json: No such file or directory"),
        ("logconfig_dict = [1]", "logconfig_dict takes a dict, not [1]"),
    ],
)
def test_what_cannot_be_read(source: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        convert(tmp_path, source)
    assert str(caught.value).startswith(f"{NAME}: ")
    assert str(caught.value).endswith(expected)


def test_syslog(tmp_path: Path) -> None:
    found = convert(
        tmp_path,
        "syslog = True\nsyslog_addr = 'unix:///dev/log#dgram'\nsyslog_prefix = 'my shop'\n"
        "syslog_facility = 'local1'",
    )
    assert found.options == {
        "threads": 2,
        "log_syslog_to": "unix:///dev/log#dgram",
        "log_syslog_prefix": "my.shop",
        "log_syslog_facility": "local1",
    }
    [notice] = found.notices
    assert notice.startswith(f"{NAME}: syslog: messages are of my.shop and my.shop.access here")


def test_its_defaults(tmp_path: Path) -> None:
    found = convert(tmp_path, "syslog = True\nproc_name = 'shop:1'")
    assert found.options["log_syslog_to"] == "udp://localhost:514"
    assert found.options["log_syslog_prefix"] == "shop.1"
    assert found.options["log_syslog_facility"] == "user"


def test_without_syslog_the_rest_of_it_is_nothing(tmp_path: Path) -> None:
    found = convert(tmp_path, "syslog_addr = 'udp://a:1'\ndisable_redirect_access_to_syslog = True")
    assert found.options == {"threads": 2}
    assert found.notices == ()
