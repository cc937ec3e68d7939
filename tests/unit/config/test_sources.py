"""Where values come from, which place wins, and what is said about a wrong one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from wsgi_async.config.sources import Settings, Value, gather
from wsgi_async.errors import ConfigError


def collect(
    directory: Path,
    toml: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    arguments: Mapping[str, object] | None = None,
    given: Mapping[str, object] | None = None,
) -> Settings:
    """Gather from a file, an environment, $WSGI_ASYNC_CMD_ARGS and a command line."""
    environ = dict(environ or {})
    if toml is not None:
        (directory / "wsgi_async.toml").write_text(toml)
    if arguments is not None:
        environ["WSGI_ASYNC_CMD_ARGS"] = "--these 'are parsed'"

    def parse(words: list[str]) -> Mapping[str, object]:
        assert words == ["--these", "are parsed"]
        return arguments or {}

    return gather(given or {}, parse=parse, environ=environ, directory=directory)


def fails(
    directory: Path, message: str, toml: str | None = None, **places: Mapping[str, str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        collect(directory, toml, **places)
    assert str(caught.value) == message


def test_the_defaults(tmp_path: Path) -> None:
    settings = collect(tmp_path)
    assert {value.origin for value in settings.values.values()} == {"default"}
    assert settings.config.bind == ()
    assert settings.config.threads == 8
    assert (settings.launch.app, settings.launch.factory) == ("", False)


def test_precedence(tmp_path: Path) -> None:
    places = {
        "environ": {"WSGI_ASYNC_THREADS": "3"},
        "arguments": {"threads": "4"},
        "given": {"threads": "5"},
    }
    origins = ["wsgi_async.toml", "$WSGI_ASYNC_THREADS", "$WSGI_ASYNC_CMD_ARGS", "command line"]
    for count, (number, origin) in enumerate(zip([2, 3, 4, 5], origins, strict=True)):
        used = dict(list(places.items())[:count])
        settings = collect(tmp_path, "threads = 2", **used)
        assert settings.config.threads == number
        assert settings.values["threads"] == Value(number, origin)
        assert settings.values["backlog"] == Value(2048, "default")


def test_a_file_has_names_with_underscores_and_every_kind_of_value(tmp_path: Path) -> None:
    settings = collect(
        tmp_path,
        """
        app = "site:make_app"
        factory = true
        bind = ["127.0.0.1:1", "unix:/a,b"]
        keep_alive = "5s"
        body_timeout = 2.5
        max_body_size = "10M"
        spool_threshold = 1024
        socket_mode = 0o600
        """,
    )
    config = settings.config
    assert (settings.launch.app, settings.launch.factory) == ("site:make_app", True)
    assert config.bind == ("127.0.0.1:1", "unix:/a,b")
    assert (config.keep_alive, config.body_timeout) == (5.0, 2.5)
    assert (config.max_body_size, config.spool_threshold) == (10 << 20, 1024)
    assert config.socket_mode == 0o600


def test_pyproject(tmp_path: Path) -> None:
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text("[project]\nname = 'x'")
    assert collect(tmp_path).config.threads == 8
    pyproject.write_text("[project]\nname = 'x'\n[tool.wsgi_async]\nthreads = 2\nbacklog = 1")
    settings = collect(tmp_path)
    assert settings.values["threads"] == Value(2, "pyproject.toml")
    # The file of our own is nearer; the two are not mixed.
    settings = collect(tmp_path, "threads = 3")
    assert settings.values["threads"] == Value(3, "wsgi_async.toml")
    assert settings.config.backlog == 2048


@pytest.mark.parametrize("place", ["given", "arguments", "environ"])
def test_a_named_file_is_the_only_one(tmp_path: Path, place: str) -> None:
    (tmp_path / "other.toml").write_text("backlog = 5")
    named = {"WSGI_ASYNC_CONFIG" if place == "environ" else "config": "other.toml"}
    settings = collect(tmp_path, "threads = 2", **{place: named})
    assert settings.values["backlog"] == Value(5, "other.toml")
    assert settings.config.threads == 8


def test_a_named_pyproject_has_its_section(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "pyproject.toml").write_text("[tool.wsgi_async]\nthreads = 2")
    settings = collect(tmp_path, given={"config": "sub/pyproject.toml"})
    assert settings.values["threads"] == Value(2, "sub/pyproject.toml")


def test_environment(tmp_path: Path) -> None:
    environ = {
        "WSGI_ASYNC_APP": "site:app",
        "WSGI_ASYNC_FACTORY": "no",
        "WSGI_ASYNC_BIND": "127.0.0.1:1,[::1]:2",
        "WSGI_ASYNC_KEEP_ALIVE": "1m",
        # Other programs' variables.
        "HOST": "x",
        "THREADS": "x",
        "LOG_LEVEL": "x",
    }
    settings = collect(tmp_path, environ=environ)
    assert settings.launch.app == "site:app"
    assert settings.config.bind == ("127.0.0.1:1", "[::1]:2")
    assert settings.values["keep_alive"] == Value(60.0, "$WSGI_ASYNC_KEEP_ALIVE")


# --- Where to listen


@pytest.mark.parametrize(
    ("environ", "given", "bind", "origin"),
    [
        ({}, {}, (), "default"),
        ({}, {"port": "9000"}, ("localhost:9000",), "command line"),
        ({}, {"host": "0.0.0.0"}, ("0.0.0.0:8000",), "command line"),
        ({}, {"host": "::1", "port": "0"}, ("[::1]:0",), "command line"),
        ({}, {"host": "*"}, (":8000",), "command line"),
        ({}, {"bind": ["a:1", "b:2"]}, ("a:1", "b:2"), "command line"),
        ({"PORT": "5000"}, {}, (":5000",), "$PORT"),
        ({"PORT": ""}, {}, (), "default"),
        ({"PORT": "5000"}, {"host": "::1"}, ("[::1]:5000",), "command line, $PORT"),
        ({"PORT": "5000"}, {"port": "9000"}, ("localhost:9000",), "command line"),
        ({"PORT": "5000"}, {"bind": ["a"]}, ("a",), "command line"),
        ({"PORT": "not used"}, {"bind": ["a"]}, ("a",), "command line"),
        (
            {"WSGI_ASYNC_HOST": "0.0.0.0"},
            {"port": "9000"},
            ("0.0.0.0:9000",),
            "$WSGI_ASYNC_HOST, command line",
        ),
        ({"WSGI_ASYNC_BIND": "a:1"}, {"port": "9000"}, ("localhost:9000",), "command line"),
        ({"WSGI_ASYNC_PORT": "1"}, {"bind": ["a:2"]}, ("a:2",), "command line"),
        ({"WSGI_ASYNC_BIND": "a:1"}, {}, ("a:1",), "$WSGI_ASYNC_BIND"),
    ],
)
def test_where_to_listen(
    tmp_path: Path,
    environ: dict[str, str],
    given: dict[str, object],
    bind: tuple[str, ...],
    origin: str,
) -> None:
    settings = collect(tmp_path, environ=environ, given=given)
    assert settings.values["bind"] == Value(bind, origin)
    assert settings.config.bind == bind


def test_a_bind_hides_the_host_beneath_it(tmp_path: Path) -> None:
    environ = {"WSGI_ASYNC_BIND": "b:2"}
    settings = collect(tmp_path, 'host = "a"', environ=environ, given={"port": "3"})
    assert settings.config.bind == ("localhost:3",)


@pytest.mark.parametrize(
    ("place", "values", "start"),
    [
        ("given", {"bind": ["a"], "port": "1"}, ""),
        ("arguments", {"bind": ["a"], "host": "b"}, "$WSGI_ASYNC_CMD_ARGS: "),
        ("environ", {"WSGI_ASYNC_BIND": "a", "WSGI_ASYNC_PORT": "1"}, "$WSGI_ASYNC_BIND: "),
    ],
)
def test_host_or_port_together_with_bind(
    tmp_path: Path, place: str, values: dict[str, str], start: str
) -> None:
    message = "--host and --port are short for --bind: give one or the other"
    with pytest.raises(ConfigError) as caught:
        collect(tmp_path, **{place: values})  # type: ignore[arg-type]
    assert str(caught.value) == start + message


def test_port_together_with_bind_in_a_file(tmp_path: Path) -> None:
    fails(
        tmp_path,
        "wsgi_async.toml: --host and --port are short for --bind: give one or the other",
        'bind = "a"\nport = 1',
    )


# --- What goes wrong


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("thread = 2", "wsgi_async.toml: No such option: thread. Did you mean threads?"),
        ("keep-alive = 2", "wsgi_async.toml: No such option: keep-alive. Did you mean keep_alive?"),
        ("zzz = 2", "wsgi_async.toml: No such option: zzz."),
        ('config = "a.toml"', "wsgi_async.toml: No such option: config. Did you mean log_config?"),
        (
            "threads = 0",
            "wsgi_async.toml: --threads takes a whole number, from 1 to 10000, not 0",
        ),
        (
            "parser = []",
            "wsgi_async.toml: --parser takes auto or h11, not []",
        ),
        (
            'host = "a:1"',
            "wsgi_async.toml: --host takes a host name or an IP address, without a port, not 'a:1'",
        ),
        (
            "port = 65536",
            "wsgi_async.toml: --port takes a port from 0 to 65535, not 65536",
        ),
    ],
)
def test_a_wrong_file(tmp_path: Path, toml: str, message: str) -> None:
    fails(tmp_path, message, toml)


def test_a_wrong_value_is_an_error_although_another_place_wins(tmp_path: Path) -> None:
    message = "wsgi_async.toml: --threads takes a whole number, from 1 to 10000, not 0"
    fails(tmp_path, message, "threads = 0", given={"threads": "1"})


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"WSGI_ASYNC_THREDS": "1"},
            "No such option: $WSGI_ASYNC_THREDS. Did you mean $WSGI_ASYNC_THREADS?",
        ),
        (
            {"WSGI_ASYNC_THREADS": ""},
            "$WSGI_ASYNC_THREADS: --threads takes a whole number, from 1 to 10000, not ''",
        ),
        ({"WSGI_ASYNC_CMD_ARGS": "'"}, "$WSGI_ASYNC_CMD_ARGS: No closing quotation"),
        ({"PORT": "http"}, "$PORT: --port takes a port from 0 to 65535, not 'http'"),
    ],
)
def test_a_wrong_environment(tmp_path: Path, environ: dict[str, str], message: str) -> None:
    fails(tmp_path, message, environ=environ)


def test_an_error_in_the_arguments_of_the_environment_names_it(tmp_path: Path) -> None:
    def parse(words: list[str]) -> Mapping[str, object]:
        raise ConfigError("No such option: --x.")

    with pytest.raises(ConfigError) as caught:
        gather({}, parse=parse, environ={"WSGI_ASYNC_CMD_ARGS": "--x"}, directory=tmp_path)
    assert str(caught.value) == "$WSGI_ASYNC_CMD_ARGS: No such option: --x."


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.toml", "--config: there is no file 'gone.toml'"),
        ("gunicorn.conf.py", "--config takes a file .toml, .py or .ini, not 'gunicorn.conf.py'"),
        ("dir.toml", "dir.toml: Is a directory"),
    ],
)
def test_a_named_file_that_cannot_be_read(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "dir.toml").mkdir()
    fails(tmp_path, message, given={"config": name})


@pytest.mark.parametrize("content", [b"threads = ", b"app = '\xff'"])
@pytest.mark.parametrize("name", ["wsgi_async.toml", "pyproject.toml"])
def test_invalid_toml(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=f"^{name} is not valid TOML: ") as caught:
        collect(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["tool = 3", "[tool]\nwsgi_async = 3"])
def test_a_section_that_is_no_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    if text == "tool = 3":  # somebody else's mistake
        assert collect(tmp_path).config.threads == 8
    else:
        fails(tmp_path, "pyproject.toml: tool.wsgi_async must be a table")


# --- Variables of a service that is called like this server


KUBERNETES = {
    "WSGI_ASYNC_SERVICE_HOST": "10.0.0.11",
    "WSGI_ASYNC_SERVICE_PORT": "80",
    "WSGI_ASYNC_SERVICE_PORT_HTTP": "80",
    "WSGI_ASYNC_PORT": "tcp://10.0.0.11:80",
    "WSGI_ASYNC_PORT_80_TCP": "tcp://10.0.0.11:80",
    "WSGI_ASYNC_PORT_80_TCP_PROTO": "tcp",
    "WSGI_ASYNC_PORT_80_TCP_PORT": "80",
    "WSGI_ASYNC_PORT_80_TCP_ADDR": "10.0.0.11",
    "WSGI_ASYNC_WEB_SERVICE_HOST": "10.0.0.12",
    "WSGI_ASYNC_WEB_SERVICE_PORT": "53",
    "WSGI_ASYNC_WEB_PORT": "udp://10.0.0.12:53",
    "WSGI_ASYNC_WEB_PORT_53_UDP": "udp://10.0.0.12:53",
    "WSGI_ASYNC_WEB_PORT_53_UDP_ADDR": "fd00::12",
}


def test_the_variables_of_a_service_are_left_alone(tmp_path: Path) -> None:
    settings = collect(tmp_path, environ=KUBERNETES)
    assert settings.values == collect(tmp_path).values
    settings = collect(tmp_path, environ={**KUBERNETES, "WSGI_ASYNC_HOST": "::1"})
    assert settings.config.bind == ("[::1]:8000",)
    # A deployment's own variable replaces that of the service.
    settings = collect(tmp_path, environ={**KUBERNETES, "WSGI_ASYNC_PORT": "81"})
    assert settings.config.bind == ("localhost:81",)
    docker = {
        "WSGI_ASYNC_PORT": "tcp://172.17.0.5:80",
        "WSGI_ASYNC_NAME": "/web/wsgi_async",
        "WSGI_ASYNC_ENV_SECRET": "x",
        "WSGI_ASYNC_ENV_FILE": "of_ours",
    }
    settings = collect(tmp_path, environ=docker)
    assert settings.launch.env_file == "of_ours"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"WSGI_ASYNC_SERVICE_PORT": "80"}, "No such option: $WSGI_ASYNC_SERVICE_PORT"),
        ({"WSGI_ASYNC_PORT_80_TCP": "x"}, "No such option: $WSGI_ASYNC_PORT_80_TCP"),
        ({"WSGI_ASYNC_ENV_SECRET": "x"}, "No such option: $WSGI_ASYNC_ENV_SECRET"),
        ({**KUBERNETES, "WSGI_ASYNC_THREDS": "1"}, "No such option: $WSGI_ASYNC_THREDS"),
        ({**KUBERNETES, "WSGI_ASYNC_SERVICE": "1"}, "No such option: $WSGI_ASYNC_SERVICE"),
        ({**KUBERNETES, "WSGI_ASYNC_PORT": "x"}, r"$WSGI_ASYNC_PORT: --port takes a port"),
        ({"WSGI_ASYNC_WORKERS": "tcp://10.0.0.1:80"}, "$WSGI_ASYNC_WORKERS: --workers takes"),
    ],
)
def test_other_variables_are_refused_as_ever(
    tmp_path: Path, environ: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        collect(tmp_path, environ=environ)


# --- What gunicorn would have read


def test_what_gunicorn_reads_and_this_server_does_not_is_said(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text("raise AssertionError('executed')")
    file = "./gunicorn.conf.py is not read without -c gunicorn.conf.py"
    variable = "$GUNICORN_CMD_ARGS is not read: $WSGI_ASYNC_CMD_ARGS is"
    environ = {"GUNICORN_CMD_ARGS": "--workers 9"}
    assert collect(tmp_path).notices == (file,)
    assert collect(tmp_path, environ=environ).notices == (file, variable)
    # With a configuration of its own the project has moved over.
    assert collect(tmp_path, "threads = 2", environ=environ).notices == (variable,)
