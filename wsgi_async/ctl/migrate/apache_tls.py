"""mod_ssl's directives."""

from __future__ import annotations

from .apache_move import Handler, Move
from .apache_syntax import Directive
from .rules import Rule, changed, missing, taken, unused

__all__ = ["HANDLERS"]

_CERTIFICATE = taken(
    "what renews it needs no hook: files that have changed are taken up", "certfile"
)
_KEY = taken("only root need be able to read it", "keyfile")
_AUTHORITIES = taken("whose certificates clients may have", "ca_certs")
_CIPHERS = taken("of TLS 1.2; those of 1.3 are OpenSSL's", "ciphers")
_LISTS = missing("lists of revoked certificates are not looked at: let clients' be short-lived")

_RULES: dict[str, Rule] = {
    "sslengine": taken("an address of --bind without http:// is served by TLS"),
    "sslcertificatechainfile": changed(
        "append it to the file of --certfile: the chain stands behind the certificate there"
    ),
    "sslcacertificatepath": missing("put these into one file for --ca-certs"),
    "sslcarevocationfile": _LISTS,
    "sslcarevocationpath": _LISTS,
    "sslcarevocationcheck": _LISTS,
    "sslhonorcipherorder": unused(
        "the order of --ciphers counts where it is given, else that of the client"
    ),
    "sslcompression": taken("TLS is never compressed"),
    "sslinsecurerenegotiation": taken("there is none"),
    "sslsessiontickets": taken("sessions are resumed by tickets, until a certificate is renewed"),
    "sslsessioncache": unused("sessions are resumed by tickets"),
    "sslsessioncachetimeout": unused("sessions are resumed by tickets"),
    "sslusestapling": unused(
        "no OCSP answers are stapled; clients that ask for them ask elsewhere"
    ),
    "sslstaplingcache": unused("no OCSP answers are stapled"),
    "sslverifydepth": unused("OpenSSL's own bound on chains counts"),
    "ssloptions": changed(
        "environ has HTTPS, SSL_PROTOCOL, SSL_CIPHER, SSL_TLS_SNI and SSL_CLIENT_...; other "
        "variables of mod_ssl's are not there: see --guide tls"
    ),
    "sslstrictsnivhostcheck": unused("who names no host gets the first certificate"),
    "sslopensslconfcmd": unused("OpenSSL's own defaults count, and openssl.cnf"),
    "sslrequiressl": taken("plain HTTP is served at addresses with http:// only"),
    "sslrequire": missing("judge SSL_CLIENT_S_DN in the application"),
    "sslusername": missing("REMOTE_USER is not set: the application reads SSL_CLIENT_S_DN_CN"),
    "sslpassphrasedialog": changed(
        "--keyfile-password file:PATH says what a key is encrypted with"
    ),
    "sslrandomseed": unused("the system's randomness is used"),
    "sslcryptodevice": unused("OpenSSL decides"),
    "sslfips": unused("OpenSSL decides"),
}
_OTHERS = unused("mod_ssl's; see --guide tls for what there is")

_VERIFIED = {"none": "none", "optional": "optional", "require": "required"}


def _certificate(move: Move, directive: Directive) -> None:
    _file(move, directive, _CERTIFICATE)


def _key(move: Move, directive: Directive) -> None:
    _file(move, directive, _KEY)


def _file(move: Move, directive: Directive, rule: Rule) -> None:
    """One of a pair. Hosts that are one server may have the same."""
    name = directive.first
    known = move.plan.options.get(rule.option)
    if isinstance(known, list) and name in known:
        move.say(directive, rule)
    else:
        move.take(directive, rule, name)


def _authorities(move: Move, directive: Directive) -> None:
    move.take(directive, _AUTHORITIES, directive.first)


def _verify(move: Move, directive: Directive) -> None:
    word = directive.text.strip().lower()
    place = directive.around("location", "locationmatch", "directory", "directorymatch", "files")
    if place is not None and word != "none":
        rule = missing(
            "a certificate is asked for in the handshake, before there is a path: --cert-reqs "
            f"optional, and the application judges SSL_CLIENT_VERIFY below {place.value}"
        )
        move.say(directive, rule)
    elif word == "optional_no_ca":
        move.say(directive, missing("--cert-reqs optional takes those of --ca-certs only"))
    else:
        rule = taken("whether clients are asked for a certificate, and must have one", "cert_reqs")
        move.take(directive, rule, _VERIFIED.get(word, word))


_SPOKEN = {"tlsv1.2": "1.2", "tlsv1.3": "1.3"}
_TOO_OLD = ("sslv3", "tlsv1", "tlsv1.1")


def _protocol(move: Move, directive: Directive) -> None:
    versions: set[str] = set()
    for word in directive.words:
        name = word.lstrip("+-").lower()
        named = {*_SPOKEN, *_TOO_OLD} if name == "all" else {name}
        versions = versions - named if word.startswith("-") else versions | named
    lowest = "1.3" if "tlsv1.3" in versions and "tlsv1.2" not in versions else "1.2"
    rule = taken("the lowest version", "tls_min")
    if not versions.isdisjoint(_TOO_OLD[1:]):  # OpenSSL has no SSLv3 any more
        rule = changed("TLS 1.0 and 1.1 are not spoken (RFC 8996)", "tls_min")
    move.take(directive, rule, lowest)


def _ciphers(move: Move, directive: Directive) -> None:
    *protocol, ciphers = directive.words or [""]
    if [word.lower() for word in protocol] == ["tlsv1.3"]:
        move.say(directive, unused("those of TLS 1.3 are OpenSSL's"))
    else:
        move.take(directive, _CIPHERS, ciphers)


def _said(move: Move, directive: Directive) -> None:
    move.say_once(directive, _RULES[directive.key])


def other(move: Move, directive: Directive) -> None:
    """What becomes of a directive of mod_ssl's that is in no table."""
    move.say(directive, _OTHERS)


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(_RULES, _said),
    "sslcacertificatefile": _authorities,
    "sslcertificatefile": _certificate,
    "sslcertificatekeyfile": _key,
    "sslciphersuite": _ciphers,
    "sslprotocol": _protocol,
    "sslverifyclient": _verify,
}
