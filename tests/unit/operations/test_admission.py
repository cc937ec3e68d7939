"""Who may see the dashboard, and who may act: rebinding, other origins, stolen and old cookies."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from wsgi_async.errors import ConfigError
from wsgi_async.operations.admission import LASTS, Admission, Visit, Wish, read_token

TOKEN = b"a-token-of-32-characters-or-more"
HOST = "ops.test:9180"


class Clock:
    """One that a test sets."""

    def __init__(self) -> None:
        self.now = 1_796_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guarded(clock: Clock) -> Admission:
    """One with a token."""
    return Admission(("203.0.113.7",), TOKEN, b"secret", clock)


def signed_in(admission: Admission, host: str = HOST) -> str:
    """The Cookie field of whoever has shown the token at that host."""
    return admission.make_cookie(host, is_secure=False).partition(";")[0]


# --- Hosts


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LocalHost:9180", "localhost.", "127.0.0.1", "127.0.0.1:80", "127.9.9.9:1"),
        *("[::1]", "[::1]:9180", "dash.localhost:9180", "192.0.2.1:5", "[2001:db8::1]"),
    ],
)
def test_without_a_token_names_of_this_machine_are_answered(host: str) -> None:
    admission = Admission(("192.0.2.1", "[2001:db8::1]"))
    for wish in (Wish.PAGE, Wish.FIGURES):
        assert admission.judge(wish, Visit(host=host)).is_granted


@pytest.mark.parametrize(
    "host",
    [
        *("evil.test", "evil.test:9180", "localhost.evil.test", "127.0.0.1.evil.test", "1270.0.1"),
        *("192.0.2.2", "[2001:db8::2]", "notlocalhost", "localhost:", "", "localhost:1:2", "[::1"),
        *(
            "localhost/",
            "localhost@evil.test",
            "evil.test localhost",
            "localhost\n",
            "localhost:99x",
        ),
        *("2130706433", "0x7f.1", "[::ffff:192.0.2.2]", "local_host", "\xff"),
    ],
)
def test_a_name_that_was_made_to_mean_this_machine_is_not(host: str) -> None:
    """DNS rebinding: the browser takes evil.test for the same origin, and says so by its Host."""
    admission = Admission(("192.0.2.1", "[2001:db8::1]"))
    for wish in (Wish.PAGE, Wish.FIGURES, Wish.ACTION):
        verdict = admission.judge(wish, Visit(host=host))
        assert verdict.status == 421
        assert "localhost" in verdict.text


def test_with_a_token_any_name_will_do_and_gains_nobody_anything(guarded: Admission) -> None:
    assert guarded.judge(Wish.PAGE, Visit(host="evil.test")).is_granted
    assert guarded.judge(Wish.FIGURES, Visit(host="evil.test")).status == 401
    assert guarded.judge(Wish.PAGE, Visit(host="evil test")).status == 421


# --- Figures


@pytest.mark.parametrize(
    ("site", "status"),
    [("", 200), ("same-origin", 200), ("none", 200), ("cross-site", 403), ("same-site", 403)],
)
def test_pages_of_other_origins_get_no_figures(site: str, status: int) -> None:
    """They could not read them, but take the places of who can."""
    visit = Visit(host="localhost", site=site)
    assert Admission().judge(Wish.FIGURES, visit).status == status
    assert Admission().judge(Wish.PAGE, visit).is_granted


@pytest.mark.parametrize(
    ("wish", "method", "allow"),
    [
        (Wish.FIGURES, "POST", "GET, HEAD"),
        (Wish.PAGE, "DELETE", "GET, HEAD"),
        (Wish.FIGURES, "get", "GET, HEAD"),
    ],
)
def test_other_methods_are_told_which_there_are(wish: Wish, method: str, allow: str) -> None:
    verdict = Admission().judge(wish, Visit(method=method, host="localhost"))
    assert (verdict.status, verdict.allow) == (405, allow)


# --- Tokens and cookies


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN.decode()}", 200),
        (f"bearer  {TOKEN.decode()} ", 200),
        ("Bearer", 401),
        ("Bearer ", 401),
        (f"Basic {TOKEN.decode()}", 401),
        (f"Bearer {TOKEN.decode()[:-1]}", 401),
        (f"Bearer {TOKEN.decode()}x", 401),
        (f"Bearer {TOKEN.decode().upper()}", 401),
        ("Bearer \xff\ud800", 401),
        (TOKEN.decode(), 401),
    ],
)
def test_programs_send_the_token(guarded: Admission, authorization: str, status: int) -> None:
    visit = Visit(host=HOST, authorization=authorization)
    assert guarded.judge(Wish.FIGURES, visit).status == status


def test_without_a_token_nothing_is_one() -> None:
    assert not Admission().is_token("")
    assert Admission().is_known(Visit(host="localhost"))


def test_a_cookie_stands_for_the_token_until_its_time_is_over(
    guarded: Admission, clock: Clock
) -> None:
    visit = Visit(host=HOST, cookie=signed_in(guarded))
    assert guarded.judge(Wish.FIGURES, visit).is_granted
    # However the name is written, and among others.
    assert guarded.is_known(visit._replace(host=HOST.upper(), cookie=f"a=b; {visit.cookie}; c"))
    clock.now += LASTS - 1
    assert guarded.is_known(visit)
    clock.now += 1
    assert not guarded.is_known(visit)


def test_what_the_cookie_may(guarded: Admission) -> None:
    """No script reads it, no other site sends it, and where there is TLS only that carries it."""
    plain = guarded.make_cookie(HOST, is_secure=False)
    assert re.fullmatch(
        r"wsgi_async_[0-9a-f]{8}=[0-9]+\.[0-9a-f]{64}; Max-Age=43200; Path=/; HttpOnly; "
        r"SameSite=Strict",
        plain,
    )
    assert guarded.make_cookie(HOST, is_secure=True) == f"{plain}; Secure"
    assert TOKEN.decode() not in plain


@pytest.mark.parametrize(
    "host", ["other.test:9180", "ops.test", "ops.test:9181", "127.0.0.1:9180", "ops.test.:9180"]
)
def test_a_stolen_cookie_is_worth_nothing_on_another_host(guarded: Admission, host: str) -> None:
    assert not guarded.is_known(Visit(host=host, cookie=signed_in(guarded)))


@pytest.mark.parametrize(
    ("token", "secret"), [(TOKEN, b"another"), (b"another-token-of-the-operator", b"secret")]
)
def test_nor_to_another_server_nor_once_the_token_has_changed(
    guarded: Admission, clock: Clock, token: bytes, secret: bytes
) -> None:
    other = Admission((), token, secret, clock)
    assert not other.is_known(Visit(host=HOST, cookie=signed_in(guarded)))
    _, _, value = signed_in(guarded).partition("=")
    assert not other.is_known(Visit(host=HOST, cookie=f"{other.cookie}={value}"))
    assert Admission((), TOKEN, b"secret", clock).is_known(
        Visit(host=HOST, cookie=signed_in(guarded))
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value[:-1] + ("0" if value[-1] != "0" else "1"),
        lambda value: "9999999999" + value[value.index(".") :],
        lambda value: value.partition(".")[0] + ".",
        lambda value: value.partition(".")[2],
        lambda value: f'"{value}"',
        lambda value: value.upper(),
        lambda value: value + "\xff",
        lambda value: "",
    ],
)
def test_a_cookie_that_was_changed_is_none(
    guarded: Admission, change: Callable[[str], str]
) -> None:
    name, _, value = signed_in(guarded).partition("=")
    assert not guarded.is_known(Visit(host=HOST, cookie=f"{name}={change(value)}"))


# --- Actions


def action(admission: Admission, **facts: str) -> Visit:
    """What the page itself sends."""
    visit = Visit(
        method="POST",
        host=HOST,
        origin=f"http://{HOST}",
        site="same-origin",
        cookie=signed_in(admission),
        content_type="application/json",
    )
    return visit._replace(**facts)


def judged(admission: Admission, visit: Visit) -> int:
    return admission.judge(Wish.ACTION, visit, ("POST",)).status


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({}, 200),
        ({"content_type": "Application/JSON; charset=utf-8"}, 200),
        ({"origin": f"https://{HOST}"}, 200),  # by a proxy that speaks TLS
        ({"origin": ""}, 200),  # the browser has said that it is our page
        ({"site": ""}, 200),  # an older browser, with its Origin
        ({"origin": "", "site": ""}, 403),
        ({"origin": "", "site": "none"}, 403),
        ({"origin": "http://evil.test"}, 403),
        ({"origin": "http://evil.test", "site": "cross-site"}, 403),
        ({"site": "cross-site"}, 403),
        ({"site": "same-site"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": HOST}, 403),
        ({"origin": "http://ops.test:8000"}, 403),  # the site itself is no dashboard
        ({"cookie": ""}, 401),
        ({"method": "GET"}, 405),
        ({"method": "PUT"}, 405),
        ({"content_type": ""}, 415),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_actions_are_for_the_page_itself(
    guarded: Admission, facts: dict[str, str], status: int
) -> None:
    assert judged(guarded, action(guarded, **facts)) == status


def test_programs_with_the_token_may_act(guarded: Admission) -> None:
    bearer = f"Bearer {TOKEN.decode()}"
    program = action(guarded, cookie="", origin="", site="", authorization=bearer)
    assert judged(guarded, program) == 200
    assert judged(guarded, program._replace(origin="http://evil.test")) == 403


def test_without_a_token_nobody_acts() -> None:
    admission = Admission(("localhost",))
    verdict = admission.judge(
        Wish.ACTION, action(admission, host="localhost", origin="http://localhost"), ("POST",)
    )
    assert verdict.status == 403
    assert "--dashboard-token-file" in verdict.text


# --- The file


def test_a_token_is_read_without_the_space_around_it(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(b"  " + TOKEN + b"\r\n")
    for mode in (0o600, 0o400, 0o640):
        file.chmod(mode)
        assert read_token(str(file)) == TOKEN


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o660, 0o644, 0o666])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "token"
    file.write_bytes(TOKEN)
    file.chmod(mode)
    with pytest.raises(ConfigError, match=f"mode {mode:o}.*chmod 600 "):
        read_token(str(file))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"short",
        b"fifteen-letters",
        b"x" * 1025,
        b"with a space in the middle",
        b"\xff" * 20,
    ],
)
def test_a_token_that_is_none_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="16 to 1024 characters") as caught:
        read_token(str(file))
    assert "\n" not in str(caught.value)
    assert not content.strip() or content.decode("latin-1") not in str(caught.value)


def test_no_file_and_no_ordinary_file_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_token(str(tmp_path / "none"))
    os.mkfifo(fifo := tmp_path / "fifo")
    fifo.chmod(0o600)
    for other, kind in ((tmp_path, "Is a directory"), (fifo, "it is a pipe")):
        with pytest.raises(ConfigError, match=f"cannot be read: {kind}"):
            read_token(str(other))
