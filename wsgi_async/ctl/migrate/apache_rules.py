"""Apache's directives of which the value makes no difference to what is said of them.

Those that have to be understood are in ``apache_own``, ``apache_access``, ``apache_logs`` and
``apache_tls``.
"""

from __future__ import annotations

from .rules import Rule, changed, missing, taken, unused

__all__ = ["DIRECTIVES", "FRONT", "rule_of"]

_LOOP = "connections are held by one event loop in each process, not by threads: {instead}"
_PAGES = "this server lists no directories and has no index pages: what names no file is asked of "
_APART = "the interpreter runs before the server reads anything: set {variable} in the systemd unit"
FRONT = "keep Apache or another server in front of this one for it"
_FILES = (
    "that is of files which Apache sends; --static has ETag, ranges and Cache-Control: no-cache"
)
_LOGIN = "part of a login: see AuthType"
_TELEMETRY = "the module mod_wsgi is not there: see --metrics-bind and --guide metrics"

VARIABLES = {
    "wsgidontwritebytecode": "PYTHONDONTWRITEBYTECODE",
    "wsgipythonhashseed": "PYTHONHASHSEED",
    "wsgipythonoptimize": "PYTHONOPTIMIZE",
    "wsgipythonwarnings": "PYTHONWARNINGS",
}

DIRECTIVES: dict[str, Rule] = {
    # mod_wsgi's own
    "wsgienablesendfile": taken("wsgi.file_wrapper goes by sendfile() wherever there is no TLS"),
    "wsgirestrictstdin": unused("standard input is the process's own here"),
    "wsgirestrictstdout": unused("print() writes to the server's standard output"),
    "wsgirestrictsignal": unused(
        "signal handlers can be registered only in the main thread, as in any Python program"
    ),
    "wsgirestrictembedded": taken("there is no embedded mode"),
    "wsgirestrictprocess": unused("there is one group of processes"),
    "wsgiacceptmutex": unused("the processes share their sockets without a lock"),
    "wsgisocketprefix": unused("there are no sockets between Apache and daemon processes"),
    "wsgisocketrotation": unused("there are no sockets between Apache and daemon processes"),
    "wsgilazyinitialization": unused("there are no processes of Apache's to have an interpreter"),
    "wsgicasesensitivity": unused("paths are told apart by case, always"),
    "wsgidestroyinterpreter": unused(
        "there are no sub interpreters; atexit functions run in each process's main interpreter"
    ),
    "wsgiperinterpretergil": unused("there are no sub interpreters: see --workers"),
    "wsgifreethreading": unused("the interpreter that runs wsgi-async decides that"),
    "wsgiverbosedebugging": unused("see --log-level debug"),
    "wsgipassapacherequest": missing("there is no Apache to ask: environ has all of the request"),
    "wsgiaccessscript": missing("it decided who may connect: do so in a middleware, or in front"),
    "wsgiauthuserscript": missing(
        "it decided on passwords: wsgi_async.middleware.BasicAuth takes such a function of user "
        "and password"
    ),
    "wsgiauthgroupscript": missing("groups of users: decide in the application, or in front"),
    "wsgigroupauthoritative": unused(_LOGIN),
    "wsgihandlerscript": missing("it filtered responses: write it as a middleware"),
    "wsgidispatchscript": missing("--mount says which application serves which paths"),
    "wsgiignoreactivity": unused("no process ends for being idle"),
    "wsgimapheadtoget": changed(
        "the application sees HEAD as HEAD; what it yields is not sent to the client"
    ),
    "wsgiservermetrics": unused(_TELEMETRY),
    "wsgitelemetryservice": unused(_TELEMETRY),
    "wsgitelemetryoptions": unused(_TELEMETRY),
    # What Apache is
    "loadmodule": unused(
        "what Apache's modules do is not done here, but where this report says so"
    ),
    "loadfile": unused("nothing loads libraries for modules here"),
    "serverroot": unused("paths are relative to --chdir"),
    "serveradmin": unused("error pages name nobody"),
    "serversignature": unused("error pages are the application's, and short texts of the server"),
    "usecanonicalname": changed(
        "environ's SERVER_NAME is the address that the client reached; applications go by Host"
    ),
    "usecanonicalphysicalport": unused("environ's SERVER_PORT is that of the address"),
    "hostnamelookups": unused("names of clients are never looked up; REMOTE_HOST is not set"),
    "mutex": unused("nothing waits for a lock between processes"),
    "coredumpdirectory": unused("LimitCORE= in the systemd unit"),
    "accessfilename": unused("there are no .htaccess files"),
    "traceenable": changed("TRACE reaches the application, which should answer 405"),
    "contentdigest": unused("Content-MD5 is obsolete"),
    "namevirtualhost": unused("Apache 2.4 has no use for it either"),
    "maxkeepaliverequests": unused("a connection may have any number of requests"),
    "extendedstatus": unused("wsgi-asyncctl status and requests, with --control-socket"),
    "startservers": unused(_LOOP.format(instead="see --workers")),
    "serverlimit": unused(_LOOP.format(instead="see --workers")),
    "threadlimit": unused(_LOOP.format(instead="see --threads")),
    "threadsperchild": unused(_LOOP.format(instead="see --threads")),
    "threadstacksize": unused(_LOOP.format(instead="nothing to tune")),
    "minsparethreads": unused(_LOOP.format(instead="nothing is kept in reserve")),
    "maxsparethreads": unused(_LOOP.format(instead="nothing is kept in reserve")),
    "minspareservers": unused(_LOOP.format(instead="nothing is kept in reserve")),
    "maxspareservers": unused(_LOOP.format(instead="nothing is kept in reserve")),
    "maxrequestworkers": unused(_LOOP.format(instead="see --max-connections")),
    "maxclients": unused(_LOOP.format(instead="see --max-connections")),
    "asyncrequestworkerfactor": unused(_LOOP.format(instead="see --max-connections")),
    "maxconnectionsperchild": unused("was of Apache's own processes: see --max-requests"),
    "maxrequestsperchild": unused("was of Apache's own processes: see --max-requests"),
    "sendbuffersize": unused("sockets have the system's buffers"),
    "receivebuffersize": unused("sockets have the system's buffers"),
    "allowencodedslashes": changed(
        "%2F in a path is a slash in PATH_INFO; REQUEST_URI has it as it was"
    ),
    "allowmethods": missing("--mount 'GET /=APP' serves one method of an application only"),
    "chrootdir": missing("RootDirectory= in the systemd unit, or a container"),
    "errorlogformat": changed("--log-format text or json"),
    "httpprotocoloptions": taken("requests are read strictly"),
    "listentcpdeferaccept": unused("TCP_DEFER_ACCEPT is not set"),
    "mergeslashes": changed("slashes in a row reach the application as they are"),
    "mergetrailers": taken("trailers are dropped"),
    "protocolshonororder": unused("see Protocols"),
    "redirectrelative": unused("see Redirect"),
    "registerhttpmethod": taken("any method reaches the application"),
    # Files and directories
    "options": unused(
        f"{_PAGES}the application; symbolic links are followed within a --static directory only"
    ),
    "directoryindex": unused(f"{_PAGES}the application"),
    "directoryslash": unused(f"{_PAGES}the application"),
    "indexoptions": unused(f"{_PAGES}the application"),
    "indexignore": unused(f"{_PAGES}the application"),
    "fallbackresource": unused(f"{_PAGES}the application"),
    "allowoverride": unused(".htaccess files are not read: look whether there are any"),
    "allowoverridelist": unused(".htaccess files are not read: look whether there are any"),
    "fileetag": unused(_FILES),
    "enablesendfile": unused("files go by sendfile() wherever there is no TLS"),
    "enablemmap": unused(_FILES),
    "typesconfig": unused("types of files are Python's mimetypes and the common ones of the web"),
    "addtype": changed(
        "types of files are Python's mimetypes and the common ones of the web: /etc/mime.types is "
        "where to add one"
    ),
    "adddefaultcharset": changed("the application says its charset; text files are UTF-8"),
    "addcharset": unused(_FILES),
    "addencoding": unused(_FILES),
    "addlanguage": unused(_FILES),
    "languagepriority": unused(_FILES),
    "forcelanguagepriority": unused(_FILES),
    "defaulttype": unused("Apache 2.4 has no use for it either"),
    "expiresactive": unused("see the directives that say for how long"),
    "expiresbytype": missing(
        "--static says Cache-Control: no-cache, and answers 304: WhiteNoise as --middleware gives "
        "files a lifetime, and the application does for what is its own"
    ),
    "expiresdefault": missing(
        "--static says Cache-Control: no-cache, and answers 304: WhiteNoise as --middleware gives "
        "files a lifetime"
    ),
    # Filters
    "addoutputfilterbytype": missing(
        "nothing is compressed here: the application can (Django's GZipMiddleware, Flask-Compress),"
        " or a server in front"
    ),
    "addoutputfilter": missing("responses are not filtered: write it as a middleware"),
    "setoutputfilter": missing(
        "nothing is compressed or filtered here: the application can, or a server in front"
    ),
    "setinputfilter": missing("bodies are not filtered: write it as a middleware"),
    "deflatecompressionlevel": unused("nothing is compressed here"),
    "brotlicompressionquality": unused("nothing is compressed here"),
    "cacheenable": missing(f"nothing is cached here: {FRONT}"),
    # Other programs
    "scriptalias": missing(f"CGI programs are not run: {FRONT}"),
    "scriptaliasmatch": missing(f"CGI programs are not run: {FRONT}"),
    "proxypassmatch": missing(f"requests are not passed on: {FRONT}"),
    "proxypassreverse": unused("see ProxyPass"),
    "proxypreservehost": unused("see ProxyPass"),
    "proxyrequests": unused("this server is no proxy"),
    "proxytimeout": unused("see ProxyPass"),
    "proxyvia": unused("this server is no proxy"),
    "setenvif": missing("decide in the application, or in a middleware"),
    "setenvifnocase": missing("decide in the application, or in a middleware"),
    "setenvifexpr": missing("decide in the application, or in a middleware"),
    "cgipassauth": taken("Authorization reaches the application always"),
    "remoteipproxyprotocolexceptions": missing(
        "with --proxy-protocol each connection needs a PROXY header: others need another address"
    ),
    "remoteipinternalproxylist": missing("--forwarded-allow-ips, with what is in that file"),
    "remoteiptrustedproxylist": missing("--forwarded-allow-ips, with what is in that file"),
    "remoteipproxiesheader": unused("environ has X-Forwarded-For as it was"),
    "browsermatch": unused("was for browsers of the nineties"),
    "browsermatchnocase": unused("was for browsers of the nineties"),
    "unsetenv": unused("see SetEnv"),
    # Logins, in front of which nobody stands here
    "authname": unused(_LOGIN),
    "authuserfile": unused(_LOGIN),
    "authgroupfile": unused(_LOGIN),
    "authbasicprovider": unused(_LOGIN),
    "authdigestprovider": unused(_LOGIN),
    "authdigestdomain": unused(_LOGIN),
    "authldapurl": unused(_LOGIN),
    "authldapbinddn": unused(_LOGIN),
    "authldapbindpassword": unused(_LOGIN),
    "authzldapauthoritative": unused(_LOGIN),
    "satisfy": missing("nothing asks for a user or looks at addresses here: see AuthType"),
    # Rewriting; what leads to https is understood by itself
    "rewriteengine": unused("see RewriteRule"),
    "rewritebase": unused("see RewriteRule"),
    "rewriteoptions": unused("see RewriteRule"),
    "rewritemap": missing("redirect in the application, or in front"),
    "errordocument": changed(
        "errors of the application are its own pages, as before; those of the server (400, 413, "
        "503, 504) are short texts"
    ),
    "action": missing(f"CGI programs are not run: {FRONT}"),
    "limitxmlrequestbody": unused("see --max-body-size"),
    "http2push": unused("see Protocols"),
    "include": unused(
        "other files are not read: give it to this report as well, as it may say more", matters=True
    ),
    "includeoptional": unused(
        "other files are not read: give them to this report as well, as they may say more"
    ),
    "use": missing("macros are not read: write out what it comes to, and ask again"),
    "undefmacro": unused("macros are not read"),
    "passenv": taken(
        "the application's os.environ is that of the server; it was in each request's environ there"
    ),
    "undefine": unused("variables are those of the whole file"),
    "rlimitcpu": unused("was of programs that Apache starts: Limit...= in the systemd unit"),
    "rlimitmem": unused("was of programs that Apache starts: Limit...= in the systemd unit"),
    "rlimitnproc": unused("was of programs that Apache starts: Limit...= in the systemd unit"),
}

_FAMILIES: tuple[tuple[str, Rule], ...] = (
    ("php", missing(f"PHP is not run: {FRONT}")),
    ("sec", missing(f"there is no mod_security: {FRONT}")),
    (
        "dos",
        missing(f"there is no mod_evasive; see --queue-size and --max-connections, or {FRONT}"),
    ),
    ("oidc", missing(f"logins are not done here: {FRONT}, or let the application ask")),
    ("shib", missing(f"logins are not done here: {FRONT}, or let the application ask")),
    ("mellon", missing(f"logins are not done here: {FRONT}, or let the application ask")),
    ("gssapi", missing(f"logins are not done here: {FRONT}, or let the application ask")),
    ("krb", missing(f"logins are not done here: {FRONT}, or let the application ask")),
    ("auth", missing(f"logins are not done here: {FRONT}, or let the application ask")),
    ("session", missing(f"Apache's sessions are not known here: {FRONT}")),
    ("dav", missing(f"there is no WebDAV: {FRONT}")),
    ("svn", missing(f"there is no Subversion: {FRONT}")),
    ("cache", missing(f"nothing is cached here: {FRONT}")),
    ("balancer", missing(f"requests are not passed on: {FRONT}")),
    ("proxy", missing(f"requests are not passed on: {FRONT}")),
    ("md", missing("certificates are renewed by certbot or the like; what they renew is taken up")),
    ("h2", unused("see Protocols")),
    ("index", DIRECTIVES["indexoptions"]),
    ("readmename", DIRECTIVES["indexoptions"]),
    ("addicon", DIRECTIVES["indexoptions"]),
    ("defaulticon", DIRECTIVES["indexoptions"]),
    ("deflate", DIRECTIVES["deflatecompressionlevel"]),
    ("brotli", DIRECTIVES["deflatecompressionlevel"]),
    ("addalt", DIRECTIVES["indexoptions"]),
    ("adddescription", DIRECTIVES["indexoptions"]),
    ("directory", DIRECTIVES["directoryindex"]),
    ("fancyindexing", DIRECTIVES["indexoptions"]),
    ("headername", DIRECTIVES["indexoptions"]),
    ("remove", unused("handlers, filters and types of files are not Apache's here")),
    *(
        (prefix, unused(_FILES))
        for prefix in (
            *("acceptpathinfo", "charset", "check", "defaultlanguage", "forcetype", "maxrange"),
            *("mimemagic", "modmime", "multiviews"),
        )
    ),
    *(
        (prefix, missing("responses are not filtered: write it as a middleware"))
        for prefix in (
            "substitute",
            "inputsed",
            "outputsed",
            "extfilter",
            "filter",
            "addinputfilter",
        )
    ),
    *(
        (prefix, missing(f"CGI programs are not run: {FRONT}"))
        for prefix in ("cgi", "script", "ssi")
    ),
    ("xbithack", missing(f"CGI programs are not run: {FRONT}")),
    ("lua", missing(f"Lua is not run: {FRONT}")),
    ("anonymous", unused(_LOGIN)),
    ("ldap", unused(_LOGIN)),
    ("dbd", unused("Apache's connections to databases are not there")),
    ("cookie", missing("visitors are not counted by cookies: in the application")),
    ("userdir", missing("--static /~NAME=DIRECTORY for each")),
    ("virtual", missing(f"directories are not told from names of hosts: {FRONT}")),
    ("wsginewrelic", missing("newrelic-admin run-program wsgi-async ...")),
    *(
        (prefix, unused("it is for Apache's own work"))
        for prefix in (
            *(
                "acceptfilter",
                "addmoduleinfo",
                "aliaspreserve",
                "bufferedlogs",
                "defaultruntimedir",
            ),
            *("dumpio", "error", "flushmax", "forensiclog", "keptbody", "limitinternal"),
            *("listencores", "logiotrack", "logmessage", "macroignore", "maxmemfree", "noproxy"),
            *("port", "protocol", "qualifyredirect", "readbuffer", "regexdefault", "scoreboard"),
            *("seerequesttail", "stricthostcheck", "suexec", "watchdog"),
        )
    ),
    ("wsgitelemetry", DIRECTIVES["wsgitelemetryservice"]),
)
"""How the directives of a module begin."""


def rule_of(key: str) -> Rule | None:
    """What is said of a directive, by its name in lower case; None where it is not known."""
    if variable := VARIABLES.get(key):
        return missing(_APART.format(variable=variable))
    if key in DIRECTIVES:
        return DIRECTIVES[key]
    return next((rule for prefix, rule in _FAMILIES if key.startswith(prefix)), None)
