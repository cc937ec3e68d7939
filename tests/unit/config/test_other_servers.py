"""Command lines of other servers: what is taken, what is ignored, and what is said of the rest."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from wsgi_async.cli import main
from wsgi_async.config import other_servers
from wsgi_async.config.options import LAUNCH_OPTIONS, OPTIONS


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """The output of --print-config."""

    def show(*args: str) -> str:
        with pytest.raises(SystemExit) as caught:
            main([*args, "--print-config"])
        out, err = capsys.readouterr()
        assert (caught.value.code, err) == (0, "")
        return str(out)

    return show


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        # gunicorn
        ("-b :1 -w 3 -t 5 -p x.pid -u a -g b -m 022 -e A=1", {"bind": [":1"], "workers": 3}),
        ("--limit-request-field_size 9", {"limit_request_field_size": 9}),
        ("--log-file e.log", {"error_logfile": "e.log"}),
        ("--worker-connections 9 --keep-alive 3", {"max_connections": 9, "keep_alive": "3s"}),
        ("--reload --reload-extra-file x", {"reload": True, "reload_include": ["x"]}),
        (
            "--statsd-host localhost:8125 --statsd-prefix a.b --dogstatsd-tags a:1,b:2",
            {"statsd_host": "localhost:8125", "statsd_prefix": "a.b", "dogstatsd_tags": "a:1,b:2"},
        ),
        (
            "--control-socket g.ctl --control-socket-mode 660",
            {"control_socket": "g.ctl", "control_socket_mode": 0o660},
        ),
        ("--control-socket g.ctl --no-control-socket", {"control_socket": ""}),
        ("--no-control-socket", {"control_socket": ""}),
        ("--paste x.ini#a --paste-global a=1", {"app": "x.ini#a", "paste_global": ["a=1"]}),
        # uvicorn
        ("--host 0.0.0.0 --port 1 --workers 2", {"bind": ["0.0.0.0:1"], "workers": 2}),
        ("--uds /x --no-access-log --factory", {"bind": ["unix:/x"], "factory": True}),
        ("--timeout-keep-alive 3 --app-dir d", {"keep_alive": "3s", "pythonpath": ["d"]}),
        ("--limit-max-requests 9 --env-file .env", {"max_requests": 9, "env_file": ".env"}),
        ("--h11-max-incomplete-event-size 9", {"max_header_size": 9}),
        ("--header a:b --header C:d --no-server-header", {"header": ["a:b", "C:d"]}),
        ("--no-server-header", {"server_header": False}),
        ("--server-header", {"server_header": True}),
        # waitress
        ("--ident=a --header b:c", {"header": ["b:c", "Server: a"], "server_header": True}),
        ("--ident=", {"header": [], "server_header": False}),
        ("--listen=*:1 --threads=3", {"bind": ["*:1"], "threads": 3}),
        ("--unix-socket /x --unix-socket-perms 600", {"bind": ["unix:/x"], "socket_mode": 0o600}),
        ("--channel-timeout 9 --connection-limit 7", {"keep_alive": "9s", "max_connections": 7}),
        ("--max-request-header-size 9 --call", {"max_header_size": 9, "factory": True}),
        ("--inbuf-overflow 9 --outbuf-overflow 8", {"spool_threshold": 9, "response_buffer": 8}),
        ("--expose-tracebacks --url-prefix=/a", {"debug": True, "root_path": "/a"}),
        ("--expose-tracebacks --no-expose-tracebacks", {"debug": False}),
        # granian
        ("--blocking-threads 3 --workers-lifetime 5m", {"threads": 3, "worker_lifetime": "300s"}),
        ("--workers-kill-timeout 7 --working-dir d", {"graceful_timeout": "7s", "chdir": "d"}),
        ("--pid-file x --env-files .env", {"pid": "x", "env_file": ".env"}),
        ("--metrics", {"metrics_bind": "127.0.0.1:9090"}),
        ("--metrics --metrics-port 1 --metrics-address ::1", {"metrics_bind": "[::1]:1"}),
        ("--no-metrics --metrics-port 1", {"metrics_bind": ""}),
        ("--static-path-mount d", {"static": ["/static=d"]}),
        ("--static-path-mount d --static-path-route /s", {"static": ["/s=d"]}),
        # uWSGI
        ("-s /x.sock --master --vacuum --die-on-term", {"bind": ["uwsgi+unix:/x.sock"]}),
        ("--socket :1 --protocol http", {"bind": [":1"], "protocol": "http"}),
        ("--socket :1 --protocol=fastcgi", {"bind": ["fastcgi://:1"]}),
        ("--socket @x --scgi-socket :1 -b :2", {"bind": [":2", "scgi://:1", "uwsgi+unix:@x"]}),
        ("--uwsgi-socket :1 --fastcgi-socket :2", {"bind": ["fastcgi://:2", "uwsgi://:1"]}),
        ("--http-socket :1 --http :2", {"bind": [":2", ":1"]}),
        ("--module a.b --callable c", {"app": "a.b:c"}),
        ("--wsgi-file d/a.py --callable c", {"app": "d/a.py:c"}),
        ("a:b --callable c", {"app": "a:c"}),
        ("--processes 3 --threads 2 --enable-threads", {"workers": 3, "threads": 2}),
        ("--http :1 -p 4 -w a.b:c", {"bind": [":1"], "workers": 4, "app": "a.b:c", "pid": ""}),
        ("-s :1 -w a --processes 3 -p x.pid", {"workers": 3, "app": "a", "pid": "x.pid"}),
        ("-s :1 -w 4 a", {"workers": 4, "app": "a"}),
        ("--http auto -p 4", {"pid": "4", "workers": 1}),
        ("--http=auto -p 4", {"pid": "4", "workers": 1}),
        ("--http=:1 -p 4", {"pid": "", "workers": 4}),
        ("--chmod-socket=666 --uid u --gid g", {"socket_mode": 0o666, "user": "u", "group": "g"}),
        ("--chown-socket shop:www-data", {"socket_owner": "shop:www-data"}),
        ("--static-map /s=d --logto x.log", {"static": ["/s=d"], "error_logfile": "x.log"}),
        # TLS: gunicorn, uvicorn, granian, hypercorn
        (
            "--certfile c --keyfile k --ca-certs a --cert-reqs 2 --ciphers HIGH --ssl-version TLS",
            {"certfile": ["c"], "keyfile": ["k"], "ca_certs": "a", "cert_reqs": "required"},
        ),
        (
            "--ssl-certfile c --ssl-keyfile k --ssl-ca-certs a --ssl-cert-reqs 1 --ssl-version 5 "
            "--ssl-ciphers TLSv1 --ssl-keyfile-password file:p",
            {"certfile": ["c"], "cert_reqs": "optional", "ciphers": "TLSv1", "tls_min": "1.2"},
        ),
        (
            "--ssl-certificate c --ssl-keyfile k --ssl-ca a --ssl-client-verify "
            "--ssl-protocol-min tls1.3",
            {"certfile": ["c"], "ca_certs": "a", "cert_reqs": "required", "tls_min": "1.3"},
        ),
        ("--certfile c --no-ssl-client-verify", {"cert_reqs": "none"}),
        (
            "--certfile c --keyfile-password file:p --ca-certs a --verify-mode CERT_REQUIRED",
            {"keyfile_password": "file:p", "cert_reqs": "required"},
        ),
    ],
)
def test_other_spellings(show, args: str, expected: dict[str, object]) -> None:  # type: ignore[no-untyped-def]
    values = tomllib.loads(show(*args.split()))
    assert {name: values[name] for name in expected} == expected


def test_an_address_of_metrics_alone_is_not_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    """granian serves none without --metrics; whoever writes a port wants them, or has a typo."""
    with pytest.raises(SystemExit) as caught:
        main(["app", "--metrics-port", "9090"])
    assert caught.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "--metrics-port go with --metrics" in line


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("--paste egg:shop", "--paste takes FILE.ini or FILE.ini#NAME, not 'egg:shop'"),
        ("--paste x.ini app", "APP and --paste are the same: give one of them"),
    ],
)
def test_an_application_of_pastedeploys(
    capsys: pytest.CaptureFixture[str], args: str, said: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(args.split())
    assert caught.value.code == 1
    assert capsys.readouterr().err == f"wsgi-async: error: {said}\n"


def notices(text: str) -> list[str]:
    return [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ")]


@pytest.mark.parametrize("name", sorted(other_servers.WORKER_CLASSES))
def test_worker_classes_are_accepted_with_a_notice(show, name: str) -> None:  # type: ignore[no-untyped-def]
    (notice,) = notices(show("-k", name))
    assert notice.startswith(f"--worker-class {name} is not used: an event loop takes")
    (notice,) = notices(show("--worker-class", "mine.Worker"))
    assert notice.startswith("--worker-class mine.Worker is not used, and not known: ")


def test_what_is_ignored_is_said_in_one_line(show) -> None:  # type: ignore[no-untyped-def]
    text = show("--worker-tmp-dir", "/dev/shm", "--no-sendfile", "--loop=uvloop", "--loop=auto")
    assert notices(text) == ["--worker-tmp-dir, --loop, --no-sendfile: of no use here, and ignored"]


def test_uvicorns_parser_is_no_address_of_uwsgis(show) -> None:  # type: ignore[no-untyped-def]
    text = show("--http", "h11", "--http=auto")
    assert notices(text) == ["--http h11, auto: of no use here, and ignored"]
    assert tomllib.loads(text)["bind"] == ["localhost:8000"]
    # What uWSGI would do anyway is done without a word.
    assert notices(show(*other_servers.FULFILLED_FLAGS)) == []


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("app --module app", "APP and --module are the same: give one of them"),
        ("--callable app", "--callable goes with --module"),
        ("-s :1 -w app app", "APP and --module are the same: give one of them"),
        ("-w app", "--workers takes a whole number, from 1 to 1000, not 'app'"),
    ],
)
def test_one_application(capsys: pytest.CaptureFixture[str], args: str, message: str) -> None:
    with pytest.raises(SystemExit):
        main(args.split())
    assert capsys.readouterr().err == f"wsgi-async: error: {message}\n"


def test_each_that_is_ignored_can_be_given(show) -> None:  # type: ignore[no-untyped-def]
    values = [word for flag in other_servers.IGNORED for word in (flag, "x")]
    (notice,) = notices(show(*values, *other_servers.IGNORED_FLAGS))
    assert all(flag in notice for flag in (*other_servers.IGNORED, *other_servers.IGNORED_FLAGS))


@pytest.mark.parametrize("flag", sorted(other_servers.ABSENT))
def test_options_that_we_do_not_have_are_errors_that_say_so(
    capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([flag, "x"])
    assert caught.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"wsgi-async: error: No such option: {flag}. Other servers have it, this one does not"
    )


def test_what_is_absent_is_not_there() -> None:
    specs = (*LAUNCH_OPTIONS, *OPTIONS)
    ours = {flag for spec in specs for flag in (spec.flag, *spec.flags, *spec.aliases)}
    tables = (
        other_servers.ABSENT,
        other_servers.IGNORED,
        other_servers.IGNORED_FLAGS,
        other_servers.FULFILLED_FLAGS,
    )
    others = {flag for table in tables for flag in table}
    assert not ours & others
    assert len(others) == sum(map(len, tables))


@pytest.mark.parametrize(
    ("flag", "hint"),
    [
        ("--thread", "--threads?"),
        ("--blocking-thread", "--blocking-threads, which is --threads here?"),
        ("--channel-timeouts", "--channel-timeout, which is --keep-alive here?"),
    ],
)
def test_the_nearest_name(capsys: pytest.CaptureFixture[str], flag: str, hint: str) -> None:
    with pytest.raises(SystemExit):
        main([flag, "3"])
    err = capsys.readouterr().err
    assert err == f"wsgi-async: error: No such option: {flag}. Did you mean {hint}\n"
