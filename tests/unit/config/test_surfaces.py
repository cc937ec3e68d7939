"""What the operations process serves, and where."""

from __future__ import annotations

import pytest

from wsgi_async.config.option import Scope
from wsgi_async.config.options import OPTIONS, Config
from wsgi_async.config.surfaces import Surface
from wsgi_async.errors import ConfigError


def test_each_is_an_option_of_a_fleet() -> None:
    """Where there is no parent, each is refused as any other of that scope is."""
    fleet = {spec.name for spec in OPTIONS if spec.scope is Scope.FLEET}
    assert {surface.value for surface in Surface} <= fleet


def test_none_is_served_unless_it_is_asked_for() -> None:
    assert Config().surfaces == ()
    config = Config(control_socket="/run/x", dashboard_bind=":0")
    assert config.surfaces == (Surface.CONTROL, Surface.DASHBOARD)


@pytest.mark.parametrize("text", ["/run/app/control.sock", "control.sock", "unix:control.sock"])
def test_a_control_socket_is_a_file(text: str) -> None:
    assert Config(control_socket=text).control_socket == text
    assert Surface.CONTROL.address(text) == f"unix:{text.removeprefix('unix:')}"


@pytest.mark.parametrize("text", ["@name", "unix:@name", "unix:", "/" * 200])
def test_what_is_no_control_socket(text: str) -> None:
    """A name in the abstract namespace has no mode."""
    with pytest.raises(ConfigError, match=r"^--control-socket takes the path of a socket file"):
        Config(control_socket=text)


@pytest.mark.parametrize(
    "bind", [":0", "127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "unix:x", "unix:@x"]
)
def test_a_dashboard_of_this_machine_needs_no_token(bind: str) -> None:
    assert Config(dashboard_bind=bind).dashboard_bind == bind


@pytest.mark.parametrize("bind", ["*:1", "0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1"])
def test_a_dashboard_elsewhere_needs_a_token(bind: str) -> None:
    with pytest.raises(ConfigError, match=r"can be reached from elsewhere: give --dashboard-token"):
        Config(dashboard_bind=bind)
    assert Config(dashboard_bind=bind, dashboard_token_file="x").dashboard_bind == bind


def test_the_error_names_its_own_option() -> None:
    with pytest.raises(ConfigError, match=r"^--dashboard-bind takes one address"):
        Config(dashboard_bind="9100")
