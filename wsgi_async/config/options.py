"""The table of options: two frozen dataclasses, in which an option is written exactly once.

The flag, the environment variable, the key of a configuration file, the line of ``--help``, the
row of the guide's table, the validation and the scope are all derived from the field. Nothing here
reads the environment or the disk; :mod:`wsgi_async.config.sources` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wsgi_async.proxies.forwarding import FORWARDER_HEADERS, Forwarding
from wsgi_async.proxies.named import NamedFields
from wsgi_async.proxies.schemes import SECURE_SCHEME_HEADERS, scheme_fields
from wsgi_async.proxies.trust import NEARBY, PeerSet
from wsgi_async.system.cpu_affinity import CAN_PIN
from wsgi_async.system.sockets import DEFAULT_PORT
from wsgi_async.system.spoken import Spoken
from wsgi_async.system.syslog import FACILITIES, is_syslog_address

from . import response_fields, statsd_options, tls_options
from .forwarding import BARE, TAKEN, goes_together, make_forwarding
from .gateways import check_introduced
from .metrics_address import TAKES as METRICS_ADDRESS
from .metrics_address import is_metrics_address
from .option import OFF, Group, Option, Scope, convert, option, options_of
from .surfaces import CONTROL_TAKES, Surface, check_dashboard, is_control_path

__all__ = ["ALL_OPTIONS", "LAUNCH_OPTIONS", "OPTIONS", "Config", "LaunchConfig", "in_groups"]


def _is_root_path(path: str) -> bool:
    # It becomes SCRIPT_NAME (RFC 3875 §4.1.13): empty, or "/" and no "/" at its end.
    return re.fullmatch(r"(?:/[!-\"$->@-~/]*[!-\"$-.0->@-~])?", path) is not None


def _is_probe(path: str) -> bool:
    return re.fullmatch(r"(?:/[!\"$->@-~]*)?", path) is not None


def _is_warmup(target: str) -> bool:
    return re.fullmatch(r"(?:http://[0-9A-Za-z.:\[\]-]+)?/[!\"$-~]*", target) is not None


KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The validated options of a server: timeouts in seconds, sizes in bytes.

    :raises ConfigError: where a value is wrong; one line that names the option as a flag and
        says what it takes.
    """

    bind: tuple[str, ...] = option(
        (),
        group=Group.LISTENING,
        is_everyday=True,
        help="Where to listen: HOST, HOST:PORT, :PORT (all interfaces), [V6]:PORT, unix:PATH, "
        "unix:@NAME or fd://N, each also behind https:// or http://, or behind uwsgi://, "
        "fastcgi:// or scgi:// for a web server that speaks that (uwsgi+unix:PATH); repeatable. "
        f"Without it 127.0.0.1:{DEFAULT_PORT} and [::1]:{DEFAULT_PORT}.",
        flags=("-b",),
        aliases=("--listen",),
        metavar="ADDRESS",
        takes=f"addresses such as 127.0.0.1:{DEFAULT_PORT}, :{DEFAULT_PORT} or unix:/run/app.sock",
    )
    protocol: str = option(
        Spoken.HTTP.value,
        group=Group.LISTENING,
        help="What is spoken at addresses that do not say: http, or what a web server in front "
        "speaks by uwsgi_pass, fastcgi_pass or scgi_pass. It is believed in what it says of its "
        "clients: see --uwsgi-allow-from.",
        aliases=("--socket-protocol",),
        choices=tuple(spoken.value for spoken in Spoken),
    )
    backlog: int = option(
        2048,
        group=Group.LISTENING,
        help="Connections the kernel queues until they are accepted.",
        minimum=1,
        maximum=(1 << 31) - 1,
    )
    socket_mode: int = option(
        0o660,
        group=Group.LISTENING,
        help="Permissions of a unix socket file.",
        unit="octal",
        maximum=0o777,
        aliases=(
            "--chmod-socket",
            "--uds-permissions",
            "--unix-socket-perms",
        ),
    )

    certfile: tuple[str, ...] = option(
        (),
        group=Group.TLS,
        help="File of a certificate and those that lead from it to its authority, in PEM: each "
        "--bind without http:// is served by TLS then. Repeatable: a client gets that of the "
        "name it asks for, else the first. Files that have changed are taken up while it runs. "
        "HTTP Strict Transport Security is for the application to send.",
        aliases=("--ssl-certfile", "--ssl-certificate"),
        metavar="FILE",
        takes="files",
    )
    keyfile: tuple[str, ...] = option(
        (),
        group=Group.TLS,
        help="File of the private key, in PEM; as many as --certfile, in their order. Without it "
        "the key is in the file of the certificate. Only root need be able to read it.",
        aliases=("--ssl-keyfile",),
        metavar="FILE",
        takes="files",
    )
    keyfile_password: str = option(
        "",
        group=Group.TLS,
        help="What the private keys are encrypted with, or file:PATH of a file that says so in its "
        "first line: others on the machine can see a command line.",
        aliases=("--ssl-keyfile-password",),
        is_secret=True,
        metavar="PASSWORD",
        takes="a password, or file:PATH",
    )
    ca_certs: str = option(
        "",
        group=Group.TLS,
        help="With --cert-reqs: file of the authorities, in PEM, whose certificates clients may "
        "have.",
        aliases=("--ssl-ca-certs", "--ssl-ca"),
        metavar="FILE",
        takes="a file",
    )
    cert_reqs: str = option(
        tls_options.NONE,
        group=Group.TLS,
        help="Whether clients are asked for a certificate, and must have one.",
        aliases=("--ssl-cert-reqs", "--verify-mode"),
        choices=tls_options.CERT_REQS,
        synonyms=tls_options.OTHER_CERT_REQS,
    )
    ciphers: str = option(
        "",
        group=Group.TLS,
        help="Ciphers of TLS 1.2, in OpenSSL's words. Without it those of Python's ssl.",
        aliases=("--ssl-ciphers",),
        metavar="LIST",
        check=tls_options.is_cipher_list,
        takes="a list of OpenSSL's such as ECDHE+AESGCM",
    )
    tls_min: str = option(
        "1.2",
        group=Group.TLS,
        help="Lowest version of TLS.",
        aliases=("--ssl-protocol-min",),
        choices=("1.2", "1.3"),
        synonyms=tls_options.OTHER_VERSIONS,
        takes="1.2 or 1.3 (RFC 8996 has put an end to those before)",
    )
    redirect_to_https: tuple[str, ...] = option(
        (),
        group=Group.TLS,
        help="A host whose requests by plain HTTP are redirected to https, with the port to send "
        "them to where it is not that of the first --bind that is served by TLS; repeatable. "
        "Requests for other hosts get 421 there. What an ACME client has put below "
        "/.well-known/acme-challenge/ is the application's to answer.",
        metavar="HOST[:PORT]",
        check=tls_options.are_hosts,
        takes="hosts such as www.example.org or www.example.org:8443",
    )

    forwarded_allow_ips: tuple[str, ...] | None = option(
        None,
        group=Group.PROXIES,
        help="Proxies that are believed in what they say of their clients: addresses, networks, "
        "unix for all on unix sockets, * for all; repeatable. What others say of that is removed. "
        "Without it $FORWARDED_ALLOW_IPS, or this machine: 127.0.0.0/8,::1,unix.",
        aliases=("--trusted-proxy",),
        metavar="ADDRESSES",
        splits=True,
        check=lambda peers: peers is not None and PeerSet(peers) is not None,
        takes="addresses, networks such as 10.0.0.0/8, unix and *",
    )
    proxy_headers: tuple[str, ...] | None = option(
        None,
        group=Group.PROXIES,
        help="What is taken from the X-Forwarded fields of these: any of for, proto, host, port, "
        "prefix; forwarded for the field of RFC 7239 instead; or off. The flag alone means "
        "for,proto, which is the default where one of these two options is given; else proto.",
        aliases=("--trusted-proxy-headers",),
        metavar="WORDS",
        words=TAKEN,
        bare=BARE,
        check=goes_together,
        takes="any of for, proto, host, port and prefix, or forwarded, or off",
    )
    secure_scheme_headers: tuple[str, ...] = option(
        SECURE_SCHEME_HEADERS,
        group=Group.PROXIES,
        help="The fields that say the scheme, each with the value that says https.",
        metavar="NAME=VALUE",
        splits=True,
        check=lambda fields: scheme_fields(fields) is not None,
        takes="fields such as X-Forwarded-Proto=https",
    )
    forwarder_headers: tuple[str, ...] = option(
        FORWARDER_HEADERS,
        group=Group.PROXIES,
        help="The fields with an underscore in their names that may come from believed proxies; "
        "SCRIPT_NAME says where the application is mounted.",
        metavar="NAMES",
        splits=True,
        check=lambda names: NamedFields(names) is not None,
        takes="names of fields such as SCRIPT_NAME",
    )
    proxy_protocol: str = option(
        OFF,
        group=Group.PROXIES,
        help="Whether each connection begins with a header of the PROXY protocol, which says who "
        "the client is: of its version v1, v2, or auto for either. The flag alone means auto. "
        "A connection without one is closed.",
        bare="auto",
        choices=(OFF, "v1", "v2", "auto"),
    )
    proxy_allow_from: tuple[str, ...] = option(
        NEARBY,
        group=Group.PROXIES,
        help="Proxies that may send that header: addresses, networks, unix for all on unix "
        "sockets, * for all; repeatable. Connections from elsewhere are closed.",
        aliases=("--proxy-allow-ips",),
        metavar="ADDRESSES",
        splits=True,
        check=lambda peers: PeerSet(peers, flag="--proxy-allow-from") is not None,
        takes="addresses, networks such as 10.0.0.0/8, unix and *",
    )
    uwsgi_allow_from: tuple[str, ...] = option(
        NEARBY,
        group=Group.PROXIES,
        help="Web servers that may speak uwsgi, FastCGI or SCGI: addresses, networks, * for all; "
        "repeatable. Those on unix sockets always may, for the file says who can. Connections "
        "from elsewhere are closed.",
        aliases=("--uwsgi-allow-ips",),
        metavar="ADDRESSES",
        splits=True,
        check=lambda peers: PeerSet(peers, flag="--uwsgi-allow-from") is not None,
        takes="addresses, networks such as 10.0.0.0/8, unix and *",
    )

    workers: int = option(
        1,
        group=Group.CAPACITY,
        scope=Scope.FLEET,
        is_everyday=True,
        help="Processes that serve, each with its own threads. Without it $WEB_CONCURRENCY, or 1.",
        flags=("-w",),
        minimum=1,
        maximum=1000,
        aliases=("--processes",),
    )
    threads: int = option(
        8,
        group=Group.CAPACITY,
        is_everyday=True,
        help="Threads of a process that run the application.",
        aliases=("--blocking-threads",),
        minimum=1,
        maximum=10_000,
    )
    waiting_threads: int = option(
        256,
        group=Group.CAPACITY,
        help="Further threads that may wait for clients which do not take what they have asked "
        "for, so that --threads run the application all the same. None beside --threads 1.",
        minimum=0,
        maximum=10_000,
    )
    queue_size: int = option(
        2048,
        group=Group.CAPACITY,
        help="Requests that may wait for a thread; beyond it the answer is 503 with Retry-After.",
        minimum=1,
        maximum=10_000_000,
    )
    queue_timeout: float = option(
        30.0,
        group=Group.CAPACITY,
        help="Longest wait for a thread, then 503 with Retry-After. 0 = off.",
        unit="s",
    )
    max_connections: int = option(
        0,
        group=Group.CAPACITY,
        help="Open connections of a process; at the bound one that has sent nothing or the oldest "
        "idle one is closed, else 503. "
        "0 = what RLIMIT_NOFILE allows.",
        aliases=("--worker-connections", "--connection-limit"),
        maximum=10_000_000,
    )

    header_timeout: float = option(
        10.0, group=Group.DEADLINES, help="For a whole request head, then 408. 0 = off.", unit="s"
    )
    body_timeout: float = option(
        30.0,
        group=Group.DEADLINES,
        help="Longest gap within a request body, then 408. 0 = off.",
        unit="s",
    )
    send_timeout: float = option(
        60.0,
        group=Group.DEADLINES,
        help="Longest gap in which a client takes nothing of its response, then it is cut off. "
        "0 = off.",
        unit="s",
    )
    keep_alive: float = option(
        75.0,
        group=Group.DEADLINES,
        help="How long an idle connection is kept. 0 = close after each response.",
        unit="s",
        aliases=("--timeout-keep-alive", "--channel-timeout"),
    )
    request_timeout: float = option(
        0.0,
        group=Group.DEADLINES,
        is_everyday=True,
        help="For the application to produce the first chunk of its response, the wait for a "
        "thread included, and then each next one; then 504, and its thread is replaced. 0 = off.",
        unit="s",
        aliases=("--harakiri",),
    )
    interrupt_late: bool = option(
        False,
        group=Group.DEADLINES,
        help="Raise wsgi_async.RequestTimeout in a thread that is later than --request-timeout.",
    )
    timeout: float = option(
        30.0,
        group=Group.DEADLINES,
        scope=Scope.FLEET,
        help="For a process to show that its event loop runs, then its stacks are logged and it "
        "is killed and replaced; requests may take longer. 0 = off.",
        unit="s",
        flags=("-t",),
        aliases=("--timeout-worker-healthcheck",),
    )
    boot_timeout: float = option(
        60.0,
        group=Group.DEADLINES,
        help="For a process to load the application and answer its --warmup. 0 = off.",
        unit="s",
    )
    drain_delay: float = option(
        0.0,
        group=Group.DEADLINES,
        help="How long to go on serving after SIGTERM, with --ready-path answering 503, so that a "
        "load balancer sees it first.",
        unit="s",
    )
    graceful_timeout: float = option(
        30.0,
        group=Group.DEADLINES,
        help="For requests in flight to finish at a stop. 0 = no limit.",
        unit="s",
        aliases=("--timeout-graceful-shutdown", "--workers-kill-timeout"),
    )
    min_rate: int = option(
        500,
        group=Group.DEADLINES,
        help="Bytes per second a client must send or take on average, after 10 s of grace. "
        "0 = off.",
        unit="bytes/s",
    )

    live_timeout: float = option(
        0.0,
        group=Group.LIVE,
        help="Longest gap between two chunks of an asynchronous body, in which its client is not "
        "what it waits for, then its response is cut. 0 = off; --request-timeout counts until the "
        "first chunk.",
        unit="s",
    )
    live_grace: float = option(
        5.0,
        group=Group.LIVE,
        help="How long event streams (text/event-stream) go on at a stop or a reload, told to "
        "reconnect. 0 = they end at once. --graceful-timeout is for other asynchronous bodies.",
        unit="s",
    )
    max_live: int = option(
        0,
        group=Group.LIVE,
        help="Asynchronous bodies of a process at once, then 503 with Retry-After. "
        "0 = as many as --max-connections.",
        maximum=10_000_000,
    )
    live_threads: int = option(
        8,
        group=Group.LIVE,
        help="Threads of a process in which asynchronous bodies call what is not asynchronous "
        "(sync_to_async, Django's ORM), one for each body, shared where there are more; at most as "
        "many database connections.",
        minimum=1,
        maximum=10_000,
    )

    preload: bool = option(
        False,
        group=Group.LIFE,
        scope=Scope.FLEET,
        is_everyday=True,
        help="Load the application once, in a process that forks the serving ones: less memory, "
        "quicker starts. SIGHUP loads it anew.",
    )
    cpu_affinity: bool = option(
        False,
        group=Group.CAPACITY,
        scope=Scope.FLEET,
        help="Keep each process on one processor, in turn: for applications that compute in "
        "Python, and as many processes as processors. Linux, under a supervisor.",
        check=lambda wanted: not wanted or CAN_PIN,
        takes="false on this system",
    )
    warmup: tuple[str, ...] = option(
        (),
        group=Group.LIFE,
        help="A path to ask the application for, in each new process, before it accepts "
        "connections; an answer of 500 or above, or none, is a failed start. Or a URL, for its "
        "Host field. Repeatable.",
        metavar="PATH",
        check=lambda paths: all(map(_is_warmup, paths)),
        takes="paths such as /login, or URLs such as http://www.example.org/login",
    )
    max_requests: int = option(
        0,
        group=Group.LIFE,
        scope=Scope.FLEET,
        help="Requests after which a process is replaced. 0 = off.",
        aliases=("--limit-max-requests",),
        maximum=1 << 62,
    )
    max_requests_jitter: int = option(
        0,
        group=Group.LIFE,
        scope=Scope.FLEET,
        help="Up to so many more, by chance for each process.",
        aliases=("--limit-max-requests-jitter",),
        maximum=1 << 62,
    )
    worker_lifetime: float = option(
        0.0,
        group=Group.LIFE,
        scope=Scope.FLEET,
        help="Age at which a process is replaced, up to a tenth later. 0 = off.",
        unit="s",
        aliases=("--workers-lifetime",),
    )
    health_path: str = option(
        "",
        group=Group.LIFE,
        help="Path that the event loop itself answers with 200, also while every thread is busy. "
        "Empty = off.",
        metavar="PATH",
        check=lambda path: _is_probe(path),
        takes="a path such as /healthz",
    )
    ready_path: str = option(
        "",
        group=Group.LIFE,
        help="Like --health-path, but 503 while the process drains or --ready-max-wait is "
        "exceeded. Empty = off.",
        metavar="PATH",
        check=lambda path: _is_probe(path),
        takes="a path such as /readyz",
    )
    ready_max_wait: float = option(
        5.0,
        group=Group.LIFE,
        help="How long a request may have been waiting for a thread before --ready-path answers "
        "503.",
        unit="s",
    )

    limit_request_line: int = option(
        8190, group=Group.BOUNDS, help="Longest request line, then 414.", unit="bytes", minimum=1
    )
    limit_request_fields: int = option(
        100, group=Group.BOUNDS, help="Most header fields, then 431.", minimum=1
    )
    limit_request_field_size: int = option(
        8190,
        group=Group.BOUNDS,
        help="Longest header field, then 431.",
        unit="bytes",
        minimum=1,
        aliases=("--limit-request-field_size",),
    )
    max_header_size: int = option(
        64 * KIB,
        group=Group.BOUNDS,
        help="Largest request head, then 431.",
        unit="bytes",
        minimum=1,
        aliases=(
            "--h11-max-incomplete-event-size",
            "--max-request-header-size",
        ),
    )
    max_body_size: int = option(
        1 * GIB,
        group=Group.BOUNDS,
        help="Largest request body, then 413.",
        unit="bytes",
        aliases=("--max-request-body-size",),
        minimum=1,
    )

    request_buffering: str = option(
        "full",
        group=Group.BUFFERS,
        help="full: a body is complete before the application is called; "
        "stream: the application reads it as it arrives.",
        choices=("full", "stream"),
    )
    spool_threshold: int = option(
        512 * KIB,
        group=Group.BUFFERS,
        help="Memory one request body may take before it goes to a temporary file.",
        unit="bytes",
        aliases=("--inbuf-overflow",),
    )
    response_buffer: int = option(
        1 * MIB,
        group=Group.BUFFERS,
        help="Memory one response may take when its client is slower than the application.",
        unit="bytes",
        minimum=1,
        aliases=("--outbuf-overflow",),
    )
    response_overflow: str = option(
        "spool",
        group=Group.BUFFERS,
        help="When that is full: spool to a temporary file, park the iteration and free its "
        "thread, or block the thread.",
        choices=("spool", "park", "block"),
    )
    spool_dir: str = option(
        "",
        group=Group.BUFFERS,
        help="Directory of the temporary files. Empty = the system's.",
        metavar="DIRECTORY",
        takes="a directory",
    )
    spool_limit: int = option(
        1 * GIB,
        group=Group.BUFFERS,
        help="Disk one request body (else 413) or one response may take.",
        unit="bytes",
    )
    max_spool_size: int = option(
        4 * GIB,
        group=Group.BUFFERS,
        help="Disk all temporary files may take; those of responses at most half of it.",
        unit="bytes",
    )
    max_buffer_size: int = option(
        256 * MIB,
        group=Group.BUFFERS,
        help="Memory all buffers may take; above it they go straight to disk.",
        unit="bytes",
        minimum=1,
    )

    parser: str = option(
        "auto",
        group=Group.CAPACITY,
        help="auto: plain request heads by the fast path, the rest by h11; h11: all by h11.",
        choices=("auto", "h11"),
    )
    switch_interval: float = option(
        0.0005,
        group=Group.CAPACITY,
        scope=Scope.FLEET,
        help="How long a thread may hold the GIL while others wait; under a supervisor only. "
        "0 = as it is.",
        unit="s",
        maximum=10.0,
    )
    root_path: str = option(
        "",
        group=Group.APPLICATION,
        help="Path the application is mounted at: its SCRIPT_NAME.",
        aliases=("--url-prefix", "--url-path-prefix", "--script-name"),
        metavar="PATH",
        check=_is_root_path,
        takes='nothing ("") or an ASCII path that begins with / and does not end with it',
    )
    header: tuple[str, ...] = option(
        (),
        group=Group.APPLICATION,
        help="A field to add to each response that has none of that name, the server's own answers "
        "included. Repeatable; in a variable one on each line.",
        metavar="'NAME: VALUE'",
        separator="\n",
        check=response_fields.are_fields,
        takes=response_fields.TAKES,
    )
    server_header: bool = option(
        True,
        group=Group.APPLICATION,
        help="Whether responses without a Server field get one, wsgi_async.",
    )
    access_logfile: str = option(
        "",
        group=Group.LOGS,
        scope=Scope.PROCESS,
        is_everyday=True,
        help="Access log: a file, or - for standard output. Empty = off.",
        metavar="FILE",
        takes="a file, or -",
    )
    access_logformat: str = option(
        "combined",
        group=Group.LOGS,
        scope=Scope.PROCESS,
        help="Format of the access log: combined, common, json, or text with gunicorn's atoms and "
        "ours, such as '%(h)s %(r)s %(s)s %(app)s': see --guide logging.",
        metavar="FORMAT",
        check=bool,
        takes="combined, common, json or text with atoms such as %(h)s",
    )
    error_logfile: str = option(
        "-",
        group=Group.LOGS,
        scope=Scope.PROCESS,
        help="Log of the server and of the application's errors: a file, or - for standard error.",
        aliases=("--log-file", "--logto"),
        metavar="FILE",
        check=bool,
        takes="a file, or -",
    )
    request_id_header: str = option(
        "",
        group=Group.LOGS,
        help="Field with the id of a request, such as X-Request-ID: a client's is taken if it is "
        "sane, else one is made; it is in logs, in the environ and in the response. Empty = off.",
        metavar="NAME",
        check=lambda name: not name or response_fields.is_id_field(name),
        takes=response_fields.ID_FIELD,
    )
    server_timing: bool = option(
        False,
        group=Group.LOGS,
        help="Say in the head of each response of the application where the time went until then: "
        "Server-Timing, which browsers show.",
    )
    fastcgi_stderr: bool = option(
        False,
        group=Group.LOGS,
        help="Tell a web server that speaks FastCGI what the application writes to wsgi.errors, "
        "for its own log: 64 KiB of each request. Here it is logged as ever.",
    )
    slow_request: float = option(
        0.0,
        group=Group.LOGS,
        help="Age at which a request that a thread is still at work on is logged, once, with the "
        "stack of its thread; time that only its client took does not count. 0 = off.",
        unit="s",
    )
    log_level: str = option(
        "info",
        group=Group.LOGS,
        scope=Scope.PROCESS,
        is_everyday=True,
        help="Least severe message that is logged.",
        choices=("debug", "info", "warning", "error", "critical"),
    )
    log_format: str = option(
        "text",
        group=Group.LOGS,
        scope=Scope.PROCESS,
        help="What each record of the error log is: a line of text, with its traceback beneath it, "
        "or one line of JSON. json also takes what the application prints to sys.stderr.",
        choices=("text", "json"),
    )
    log_config: str | Mapping[str, Any] = option(
        "",
        group=Group.LOGS,
        scope=Scope.PROCESS,
        help="Configuration for Python's logging: a file .json or .toml for dictConfig(), or of "
        "another name, such as .ini, for fileConfig(). In wsgi_async.toml it may be a table. It "
        "wins over the options above for the loggers that it names.",
        aliases=("--log-config-json", "--log-config-file"),
        metavar="FILE",
        takes_table=True,
        takes="a file, or in a file or a call a table",
    )
    log_syslog_to: str = option(
        "",
        group=Group.LOGS,
        scope=Scope.PROCESS,
        help="A syslog that gets both logs besides: udp://HOST:PORT, tcp://HOST:PORT, unix:PATH, "
        "such as unix:///dev/log. Nobody waits for it. Empty = none.",
        metavar="ADDRESS",
        check=is_syslog_address,
        takes="udp://HOST:PORT, tcp://HOST:PORT or unix:PATH",
    )
    log_syslog_prefix: str = option(
        "wsgi_async",
        group=Group.LOGS,
        scope=Scope.PROCESS,
        help="What its messages call the program; those of the access log add .access.",
        metavar="NAME",
        check=lambda name: re.fullmatch(r"[0-9A-Za-z._/+-]{1,40}", name) is not None,
        takes="up to 40 letters, digits, and . _ / + -",
    )
    log_syslog_facility: str = option(
        "user",
        group=Group.LOGS,
        scope=Scope.PROCESS,
        help="Their facility.",
        choices=tuple(FACILITIES),
        synonyms={"security": "auth"},
    )
    metrics_bind: str = option(
        "",
        group=Group.METRICS,
        scope=Scope.FLEET,
        help="Where a process of its own serves /metrics, /-/healthy and /-/ready: HOST:PORT, "
        ":PORT (this machine alone, unlike --bind), [V6]:PORT, unix:PATH or unix:@NAME; needs "
        "wsgi_async[metrics]. Empty = off.",
        metavar="ADDRESS",
        check=is_metrics_address,
        takes=METRICS_ADDRESS,
    )
    metrics_collector: tuple[str, ...] = option(
        (),
        group=Group.METRICS,
        scope=Scope.FLEET,
        help="A collector of the application's prometheus_client metrics that /metrics asks in "
        "one process, by the name of its class or of a metric of it; ordinary metrics are there "
        "anyway. Repeatable.",
        metavar="NAME",
    )
    statsd_host: str = option(
        "",
        group=Group.METRICS,
        scope=Scope.PROCESS,
        help="Where statsd takes metrics, which get gunicorn's names (--guide metrics): HOST, "
        "HOST:PORT, [V6]:PORT, unix:PATH or unix:@NAME. Without PORT 8125. Empty = off.",
        metavar="ADDRESS",
        check=statsd_options.is_statsd_address,
        takes=statsd_options.TAKES,
    )
    statsd_prefix: str = option(
        "",
        group=Group.METRICS,
        scope=Scope.PROCESS,
        help="What the names of these metrics begin with; a dot follows it.",
        metavar="PREFIX",
        check=statsd_options.is_prefix,
        takes=statsd_options.PREFIX_TAKES,
    )
    dogstatsd_tags: str = option(
        "",
        group=Group.METRICS,
        scope=Scope.PROCESS,
        help="Tags of each of these metrics, separated by commas, as Datadog's statsd takes them.",
        metavar="TAGS",
        check=statsd_options.are_tags,
        takes=statsd_options.TAGS_TAKE,
    )
    control_socket: str = option(
        "",
        group=Group.CONTROL,
        scope=Scope.FLEET,
        help="Socket file by which root, and who started the server, ask and steer it: "
        "wsgi-asyncctl, or HTTP by any client (--guide control). Empty = off.",
        metavar="PATH",
        check=is_control_path,
        takes=CONTROL_TAKES,
    )
    control_socket_mode: int = option(
        0o600,
        group=Group.CONTROL,
        scope=Scope.FLEET,
        help="Permissions of that file, in octal. Whoever they let in besides is refused all the "
        "same.",
        unit="octal",
        maximum=0o777,
    )
    dashboard_bind: str = option(
        "",
        group=Group.CONTROL,
        scope=Scope.FLEET,
        help="Where a page shows how the server is, live: HOST:PORT, :PORT (this machine alone), "
        "[V6]:PORT, unix:PATH or unix:@NAME; elsewhere than on this machine only with "
        "--dashboard-token-file. Empty = off.",
        metavar="ADDRESS",
        check=is_metrics_address,
        takes=METRICS_ADDRESS,
    )
    dashboard_token_file: str = option(
        "",
        group=Group.CONTROL,
        scope=Scope.FLEET,
        help="File with the token that the dashboard asks for, once in each browser; with it the "
        "page can reload and scale too. Empty = no token, and nothing but to look.",
        metavar="FILE",
    )
    dashboard_show_queries: bool = option(
        False,
        group=Group.CONTROL,
        scope=Scope.FLEET,
        help="Show query strings and the values of fields on the dashboard, which may be secrets "
        "of clients; without it they are masked.",
    )

    def __post_init__(self) -> None:
        convert(self, OPTIONS)
        check_dashboard(self.dashboard_bind, self.dashboard_token_file)
        self.forwarding()
        tls_options.check_pairs(self.certfile, self.keyfile)
        tls_options.check_clients(self.ca_certs, self.cert_reqs)
        tls_options.check_addresses(self.bind, self.certfile, self.redirect_to_https, self.protocol)
        if self.proxy_protocol != OFF:
            check_introduced(self.bind, self.protocol)
        if not self.certfile:
            tls_options.refuse_alone(
                {name: getattr(self, name) for name in tls_options.ONLY_WITH_CERTFILE}
            )

    @property
    def surfaces(self) -> tuple[Surface, ...]:
        """What the operations process is to serve; nothing: there is none."""
        return tuple(surface for surface in Surface if getattr(self, surface.value))

    def forwarding(self) -> Forwarding:
        """What the options on proxies come to; made anew."""
        return make_forwarding(
            self.forwarded_allow_ips,
            self.proxy_headers,
            self.secure_scheme_headers,
            self.forwarder_headers,
        )

    @property
    def knows_proxies(self) -> bool:
        """Whether somebody has said by hand which proxies there are, or what they say."""
        return self.forwarded_allow_ips is not None or self.proxy_headers is not None


OPTIONS: tuple[Option, ...] = options_of(Config)
"""Every option of :class:`Config`, in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchConfig:
    """What a command line has besides the options of :class:`Config`; validated likewise."""

    app: str = option(
        "",
        group=Group.APPLICATION,
        help="The application, instead of the argument APP.",
        metavar="APP",
    )
    factory: bool = option(
        False,
        group=Group.APPLICATION,
        help="APP is called without arguments and returns the application.",
        aliases=("--call",),
    )
    paste_global: tuple[str, ...] = option(
        (),
        group=Group.APPLICATION,
        help="A variable for a PasteDeploy file that APP or --config names, which has it as "
        "%(NAME)s; repeatable.",
        metavar="NAME=VALUE",
        check=lambda pairs: all(re.fullmatch(r"[^=]+=.*", pair, re.DOTALL) for pair in pairs),
        takes="variables such as NAME=VALUE",
    )
    config: str = option(
        "",
        group=Group.SURROUNDINGS,
        is_everyday=True,
        help="Configuration file: .toml, a gunicorn file (.py), a uWSGI or a PasteDeploy file "
        "(.ini). Without it wsgi_async.toml or [tool.wsgi_async] of pyproject.toml in the current "
        "directory.",
        flags=("-c",),
        aliases=("--ini",),
        metavar="FILE",
    )
    host: str = option(
        "",
        group=Group.LISTENING,
        help="Host to listen on, * for all interfaces; short for --bind HOST:PORT.",
        metavar="HOST",
        takes="a host name or an IP address, without a port",
        check=lambda host: "/" not in host and (host.count(":") != 1),
    )
    port: int = option(
        DEFAULT_PORT,
        group=Group.LISTENING,
        is_everyday=True,
        help="Port to listen on; short for --bind localhost:PORT, or HOST:PORT.",
        minimum=0,
        maximum=65535,
        takes="a port from 0 to 65535",
    )
    chdir: str = option(
        "",
        group=Group.SURROUNDINGS,
        help="Directory to change to before the application is loaded, anew for each process.",
        metavar="DIRECTORY",
        aliases=("--working-dir",),
    )
    pythonpath: tuple[str, ...] = option(
        (),
        group=Group.SURROUNDINGS,
        help="Directories to put on the path, separated by commas.",
        aliases=("--app-dir",),
        metavar="DIRECTORY",
        takes="directories",
    )
    env: tuple[str, ...] = option(
        (),
        group=Group.SURROUNDINGS,
        help="A variable for the application's environment; repeatable.",
        flags=("-e",),
        metavar="NAME=VALUE",
        check=lambda pairs: all(re.fullmatch(r"[^=]+=.*", pair, re.DOTALL) for pair in pairs),
        takes="variables such as NAME=VALUE",
    )
    env_file: str = option(
        "",
        group=Group.SURROUNDINGS,
        is_everyday=True,
        help="File of variables for the application's environment, read anew for each process; "
        "needs wsgi_async[env].",
        metavar="FILE",
        aliases=("--env-files",),
    )
    pid: str = option(
        "",
        group=Group.SURROUNDINGS,
        help="File to write the process id to.",
        flags=("-p",),
        aliases=("--pid-file", "--pidfile"),
        metavar="FILE",
    )
    user: str = option(
        "",
        group=Group.SURROUNDINGS,
        help="User, by name or number, that serving processes become once the sockets are bound.",
        flags=("-u",),
        aliases=("--uid",),
        metavar="USER",
    )
    group: str = option(
        "",
        group=Group.SURROUNDINGS,
        help="Group, by name or number, likewise. Without it the user's.",
        flags=("-g",),
        aliases=("--gid",),
        metavar="GROUP",
    )
    socket_owner: str = option(
        "",
        group=Group.LISTENING,
        help="Whom a unix socket file is given to. Without it it is --user's and --group's.",
        aliases=("--chown-socket",),
        metavar="USER[:GROUP]",
        check=lambda owner: re.fullmatch(r"(?:[^:]+|[^:]*:[^:]+)?", owner) is not None,
        takes="a user and a group such as shop:www-data, or :www-data",
    )
    umask: str = option(
        "",
        group=Group.SURROUNDINGS,
        help="Permissions that files made by the processes never get, in octal. Empty = as it is.",
        flags=("-m",),
        metavar="MODE",
        check=lambda mode: re.fullmatch(r"(?:(?:0[oO])?[0-7]{1,4})?", mode) is not None,
        takes="permissions in octal such as 022",
    )
    mount: tuple[str, ...] = option(
        (),
        group=Group.APPLICATION,
        help="An application for the paths below a prefix, for one method or all; the longest "
        "prefix wins. Repeatable.",
        metavar="'[METHOD ]/PREFIX=APP'",
        takes="mounts such as /admin=mysite.admin:app or 'GET /hello=hello:app'",
    )
    static: tuple[str, ...] = option(
        (),
        group=Group.APPLICATION,
        help="A directory whose files are served below a prefix; needs wsgi_async[static]. "
        "Repeatable.",
        aliases=("--static-map",),
        metavar="/PREFIX=DIRECTORY",
        takes="prefixes and directories such as /static=./static",
    )
    middleware: tuple[str, ...] = option(
        (),
        group=Group.APPLICATION,
        help="A factory that is called with the application and returns the one to serve; the "
        "first is the outermost. Repeatable.",
        metavar="MODULE:FACTORY",
    )
    subscriber: tuple[str, ...] = option(
        (),
        group=Group.LOGS,
        help="A factory whose result is told what happens: a wsgi_async.Observer, one in each "
        "process that serves. Repeatable.",
        metavar="MODULE:FACTORY",
    )
    encode_str: str = option(
        "",
        group=Group.APPLICATION,
        help="Encoding for applications whose bodies are str, as in Python 2. Empty = they are an "
        "error.",
        metavar="ENCODING",
    )
    lint: bool = option(
        False,
        group=Group.DEVELOPMENT,
        help="Check that the application keeps to PEP 3333, and name the request that breaks it.",
    )
    reload: bool = option(
        False,
        group=Group.DEVELOPMENT,
        is_everyday=True,
        help="Reload when a source file changes, for development; needs wsgi_async[reload].",
    )
    reload_dir: tuple[str, ...] = option(
        (),
        group=Group.DEVELOPMENT,
        help="Directories to watch. Without it the current one, and --pythonpath. Repeatable.",
        metavar="DIRECTORY",
        aliases=("--reload-paths",),
    )
    reload_include: tuple[str, ...] = option(
        (),
        group=Group.DEVELOPMENT,
        help="Patterns of further files to watch, besides *.py. Repeatable.",
        metavar="GLOB",
        aliases=("--reload-extra-file",),
    )
    debug: bool = option(
        False,
        group=Group.DEVELOPMENT,
        is_everyday=True,
        help="Show the traceback of an exception to a client on this machine.",
        aliases=("--expose-tracebacks/--no-expose-tracebacks",),
    )

    def __post_init__(self) -> None:
        convert(self, LAUNCH_OPTIONS)


LAUNCH_OPTIONS: tuple[Option, ...] = options_of(LaunchConfig, scope=Scope.LAUNCH)
"""Every option of :class:`LaunchConfig`, in its order."""

ALL_OPTIONS = (*LAUNCH_OPTIONS, *OPTIONS)


def in_groups() -> dict[Group, list[Option]]:
    """All options, by what they are about; those of each group in the order of the tables."""
    return {group: [spec for spec in ALL_OPTIONS if spec.group is group] for group in Group}
