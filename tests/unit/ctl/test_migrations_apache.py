"""What is understood of Apache's syntax, and of each of mod_wsgi's directives and options."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsgi_async.ctl.migrate import mod_wsgi
from wsgi_async.ctl.migrate.apache_daemon import DAEMON
from wsgi_async.ctl.migrate.apache_sites import sites_of
from wsgi_async.ctl.migrate.apache_syntax import MOST_FILES, directives, options, words
from wsgi_async.ctl.migrate.report import Finding, Plan, Source, Verdict
from wsgi_async.ctl.migrate.reporting import report
from wsgi_async.ctl.text import Screen

# src/server/wsgi_daemon.c and src/server/mod_wsgi.c of mod_wsgi 6.0
DAEMON_OPTIONS = """
    chroot connect-timeout cpu-priority cpu-time-limit deadlock-timeout display-name
    eviction-timeout graceful-timeout group header-buffer-size home inactivity-timeout
    interrupt-timeout lang listen-backlog locale maximum-requests memory-limit processes python-eggs
    python-home python-path queue-timeout receive-buffer-size request-timeout response-buffer-size
    response-flush-delay response-socket-timeout restart-interval script-group script-user
    send-buffer-size server-metrics shutdown-timeout socket-timeout socket-user stack-size
    startup-timeout supplementary-groups switch-interval threads umask user virtual-memory-limit
"""
DIRECTIVES = """
    WSGIAcceptMutex WSGIAccessScript WSGIApplicationGroup WSGIAuthGroupScript WSGIAuthUserScript
    WSGICallableObject WSGICaseSensitivity WSGIChunkedRequest WSGIDestroyInterpreter
    WSGIDispatchScript WSGIDontWriteBytecode WSGIEnableSendfile WSGIErrorOverride
    WSGIFreeThreading WSGIGroupAuthoritative WSGIHandlerScript WSGIIgnoreActivity
    WSGIImportScript WSGILazyInitialization WSGIMapHEADToGET WSGIPassApacheRequest
    WSGIPassAuthorization WSGIPerInterpreterGIL WSGIProcessGroup WSGIPythonEggs
    WSGIPythonHashSeed WSGIPythonHome WSGIPythonOptimize WSGIPythonPath WSGIPythonWarnings
    WSGIRestrictEmbedded WSGIRestrictProcess WSGIRestrictSignal WSGIRestrictStdin
    WSGIRestrictStdout WSGIScriptReloading WSGIServerMetrics WSGISlowRequests WSGISocketPrefix
    WSGISocketRotation WSGISwitchInterval WSGITelemetryOptions WSGITelemetryService
    WSGITrustedProxies WSGITrustedProxyHeaders WSGIVerboseDebugging
"""
UNKNOWN = "this report does not know it: look what it does for you"


def plans(text: str, directory: Path = Path()) -> list[Plan]:
    return mod_wsgi.read(Source("site.conf", text, directory))


def plan(text: str) -> Plan:
    (one,) = plans(text)
    return one


def found(text: str, setting: str) -> list[Finding]:
    return [finding for finding in plan(text).findings if finding.setting == setting]


# --- Syntax


def test_words() -> None:
    assert words('a "b c" \'d e\' "f \\" g"') == ["a", "b c", "d e", 'f " g']
    assert options("x a=1 b='2 3' c=\"4 5\"") == {"a": "1", "b": "2 3", "c": "4 5"}


def test_lines_go_on_and_comments_do_not_count() -> None:
    text = "# A comment\nWSGIScriptAlias / \\\n  /srv/a.wsgi\n\n  # another\nListen 80"
    first, second = directives(Source("a.conf", text))
    assert (first.where, first.words) == ("a.conf:2", ["/", "/srv/a.wsgi"])
    assert (second.where, second.text) == ("a.conf:6", "80")


def test_sections_are_known_by_each_line_within() -> None:
    text = """
        <VirtualHost *:80>
        <IfModule mod_wsgi.c>
        <Location "/a b">
        Require all granted
        </Location>
        </IfModule>
        </VirtualHost>
        Listen 80
    """
    inner, outer = directives(Source("a.conf", text))
    assert [(each.kind, each.value) for each in inner.sections] == [
        ("virtualhost", "*:80"),
        ("location", "/a b"),
    ]
    assert outer.sections == ()


@pytest.mark.parametrize(
    "around", ["<IfModule !mod_wsgi.c>", "<Macro Site $name>", "Define X\n<IfDefine !X>"]
)
def test_what_does_not_apply_is_left_out(around: str) -> None:
    kind = around.rpartition("<")[2].split()[0]
    text = f"{around}\nWSGIPythonPath /a\n</{kind}>\nWSGIPythonPath /b"
    assert [each.text for each in directives(Source("a.conf", text))] == ["/b"]


def test_variables() -> None:
    text = "Define root /srv\nWSGIPythonPath ${root}/lib:${other}\nErrorLog ${APACHE_LOG_DIR}/a.log"
    paths, log = directives(Source("a.conf", text))
    assert (paths.text, log.text) == ("/srv/lib:${other}", "/var/log/apache2/a.log")


def test_a_file_that_includes_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("Include a.conf\nListen 80\n")
    read = directives(Source("a.conf", (tmp_path / "a.conf").read_text(), tmp_path))
    assert len(read) == 2 * MOST_FILES


def test_patterns_of_included_files(tmp_path: Path) -> None:
    for name in ("sites-enabled/b.conf", "sites-enabled/a.conf", "mods-enabled/x.conf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"ServerAdmin {name}\n")
    text = "IncludeOptional sites-enabled/*.conf\nInclude mods-enabled/*.conf\nInclude *.none"
    read = directives(Source("apache2.conf", text, tmp_path))
    assert [(each.where, each.is_read) for each in read] == [
        ("apache2.conf:1", True),
        ("sites-enabled/a.conf:1", False),
        ("sites-enabled/b.conf:1", False),
        ("apache2.conf:2", False),
        ("apache2.conf:3", False),
    ]
    # A site's own file names what is in the directory above.
    site = Source("sites-enabled/a.conf", f"Include {tmp_path}/sites-enabled/[a]*", tmp_path / "x")
    assert [each.is_read for each in directives(site)] == [True, False]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<",
        "</VirtualHost>",
        "<VirtualHost>\nWSGIScriptAlias",
        "<VirtualHost *:80\nWSGIDaemonProcess\nWSGIScriptAlias /",
        'WSGIScriptAlias "/ /a.wsgi',
        "\\",
        "Alias\nHeader\nRedirect\nRewriteRule\nRequire\nCustomLog\nLogFormat\nErrorLog\nSetEnv",
        "SSLProtocol\nSSLCipherSuite\nSSLCertificateFile\nLogLevel\nTimeout\nLimitRequestBody",
        "WSGIDaemonProcess a threads=\nWSGIProcessGroup a\nWSGIScriptAlias / /a.wsgi",
        "RemoteIPHeader\nRemoteIPInternalProxy\nRequestReadTimeout\nProtocols\nSetHandler\nUser",
    ],
)
def test_what_is_broken_is_told_of_all_the_same(text: str) -> None:
    # People paste parts of files; that Apache refuses one is not this report's to say.
    assert len(plans(text)) == 1


# --- Each thing that mod_wsgi knows


@pytest.mark.parametrize("name", DAEMON_OPTIONS.split())
def test_each_option_of_processes_has_its_sentence(name: str) -> None:
    text = f"WSGIDaemonProcess a {name}=1\nWSGIProcessGroup a\nWSGIScriptAlias / /srv/a.wsgi"
    (finding,) = found(text, f"WSGIDaemonProcess {name}")
    assert finding.where == "site.conf:1"
    assert finding.text
    assert finding.text != UNKNOWN


def test_no_option_is_made_up() -> None:
    # proxy-buffer-size was mod_wsgi 4's.
    assert set(DAEMON) == {*DAEMON_OPTIONS.split(), "proxy-buffer-size"}


@pytest.mark.parametrize("name", DIRECTIVES.split())
def test_each_directive_has_its_sentence(name: str) -> None:
    (finding,) = found(f"{name} On\nWSGIScriptAlias / /srv/a.wsgi", name)
    assert finding.text
    assert finding.text != UNKNOWN


@pytest.mark.parametrize(
    "line",
    [
        "SetEnv API_KEY hunter2",
        "RequestHeader set X-Auth-Token hunter2",
        'Header always set X-Secret: "hunter2"',
        "AuthLDAPBindPassword hunter2",
        "OIDCCryptoPassphrase hunter2",
        "DBDParams host=db,pass=hunter2",
        "ProxyPass / http://me:hunter2@other/",
        "SetEnv DATABASE_URL postgres://me:hunter2@db/shop",
    ],
)
def test_what_is_secret_is_not_shown(line: str, tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text(f"{line}\nWSGIScriptAlias / /a.wsgi\n")
    lines = report(["a.conf"], [], Screen(None, False), directory=tmp_path).lines
    assert "hunter2" not in "\n".join(lines)
    assert "..." in "\n".join(lines)


def test_what_is_not_known_has_to_be_looked_at() -> None:
    (finding,) = found("FrobnicateFor 12\nWSGIScriptAlias / /a.wsgi", "FrobnicateFor")
    assert (finding.text, finding.matters) == (UNKNOWN, True)


# --- Sites


def test_hosts_with_the_same_scripts_are_one_site() -> None:
    text = """
        <VirtualHost *:80>
        ServerName a.example
        Redirect / https://a.example/
        </VirtualHost>
        <VirtualHost *:443 [::1]:8443>
        ServerName a.example
        SSLEngine on
        SSLCertificateFile /c.pem
        WSGIScriptAlias / /srv/a.wsgi
        </VirtualHost>
    """
    made = plan(text)
    assert made.options["bind"] == ["http://:80", ":443", "[::1]:8443"]
    assert made.options["redirect_to_https"] == ["a.example"]
    assert made.title == "a.example"


def test_a_redirect_to_elsewhere_is_none_to_https() -> None:
    text = """
        <VirtualHost *:443>
        ServerName a.example
        SSLCertificateFile /c.pem
        RedirectMatch ^/old https://a.example/new
        WSGIScriptAlias / /srv/a.wsgi
        </VirtualHost>
    """
    assert "redirect_to_https" not in plan(text).options
    assert found(text, "RedirectMatch")[0].verdict is Verdict.MISSING


def test_hosts_with_scripts_of_their_own_are_plans_of_their_own() -> None:
    text = "".join(
        f"<VirtualHost *:80>\nServerName {name}.example\nWSGIScriptAlias / /srv/{name}.wsgi\n"
        "</VirtualHost>\n"
        for name in "ab"
    )
    assert [each.application for each in plans(text)] == ["/srv/a.wsgi", "/srv/b.wsgi"]
    assert len(sites_of(directives(Source("a.conf", text)))) == 2


def test_processes_that_no_application_runs_in_are_told() -> None:
    text = "WSGIDaemonProcess a threads=3\nWSGIScriptAlias / /srv/a.wsgi"
    (finding,) = found(text, "WSGIDaemonProcess")
    assert "no WSGIProcessGroup names it" in finding.text
    assert plan(text).options["threads"] == "3"


def test_processes_of_another_file_are_asked_for() -> None:
    (finding,) = found("WSGIProcessGroup a\nWSGIScriptAlias / /srv/a.wsgi", "WSGIDaemonProcess")
    assert finding.matters


def test_two_scripts_of_a_host_are_two_applications() -> None:
    # One app.wsgi in each of two directories.
    text = "WSGIApplicationGroup %{GLOBAL}\nWSGIScriptAlias /a /srv/a/app.wsgi\n"
    made = plan(f"{text}WSGIScriptAlias /b /srv/b/app.wsgi\n")
    assert made.options["mount"] == ["/a=/srv/a/app.wsgi", "/b=/srv/b/app.wsgi"]
    assert made.application is None
    assert not made.loses_something


@pytest.mark.parametrize(
    ("versions", "lowest"),
    [
        ("all -SSLv3 -TLSv1 -TLSv1.1", "1.2"),
        ("all -SSLv3", "1.2"),
        ("-all +TLSv1.3", "1.3"),
        ("TLSv1.3", "1.3"),
        ("+TLSv1.2 +TLSv1.3", "1.2"),
    ],
)
def test_versions_of_tls(versions: str, lowest: str) -> None:
    assert plan(f"SSLProtocol {versions}").options["tls_min"] == lowest


@pytest.mark.parametrize(
    ("address", "bound"),
    [
        ("*:80", ":80"),
        ("_default_:8080", ":8080"),
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("[::1]:80", "[::1]:80"),
        ("*", ":80"),
        ("[fe80::1]", "[fe80::1]:80"),
        ("*:*", ":80"),
    ],
)
def test_addresses(address: str, bound: str) -> None:
    text = f"<VirtualHost {address}>\nWSGIScriptAlias / /srv/a.wsgi\n</VirtualHost>"
    assert plan(text).options["bind"] == [bound]


def test_a_host_without_a_port_has_those_that_are_listened_on() -> None:
    text = "Listen 8080\nListen 10.0.0.1:81\n<VirtualHost *>\nWSGIScriptAlias / /srv/a.wsgi\n"
    assert plan(text).options["bind"] == [":8080", ":81"]


def test_the_largest_of_several_bounds_on_bodies_counts() -> None:
    text = """
        LimitRequestBody 2000
        <Location /api>
        LimitRequestBody 1000
        </Location>
        <Location /upload>
        LimitRequestBody 3000
        </Location>
        <Location /other>
        LimitRequestBody 2500
        </Location>
    """
    assert plan(text).options["max_body_size"] == "3000"


@pytest.mark.parametrize("name", ["*.example.org", "../a", "${HOST}", ".a"])
def test_what_is_no_name_names_no_file(name: str) -> None:
    assert plan(f"ServerName {name}\nWSGIScriptAlias / /srv/a.wsgi").title == ""


@pytest.mark.parametrize(
    ("line", "served"),
    [
        ("Alias /static/ /srv/static/", "/static=/srv/static"),
        ('Alias "/my files" "/srv/my files"', "/my files=/srv/my files"),
        ("AliasMatch ^/media/(.*)$ /srv/media/$1", "/media=/srv/media"),
        ("<Location /up>\nAlias /srv/up\n</Location>", "/up=/srv/up"),
        ("Alias /robots.txt /srv/robots.txt", None),
        ("AliasMatch ^/([^/]*\\.css) /srv/css/$1", None),
    ],
)
def test_directories_of_files(line: str, served: str | None) -> None:
    made = plan(f"{line}\nWSGIScriptAlias / /srv/a.wsgi")
    assert made.options.get("static") == (None if served is None else [served])
    assert made.loses_something == (served is None)


def test_handlers() -> None:
    assert "--mount" in found("AddHandler wsgi-script .wsgi", "AddHandler")[0].text
    assert "--mount" in found("SetHandler wsgi-script", "SetHandler")[0].text
    assert not found("SetHandler None", "SetHandler")[0].matters
    assert found("AddHandler php-script .php", "AddHandler")[0].matters
    assert not found("ProxyPass /static !", "ProxyPass")[0].matters
