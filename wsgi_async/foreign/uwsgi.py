"""uWSGI's options, as an ini file has them.

Understood are ``key = value`` and a bare ``key``, comments that begin with ``#`` or ``;``, the
references ``$(VARIABLE)`` and ``%(key)``, ``set-placeholder``, and of the magic variables those of
:data:`_MAGIC`. Conditions, loops and included files are errors. Relative paths are relative to
``chdir``, where there is one.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from wsgi_async.config.forwarding import BARE
from wsgi_async.config.option import parse_bool
from wsgi_async.config.paste_spec import paste_spec
from wsgi_async.config.response_fields import parse_fields
from wsgi_async.config.sources import ForeignFile
from wsgi_async.config.tls_options import OPTIONAL, REQUIRED
from wsgi_async.errors import ApplicationError, ConfigError
from wsgi_async.system.files import read_text

from . import uwsgi_addresses

__all__ = ["Line", "Reader", "Written", "read", "written"]

_MAGIC: dict[str, Callable[[Path], str]] = {
    "%": lambda path: "%",
    "c": lambda path: path.parent.name,
    "d": lambda path: f"{path.parent}/",
    "e": lambda path: path.suffix.removeprefix("."),
    "g": lambda path: str(os.getgid()),
    "h": lambda path: socket.gethostname(),
    "k": lambda path: str(os.cpu_count() or 1),
    "n": lambda path: path.stem,
    "p": str,
    "s": lambda path: path.name,
    "u": lambda path: str(os.getuid()),
    "x": lambda path: "",
}

_REFERENCE = re.compile(r"%\(([^)]*)\)|\$\(([^)]*)\)|@\(([^)]*)\)|%(.?)")

_LARGEST = 1 << 16
"""Letters that the references of one line come to: a few lines that double themselves would be more
than there is memory for."""

_TEXTS: dict[str, str] = {
    "buffer-size": "max_header_size",
    "chmod": "socket_mode",
    "chmod-socket": "socket_mode",
    "chown": "socket_owner",
    "chown-socket": "socket_owner",
    "gid": "group",
    "harakiri": "request_timeout",
    "limit-post": "max_body_size",
    "listen": "backlog",
    "log-slow": "slow_request",
    "max-requests": "max_requests",
    "max-requests-delta": "max_requests_jitter",
    "max-worker-lifetime": "worker_lifetime",
    "processes": "workers",
    "reload-mercy": "graceful_timeout",
    "threads": "threads",
    "uid": "user",
    "umask": "umask",
    "worker-reload-mercy": "graceful_timeout",
    "workers": "workers",
}
_PATHS: dict[str, str] = {
    "logto": "error_logfile",
    "logto2": "error_logfile",
    "pidfile": "pid",
    "pidfile2": "pid",
    "safe-pidfile": "pid",
    "safe-pidfile2": "pid",
}
_MODULE = ("module", "wsgi")
_FILE = ("wsgi-file", "file")
_PASTE = ("ini-paste", "ini-paste-logged", "paste")
_HTTPS = ("https", "https-socket")
_PYTHONPATH = ("pythonpath", "python-path", "pp")
_VIRTUALENV = ("virtualenv", "venv", "home", "pyhome")
_STATIC = ("static-map", "static-map2")
_PROTOCOL = ("protocol", "socket-protocol")
_LOG_FORMATS = (
    *("log-date", "log-encoder", "log-format", "log-format-strftime", "log-req-encoder"),
    *("logdate", "logformat", "logformat-strftime", "req-logformat"),
)
_PROXY_PROTOCOL = ("enable-proxy-protocol", "http-enable-proxy-protocol")
_PLACEHOLDER = ("set", "set-placeholder", "set-ph")

_FULFILLED_NAMES = (
    "auto-procname close-on-exec die-on-term disable-logging disable-write-exception "
    "enable-threads honour-range http-auto-chunked http-chunked-input http-keepalive "
    "ignore-sigpipe ignore-write-errors lazy lazy-apps log-master log-reopen "
    "manage-script-name master need-app need-plugin need-plugins no-defer-accept no-default-app "
    "no-orphans no-threads-wait offload-thread offload-threads plugin plugins post-buffering "
    "procname-prefix single-interpreter strict tcp-nodelay threaded-logger thunder-lock vacuum "
    "wsgi-env-behavior wsgi-env-behaviour wsgi-strict yes"
)
_FULFILLED = frozenset(_FULFILLED_NAMES.split())
"""What this server does anyway, or has no need of."""

_FLOW = re.compile(
    r"for|for-.*|end-?for|if-.*|if(?:env|exists|plugin|dir|reload).*|end-?if"
    r"|include|inherit|ini|yaml|yml|json|xml|config|fallback-config|inject-.*"
)
_REFUSED: dict[str, str] = {
    "daemonize": "this server stays in the foreground, where systemd and Docker want it: remove it",
    "daemonize2": "this server stays in the foreground: remove it",
    "emperor": "there is no emperor here: one service for each file",
    "eval": "write module = MODULE:CALLABLE",
    "pecan": "write module = MODULE:CALLABLE",
    "http-to-https": "write http-socket = {value} here, and on the command line "
    "--redirect-to-https HOST for each host that there is",
    "https2": "write https = ADDRESS,CERTIFICATE,KEY",
    **uwsgi_addresses.REFUSED,
}


class Line(NamedTuple):
    """An option of the file, references resolved."""

    number: int
    key: str
    value: str
    """``true`` where there is none."""


class Written(NamedTuple):
    """A line of a file, as it stands there."""

    number: int
    section: str | None
    """None above the first one."""
    key: str
    """Empty of the line that names a section."""
    value: str | None
    """None where there is no ``=``."""


def written(text: str) -> Iterator[Written]:
    """The lines of a file, without comments; those that name a section too."""
    section = None
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip(" \t\r")
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            section = line.strip("[]")
            yield Written(number, section, "", None)
            continue
        key, equals, value = (part.strip(" \t") for part in line.partition("="))
        yield Written(number, section, key, value if equals else None)


def read(path: Path, name: str, environ: Mapping[str, str], *, section: str) -> ForeignFile:
    """Read one section of the file.

    :param path: absolute.
    :param name: what the operator calls it.
    :param environ: for ``$(NAME)``.
    :raises ConfigError: naming the line.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{name} is not UTF-8") from None
    reader = Reader(path, name, environ)
    return reader.convert(reader.lines(text, section))


class Reader:
    """One reading of one file."""

    def __init__(self, path: Path, name: str, environ: Mapping[str, str]) -> None:
        self._path = path
        self._name = name
        self._environ = environ
        self._seen: dict[str, str] = {}
        self._referred: set[str] = set()
        self._chdir = ""
        self._callable = ""
        self._protocol = uwsgi_addresses.DEFAULT_PROTOCOL
        self._plain: list[str] = []
        """Addresses of HTTP without TLS."""
        self._from_afar: list[str] = []
        """Addresses where not everybody who can connect is served."""
        self._options: dict[str, Any] = {}
        self._common: tuple[str, str] | None = None
        """Ciphers and authorities of the lines on TLS so far."""
        self._ignored: dict[str, None] = {}

    @property
    def referred(self) -> frozenset[str]:
        """Keys that lines so far have referred to: they may be names of the file's own."""
        return frozenset(self._referred)

    @property
    def ignored(self) -> list[str]:
        """Keys that are nothing here, of what was converted, but for those that are referred to."""
        return sorted(key for key in self._ignored if key not in self._referred)

    # --- from text to lines ------------------------------------------------------------------

    def lines(self, text: str, section: str) -> list[Line]:
        """The keys of the section with their values, references resolved."""
        found = []
        sections = set()
        for number, current, key, value in written(text):
            if not key and value is None:
                sections.add(current)
                continue
            if current is None or not key:
                raise ConfigError(
                    f"{self._name}, line {number}: expected [{section}], or a line such as "
                    "processes = 4"
                )
            if current != section:
                continue
            entry = Line(number, key, "true" if value is None else value)
            if _FLOW.fullmatch(key):
                self._fail(
                    entry,
                    "conditions, loops and other files are not read: write out here "
                    "what it comes to",
                )
            entry = entry._replace(value=self._resolve(entry))
            if key in _PLACEHOLDER:
                variable, _, content = entry.value.partition("=")
                self._seen[variable.strip(" \t")] = content.strip(" \t")
                continue
            self._seen[key] = entry.value
            found.append(entry)
        if section not in sections:
            raise ConfigError(f"{self._name} has no section [{section}]")
        return found

    def _resolve(self, line: Line) -> str:
        is_log = line.key in _LOG_FORMATS  # %(addr) is a part of a request there
        room = _LARGEST

        def replace(match: re.Match[str]) -> str:
            nonlocal room
            found = find(match)
            room -= len(found)
            if room < 0:
                self._fail(line, "what it refers to comes to more than 64 KiB")
            return found

        def find(match: re.Match[str]) -> str:
            key, variable, file, letter = match.groups()
            if key is not None:
                if key not in self._seen:
                    if is_log:
                        return match[0]
                    self._fail(line, f"%({key}) is not set in a line above")
                self._referred.add(key)
                return self._seen[key]
            if variable is not None:
                if variable not in self._environ:
                    self._fail(line, f"there is no ${variable} in the environment")
                return self._environ[variable]
            if file is not None:
                self._fail(line, "other files are not read: write out here what it comes to")
            if letter not in _MAGIC:
                if is_log:
                    return match[0]
                known = " ".join(f"%{known}" for known in _MAGIC)
                self._fail(line, f"%{letter} is not understood here, only {known}")
            return _MAGIC[letter](self._path)

        return _REFERENCE.sub(replace, line.value)

    def _fail(self, line: Line, why: str) -> NoReturn:
        raise ConfigError(f"{self._name}, line {line.number}: {line.key}: {why}")

    # --- from lines to options ---------------------------------------------------------------

    def convert(self, lines: list[Line]) -> ForeignFile:
        """Our options for them."""
        last = {line.key: line for line in lines}
        self._chdir = last["chdir"].value if "chdir" in last else ""
        self._callable = last["callable"].value if "callable" in last else ""
        spoken = [line for line in lines if line.key in _PROTOCOL][-1:]
        if spoken:
            self._protocol = self._checked_protocol(spoken[0])
        modules = [line for line in lines if line.key in _MODULE]
        files = [line for line in lines if line.key in _FILE]
        pastes = [line for line in lines if line.key in _PASTE]
        kept = (*_MODULE, *_FILE, *_PASTE, *_PROTOCOL, "callable", "chdir")
        for line in lines:
            if line.key not in kept:
                self._take(line)
        if spoken and self._protocol != "http" and "bind" not in self._options:
            self._options["protocol"] = self._protocol  # for sockets of a service manager's
        if self._chdir:
            self._options["chdir"] = self._chdir
        if "certfile" in self._options:  # else those would be TLS too
            self._options["bind"] = [
                f"http://{address}" if address in self._plain else address
                for address in self._options["bind"]
            ]
        named = (files or modules)[-1:]
        if named:
            self._options["app"] = self._application(named[0], last.get("callable"))
        elif pastes:
            self._options["app"] = self._of_paste(pastes[-1])
        return ForeignFile(self._options, tuple(self._notices()))

    def _notices(self) -> list[str]:
        """What an operator should know of the file."""
        notices = [
            f"{self._name}: at {text} this machine alone is served, and who is in "
            "--uwsgi-allow-from, where uWSGI serves anybody"
            for text in self._from_afar
        ]
        if self.ignored:
            notices.append(f"{self._name}: ignored here: {', '.join(self.ignored)}")
        if "threads" not in self._options:
            notices.append(
                f"{self._name}: threads is not set, where uWSGI has 1: the default here is "
                "--threads 8"
            )
        if "proxy_protocol" in self._options:
            notices.append(
                f"{self._name}: a connection without a PROXY header, or from an address that "
                "--proxy-allow-from does not name, is closed here, where uWSGI serves it"
            )
        return notices

    def _take(self, line: Line) -> None:
        key, value = line.key, line.value
        if key == "limit-post" and value == "0":
            return  # no limit, there
        if key in _TEXTS:
            self._options[_TEXTS[key]] = self._text(line)
        elif key in _PATHS:
            self._options[_PATHS[key]] = self._path_of(value)
        elif key in uwsgi_addresses.SOCKETS:
            self._take_socket(line)
        elif key in _HTTPS:
            self._take_https(line)
        elif key in _PYTHONPATH:
            self._append("pythonpath", value)
        elif key in _VIRTUALENV:
            self._enter_virtualenv(line)
        elif key in _STATIC:
            self._append("static", self._static(line))
        elif key == "check-static":
            self._append("static", f"/={self._path_of(value)}")
        elif key == "mount":
            prefix, equals, application = value.partition("=")
            if not equals or not prefix.startswith("/"):
                self._fail(line, f"expected /PREFIX=MODULE:CALLABLE, not {value!r}")
            if self._callable and ":" not in application:
                application = f"{application}:{self._callable}"
            self._append("mount", f"{prefix}={application}")
        elif key == "env":
            self._append("env", value if "=" in value else f"{value}=")
        elif key == "add-header":
            self._add_header(line)
        elif key in ("logger", "req-logger") and value.startswith("file:"):
            option = "error_logfile" if key == "logger" else "access_logfile"
            self._options[option] = self._path_of(value.removeprefix("file:"))
        elif key in _PROXY_PROTOCOL:
            if not self._is_off(value):
                self._options["proxy_protocol"] = "v1"
        elif key == "log-x-forwarded-for":
            if not self._is_off(value):
                self._options["proxy_headers"] = BARE
        elif key in ("py-autoreload", "python-autoreload"):
            self._options["reload"] = value != "0"
        elif key in _REFUSED:
            self._fail(line, _REFUSED[key].format(value=value))
        elif key not in _FULFILLED and not self._is_off(value):
            self._ignored[key] = None

    def _take_socket(self, line: Line) -> None:
        protocol = uwsgi_addresses.SOCKETS[line.key] or self._protocol
        if line.value.startswith("="):
            self._fail(line, "write the address itself in the place of a shared socket's number")
        address = uwsgi_addresses.address(line.value, protocol, self._chdir)
        self._append("bind", address)
        if protocol == "http":
            self._plain.append(address)
        elif uwsgi_addresses.is_reached_from_afar(line.value):
            self._from_afar.append(line.value)

    def _checked_protocol(self, line: Line) -> str:
        try:
            return uwsgi_addresses.protocol_of(line.value)
        except ConfigError as error:
            self._fail(line, str(error))

    def _take_https(self, line: Line) -> None:
        """``ADDRESS,CERTIFICATE,KEY[,CIPHERS[,[!]AUTHORITIES]]``; with "!" each client must have a
        certificate of these.

        Ciphers and authorities are those of all addresses here.
        """
        address, *files = line.value.split(",")
        if not 2 <= len(files) <= 4 or not all((address, *files[:2])):
            self._fail(line, f"expected ADDRESS,CERTIFICATE,KEY, not {line.value!r}")
        if address.startswith("="):
            self._fail(line, "write the address itself in the place of a shared socket's number")
        where = uwsgi_addresses.address(address, "http", self._chdir)
        self._append("bind", f"https://{where}")
        certificate, key = map(self._path_of, files[:2])
        pairs = zip(
            self._options.get("certfile", ()), self._options.get("keyfile", ()), strict=True
        )
        if (certificate, key) not in pairs:
            self._append("certfile", certificate)
            self._append("keyfile", key)
        ciphers, authorities = (*files[2:], "", "")[:2]
        if self._common not in (None, (ciphers, authorities)):
            self._fail(line, "ciphers and authorities are the same at all addresses here")
        self._common = ciphers, authorities
        if ciphers:
            self._options["ciphers"] = ciphers
        if authorities:
            self._options["ca_certs"] = self._path_of(authorities.removeprefix("!"))
            self._options["cert_reqs"] = REQUIRED if authorities.startswith("!") else OPTIONAL

    def _is_off(self, value: str) -> bool:
        try:
            return not parse_bool(value)
        except ValueError:
            return False

    def _text(self, line: Line) -> str:
        key, value = line.key, line.value
        if key in ("chmod-socket", "chmod") and value == "true":
            return "666"
        if key == "log-slow":
            return f"{value}ms"
        if key in ("reload-mercy", "worker-reload-mercy") and value == "0":
            return "1ms"  # 0 is no time at all there, and no limit here
        if key == "buffer-size":
            # uWSGI bounds the whole head; a line and a field may then be as long.
            self._options |= {"limit_request_line": value, "limit_request_field_size": value}
        return value

    def _add_header(self, line: Line) -> None:
        try:
            parse_fields([line.value])
        except ConfigError:
            self._ignored[f"{line.key} = {line.value}"] = None  # Connection: it is the server's
        except ApplicationError:
            self._fail(line, f"expected NAME: VALUE, not {line.value!r}")
        else:
            self._append("header", line.value)

    def _append(self, option: str, value: str) -> None:
        self._options.setdefault(option, []).append(value)

    def _path_of(self, value: str) -> str:
        return os.path.join(self._chdir, value)

    def _static(self, line: Line) -> str:
        prefix, equals, directory = line.value.partition("=")
        if not equals or not prefix.startswith("/"):
            self._fail(line, f"expected /PREFIX=DIRECTORY, not {line.value!r}")
        directory = self._path_of(directory)
        if line.key == "static-map2":
            directory = directory.rstrip("/") + prefix
        return f"{prefix}={directory}"

    def _enter_virtualenv(self, line: Line) -> None:
        directory = os.path.realpath(self._path_of(line.value))
        if directory == os.path.realpath(sys.prefix):
            return
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        packages = os.path.join(directory, "lib", version, "site-packages")
        if not os.path.isdir(packages):
            self._fail(
                line,
                f"there is no {packages!r}; install wsgi_async into that environment and run "
                f"{directory}/bin/wsgi-async",
            )
        self._append("pythonpath", packages)

    def _of_paste(self, line: Line) -> str:
        """``FILE.ini[#NAME]``; uWSGI also has ``config:FILE.ini#NAME``."""
        value = line.value.removeprefix("config:")
        if paste_spec(value) is None:
            self._fail(line, f"expected FILE.ini or FILE.ini#NAME, not {line.value!r}")
        return value

    def _application(self, line: Line, callable_: Line | None) -> str:
        """``MODULE[:CALLABLE]`` or ``FILE[:CALLABLE]``."""
        if callable_ is None:
            return line.value
        return f"{line.value.partition(':')[0]}:{callable_.value}"
