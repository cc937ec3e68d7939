"""curl, openssl and httpx over TLS: what they accept and refuse, and what they are told."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import certificates
import httpx
import pytest
from certificates import LOCAL, Pair, authority, certificate_of_authority
from curl import curl
from rawclient import TIMEOUT, request
from serving import Served, serving
from shown import echo
from tools import require_program


def application(environ: dict[str, Any], start_response: Any) -> Any:
    if environ["PATH_INFO"] == "/cut":
        start_response("200 OK", [])
        return cut()
    return echo(environ, start_response)


def cut() -> Iterator[bytes]:
    yield b"the beginning\n"
    raise RuntimeError("the end never comes")


def pairs(*chosen: Pair) -> dict[str, Any]:
    """Options for these certificates."""
    return {
        "certfile": [str(pair.certificate) for pair in chosen],
        "keyfile": [str(pair.key) for pair in chosen],
    }


class Site(NamedTuple):
    served: Served
    pairs: dict[str, Pair]

    @property
    def port(self) -> int:
        assert self.served.server.port is not None
        return self.served.server.port

    def at(self, host: str) -> list[str]:
        """curl's arguments to ask that host for ``/``, which is here."""
        return ["--resolve", f"{host}:{self.port}:127.0.0.1", f"https://{host}:{self.port}/"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three names, one of them any of a domain's, with an intermediate authority."""
    directory = tmp_path_factory.mktemp("site")
    issue = authority().issue
    made = {
        "localhost": issue(directory, *LOCAL),
        "one.example": issue(directory, "one.example", "www.one.example", intermediates=2),
        "*.two.example": issue(directory, "*.two.example"),
    }
    with serving(application, **pairs(*made.values())) as served:
        yield Site(served, made)


# --- curl --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "pair"),
    [
        ("localhost", "localhost"),
        ("one.example", "one.example"),
        ("www.one.example", "one.example"),
        ("any.two.example", "*.two.example"),
        ("ANY.Two.Example", "*.two.example"),
    ],
)
def test_curl_gets_the_certificate_of_the_name_it_asks_for(
    host: str, pair: str, site: Site
) -> None:
    done = curl(*site.at(host))
    assert done.code == 0, done.told
    environ = json.loads(done.out)
    assert (environ["wsgi.url_scheme"], environ["HTTPS"]) == ("https", "on")
    assert environ["SSL_TLS_SNI"].lower() == host.lower()
    assert shown_to(site, host) == site.pairs[pair].leaf.strip()


def shown_to(site: Site, host: str) -> str:
    """The certificate that openssl is shown, as PEM."""
    told = s_client(site.port, "-servername", host, "-showcerts")
    found = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", told, re.DOTALL)
    assert found is not None, told
    return found[0]


@pytest.mark.parametrize("host", ["other.example", "two.example", "a.b.two.example"])
def test_for_a_name_that_no_certificate_has_curl_is_shown_the_first(host: str, site: Site) -> None:
    done = curl(*site.at(host))
    assert done.code == 60
    assert "no alternative certificate subject name matches" in done.told
    assert json.loads(curl("-k", *site.at(host)).out)["SSL_TLS_SNI"] == host


def test_who_asks_by_address_names_no_host(site: Site) -> None:
    done = curl(f"https://127.0.0.1:{site.port}/")
    assert done.code == 0, done.told
    assert "SSL_TLS_SNI" not in json.loads(done.out)


@pytest.mark.parametrize(
    ("valid", "names", "said"),
    [
        (certificates.EXPIRED, LOCAL, "certificate has expired"),
        (certificates.NOT_YET, LOCAL, "certificate is not yet valid"),
        (certificates.NOW, ("elsewhere.example",), "no alternative certificate subject name"),
        (None, LOCAL[:1], "self.signed certificate"),
    ],
    ids=["expired", "not yet", "wrong name", "self-made"],
)
def test_curl_refuses_what_is_not_good_and_the_server_goes_on(
    valid: certificates.Days | None, names: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    if valid is None:
        pair = certificates.self_made(tmp_path, *names)
    else:
        pair = authority().issue(tmp_path, *names, valid=valid)
    with serving(application, **pairs(pair)) as served:
        url = f"https://localhost:{served.server.port}/"
        done = curl("-4", url)
        assert done.code == 60
        assert re.search(said, done.told)
        # Who does not look is answered.
        assert curl("-4", "-k", url).code == 0
        assert served.recorder.of("error") == []


def test_who_trusts_nobody_here_gets_nothing(site: Site, tmp_path: Path) -> None:
    other = certificates.Authority().write(tmp_path)
    assert curl("--cacert", str(other), *site.at("localhost")).code == 60


@pytest.mark.parametrize(("version", "code"), [("1.0", 35), ("1.1", 35), ("1.2", 0), ("1.3", 0)])
def test_versions(version: str, code: int, site: Site) -> None:
    # Of Debian's OpenSSL the old ones have to be asked for twice.
    old = ["--ciphers", "DEFAULT@SECLEVEL=0"] if code else []
    done = curl(f"--tlsv{version}", "--tls-max", version, *old, *site.at("localhost"))
    assert done.code == code, done.told
    if code == 0:
        environ = json.loads(done.out)
        assert environ["SSL_PROTOCOL"] == f"TLSv{version}"
        assert environ["SSL_CIPHER"] in done.told
    else:
        assert "alert" in done.told


def test_only_1_3_where_it_is_the_lowest(tmp_path: Path) -> None:
    with serving(application, tls=True, tls_min="1.3") as served:
        url = f"https://localhost:{served.server.port}/"
        assert curl("-4", "--tls-max", "1.2", url).code == 35
        assert json.loads(curl("-4", url).out)["SSL_PROTOCOL"] == "TLSv1.3"


def test_curl_agrees_on_http_1_1(site: Site) -> None:
    """It offers h2 too, which would be spoken if the server took it."""
    done = curl(*site.at("localhost"))
    assert re.search(r"ALPN[:,] server accepted (to use )?http/1\.1", done.told)
    assert done.facts["http_version"] == "1.1"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_resumes_its_session_on_a_new_connection(version: str, site: Site) -> None:
    *where, url = site.at("localhost")
    done = curl("--tls-max", version, "-H", "Connection: close", *where, url, url, url)
    assert done.code == 0
    assert done.told.count("SSL re-using session ID") == 2
    assert done.facts["num_connects"] == "1"


# --- certificates of clients -------------------------------------------------------------------


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clients")


@pytest.fixture(scope="module", params=["optional", "required"])
def asking(request: pytest.FixtureRequest) -> Iterator[tuple[str, Served]]:
    """A server that wants its clients' certificates."""
    ca = str(certificate_of_authority())
    with serving(application, tls=True, ca_certs=ca, cert_reqs=request.param) as served:
        yield request.param, served


def own(pair: Pair, *more: str) -> list[str]:
    """curl's arguments to show a certificate of its own."""
    return ["-4", "--cert", str(pair.certificate), "--key", str(pair.key), *more]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_with_its_own_certificate(
    version: str, asking: tuple[str, Served], clients: Path
) -> None:
    _, served = asking
    pair = authority().issue(clients, "ann@example.org", common_name="Ann", organization="Ours")
    done = curl(*own(pair, "--tls-max", version, served.url))
    assert done.code == 0, done.told
    environ = json.loads(done.out)
    assert environ["SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert re.search(r"\bCN ?= ?Ann\b", environ["SSL_CLIENT_S_DN"])
    assert re.search(r"\bO ?= ?Ours\b", environ["SSL_CLIENT_S_DN"])
    # A resumed session has no certificate on the wire, and is the same client's all the same.
    again = curl(*own(pair, "--tls-max", version, "-H", "Connection: close"), *[served.url] * 2)
    first, end = json.JSONDecoder().raw_decode(again.out.decode())
    second = json.loads(again.out[end:])
    assert first["SSL_CLIENT_S_DN"] == second["SSL_CLIENT_S_DN"] == environ["SSL_CLIENT_S_DN"]
    assert "SSL re-using session ID" in again.told


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_without_a_certificate(version: str, asking: tuple[str, Served]) -> None:
    wanted, served = asking
    done = curl("-4", "--tls-max", version, served.url)
    if wanted == "optional":
        environ = json.loads(done.out)
        assert environ["SSL_CLIENT_VERIFY"] == "NONE"
        assert "SSL_CLIENT_S_DN" not in environ
    else:
        assert done.code in (35, 56), done.told
        assert done.out == b""


@pytest.mark.parametrize("kind", ["expired", "strange", "self-made"])
def test_who_shows_a_bad_certificate_is_refused_even_where_none_is_required(
    kind: str, asking: tuple[str, Served], clients: Path
) -> None:
    _, served = asking
    name = "eve@example.org"
    pair = {
        "expired": lambda: authority().issue(clients, name, valid=certificates.EXPIRED),
        "strange": lambda: certificates.Authority().issue(clients, name),
        "self-made": lambda: certificates.self_made(clients, "eve.example"),
    }[kind]()
    earlier = len(served.recorder.of("connection_dropped"))
    done = curl(*own(pair, served.url))
    assert done.code in (35, 56), done.told
    assert done.out == b""
    # The server says why, to its operator.
    told = served.recorder.wait_for("connection_dropped", earlier + 1)
    assert "the client's certificate is not accepted: " in told[-1][1]


# --- openssl -----------------------------------------------------------------------------------


def s_client(port: int, *args: str, stdin: bytes = b"") -> str:
    """What ``openssl s_client`` tells."""
    done = subprocess.run(
        [
            *(require_program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}"),
            *("-CAfile", str(certificate_of_authority()), "-verify_return_error", *args),
        ],
        input=stdin,
        capture_output=True,
        timeout=2 * TIMEOUT,
        check=False,
    )
    return (done.stdout + done.stderr).decode("latin-1")


CLOSE = request(fields=("Connection: close",))


def test_openssl_sends_a_request_and_is_told_of_the_end(site: Site) -> None:
    told = s_client(site.port, "-ign_eof", "-msg", stdin=CLOSE)
    assert "Verify return code: 0 (ok)" in told
    assert "HTTP/1.1 200 OK" in told
    assert re.search(r"<<< .*Alert.*warning close_notify", told)
    assert "unexpected eof" not in told


def test_openssl_can_tell_a_cut_response(site: Site) -> None:
    """Its client speaks HTTP/1.0, where nothing else marks the end of the response."""
    told = s_client(site.port, "-ign_eof", "-msg", stdin=b"GET /cut HTTP/1.0\r\n\r\n")
    assert "the beginning" in told
    assert not re.search(r"<<< .*Alert.*close_notify", told)


@pytest.mark.parametrize("ask", ["R", "K", "k"])
def test_openssl_may_not_begin_the_handshake_anew(ask: str, site: Site) -> None:
    """In 1.2 it is refused (CVE-2011-1473), in 1.3 there are new keys instead, which are taken."""
    version = "-tls1_2" if ask == "R" else "-tls1_3"
    told = s_client(site.port, version, "-msg", stdin=f"{ask}\n".encode())
    if version == "-tls1_2":
        assert "no renegotiation" in told or "no_renegotiation" in told
    else:
        assert re.search(r">>> TLS 1\.3, Handshake .* KeyUpdate", told)
        assert "fatal" not in told
    assert curl(*site.at("localhost")).code == 0


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_takes_up_its_session(version: str, site: Site, tmp_path: Path) -> None:
    session = str(tmp_path / "session")
    told = s_client(site.port, version, "-ign_eof", "-sess_out", session, stdin=CLOSE)
    assert "\nNew, TLSv1" in told
    told = s_client(site.port, version, "-ign_eof", "-sess_in", session, stdin=CLOSE)
    assert "\nReused, TLSv1" in told
    assert "HTTP/1.1 200 OK" in told


def test_openssl_reconnects(site: Site) -> None:
    """Five times with the session of the first connection."""
    told = s_client(site.port, "-tls1_2", "-reconnect")
    assert (told.count("\nNew, TLSv1.2"), told.count("\nReused, TLSv1.2")) == (1, 5)


def test_openssl_finds_no_compression_and_safe_renegotiation(site: Site) -> None:
    told = s_client(site.port, "-tls1_2")
    assert "Compression: NONE" in told
    assert "Secure Renegotiation IS supported" in told


def test_openssl_shows_a_certificate(clients: Path) -> None:
    pair = authority().issue(clients, "bob@example.org", common_name="Bob")
    ca = str(certificate_of_authority())
    shows = ("-cert", str(pair.certificate), "-key", str(pair.key))
    with serving(application, tls=True, ca_certs=ca, cert_reqs="required") as served:
        assert served.server.port is not None
        told = s_client(served.server.port, "-ign_eof", *shows, stdin=CLOSE)
        assert '"SSL_CLIENT_VERIFY": "SUCCESS"' in told
        without = s_client(served.server.port, "-ign_eof", stdin=CLOSE)
        assert re.search("alert certificate required", without)


# --- httpx -------------------------------------------------------------------------------------


def test_httpx(site: Site, tmp_path: Path) -> None:
    """A kept connection, an upload, and a stream."""
    body = bytes(range(256)) * 4000
    with httpx.Client(
        base_url=f"https://localhost:{site.port}", verify=authority().client(), trust_env=False
    ) as client:
        ports = {client.get("/").json()["REMOTE_PORT"] for _ in range(3)}
        assert len(ports) == 1
        answer = client.post("/", content=body).json()
        assert answer["body"].encode("latin-1") == body
        pieces = [body[start : start + 1000] for start in range(0, len(body), 1000)]
        answer = client.post("/", content=iter(pieces)).json()
        assert answer["body"].encode("latin-1") == body
        with pytest.raises(httpx.RemoteProtocolError):
            client.get("/cut")


def test_httpx_refuses_a_stranger(site: Site) -> None:
    with (
        httpx.Client(verify=True, trust_env=False) as client,
        pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.get(f"https://localhost:{site.port}")
