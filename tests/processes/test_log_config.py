"""--log-config in a server: its processes follow it, and nobody waits for its handlers."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from processes import Servers, Site, await_text, reachable
from rawclient import RawClient
from serving import Command

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")

HANDLERS = """
import logging, os
class Marked(logging.FileHandler):
    def format(self, record):
        return f"marked {super().format(record)}"
class Hung(logging.Handler):
    def emit(self, record):
        import time
        time.sleep(600)
"""

APP = """
import logging
log = logging.getLogger("shop")
def application(environ, start_response):
    log.info("sold")
    if environ["PATH_INFO"] == "/raise":
        raise KeyError("no such thing")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"x"]
"""

CONFIG = """
[handlers.own]
class = "site_handlers.Marked"
filename = "own.log"

[handlers.plain]
class = "logging.FileHandler"
filename = "own.log"

[loggers.wsgi_async]
handlers = ["own", "plain"]

[loggers.shop]
handlers = ["plain"]
level = "INFO"
"""


def write(site: Site, config: str = CONFIG, name: str = "log.toml") -> None:
    site.write_source(APP)
    (site.directory / "site_handlers.py").write_text(HANDLERS)
    (site.directory / name).write_text(config)


def get(servers: Servers, target: str, status: int) -> None:
    with servers.client() as client:
        assert client.get(target).status == status


def address(site: Site) -> tuple[str, ...]:
    """Where to listen, as what it says of that is elsewhere."""
    return ("-b", f"unix:{site.directory}/socket")


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_classes_of_the_application_and_files_beside_it(
    preload: tuple[str, ...], tmp_path: Path, site: Site
) -> None:
    """The directory is that of --chdir; the parent takes what it can do itself."""
    write(site)
    (site.directory / "log.toml").rename(tmp_path / "log.toml")
    options = ("--chdir", str(site.directory), "--log-config", str(tmp_path / "log.toml"), *preload)
    with site.serve(*options, "-b", "127.0.0.1:0") as servers:
        text = await_text(site.directory / "own.log", "^Listening on http")
        assert "what the parent process itself has to say does not go to own, which" in text
        found = re.search(r"^Listening on http://127\.0\.0\.1:([0-9]+)", text, re.MULTILINE)
        assert found is not None
        with RawClient(("127.0.0.1", int(found[1]))) as client:
            assert client.get("/raise").status == 500
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
    lines = (site.directory / "own.log").read_text().splitlines()
    assert [line for line in lines if line.startswith("marked GET /raise ")]
    assert [line for line in lines if line.startswith("GET /raise ")]
    assert "sold" in lines
    assert "marked Stopped" in lines
    assert not [line for line in lines if line.startswith("marked Listening")]


AS_JSON = """
[formatters.json]
"()" = "wsgi_async.logs.formatters.JsonFormatter"

[handlers.own]
class = "logging.FileHandler"
filename = "own.log"
formatter = "json"

[loggers]
shop = { handlers = ["own"], level = "INFO" }
"""


def test_records_of_the_application_name_their_request_as_json(site: Site) -> None:
    """So that they are found beside the server's own."""
    write(site, AS_JSON)
    with site.serve("--log-config", "log.toml", "--request-id-header", "X-Request-ID") as servers:
        get(servers, "/", 200)
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
    [line] = (site.directory / "own.log").read_text().splitlines()
    found = json.loads(line)
    assert (found["logger"], found["message"]) == ("shop", "sold")
    assert re.fullmatch("[0-9a-f]{32}", found["request_id"])


def test_a_handler_that_hangs_costs_no_request(site: Site) -> None:
    """Its lines are counted, and the server stops in time."""
    write(
        site,
        '[handlers.hung]\nclass = "site_handlers.Hung"\n'
        '[handlers.file]\nclass = "logging.FileHandler"\nfilename = "access.log"\n'
        '[loggers."wsgi_async.access"]\nhandlers = ["hung", "file"]\n',
    )
    site.write("v0")
    with site.serve("--log-config", "log.toml") as servers:
        with servers.load() as load:
            load.wait_for_more(300)
        load.assert_flawless()
        began = time.monotonic()
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        assert time.monotonic() - began < 5.0
        servers.wait_for(r"\[ERROR\] [0-9]+ lines of the log of the application's handlers were")


def test_a_file_for_gunicorn_in_a_gunicorn_file(site: Site) -> None:
    write(site)
    (site.directory / "gunicorn.conf.py").write_text(
        "threads = 2\n"
        "logconfig_dict = {\n"
        "    'handlers': {'file': {'class': 'logging.FileHandler', 'filename': 'g.log'}},\n"
        "    'loggers': {name: {'handlers': ['file'], 'propagate': False, 'level': 'INFO'}\n"
        "                for name in ('gunicorn.error', 'gunicorn.access')},\n"
        "}\n"
    )
    with site.serve("-c", "gunicorn.conf.py", *address(site)) as servers:
        text = await_text(site.directory / "g.log", "^Listening on ")
        assert "gunicorn.error is taken for wsgi_async\n" in text
        with RawClient(str(site.directory / "socket")) as client:
            assert client.get("/raise").status == 500
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
    text = (site.directory / "g.log").read_text()
    assert re.search(r'^unix - - \[.*\] "GET /raise HTTP/1.1" 500 ', text, re.MULTILINE)
    assert "KeyError: 'no such thing'" in text


def test_a_reload_with_a_bad_file_leaves_all_as_it_is(site: Site) -> None:
    write(site)
    with site.serve(
        "--log-config", "log.toml", "-b", "127.0.0.1:0", "--error-logfile", "e.log"
    ) as (servers):
        await_text(site.directory / "own.log", "^Listening on ")
        (site.directory / "log.toml").write_text("[")
        servers.signal(signal.SIGHUP)
        await_text(site.directory / "own.log", "is not valid TOML")
        (site.directory / "log.toml").write_text(CONFIG.replace("own.log", "other.log"))
        servers.signal(signal.SIGHUP)
        await_text(site.directory / "other.log", "^Reloaded$")
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        await_text(site.directory / "other.log", "^marked Stopped$")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("log.json", "{", "is not valid JSON"),
        (
            "log.toml",
            '[handlers.x]\nclass = "nowhere.X"\n[root]\nhandlers = ["x"]',
            "Unable to configure handler 'x': Cannot resolve 'nowhere.X': No module named",
        ),
        (
            "log.toml",
            '[handlers.x]\nclass = "logging.StreamHandler"\nlevel = "LOUD"\n'
            '[loggers.wsgi_async]\nhandlers = ["x"]',
            "Unable to configure handler 'x': Unknown level: 'LOUD'",
        ),
    ],
)
@pytest.mark.parametrize("action", [(), ("--check-config",)], ids=["serve", "check"])
def test_a_bad_file_is_a_refusal(
    action: tuple[str, ...], name: str, text: str, expected: str, site: Site
) -> None:
    """Of one line, also where a process finds it."""
    write(site, text, name)
    with site.serve("--log-config", name, *action) as servers:
        assert servers.wait() == 1
        [line] = servers.lines
    assert re.fullmatch(rf"wsgi-async: error: --log-config \S+{name}.*", line)
    assert expected in line


def test_check_config_says_that_it_is_good(site: Site) -> None:
    write(site)
    with site.serve("--log-config", "log.toml", "--check-config") as servers:
        assert servers.wait() == 0


def test_a_table_in_the_configuration_file(site: Site) -> None:
    write(site)
    (site.directory / "wsgi_async.toml").write_text(
        'log_format = "json"\n[log_config.handlers.file]\nclass = "logging.FileHandler"\n'
        'filename = "own.log"\nformatter = "json"\n'
        '[log_config.formatters.json]\n"()" = "wsgi_async.logs.formatters.JsonFormatter"\n'
        '[log_config.loggers.wsgi_async]\nhandlers = ["file"]\n'
    )
    with site.serve(*address(site)) as servers:
        await_text(site.directory / "own.log", "Listening on ")
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
    found = [json.loads(line) for line in (site.directory / "own.log").read_text().splitlines()]
    # The parent's, whose formatter is that of the option, and those of the process.
    assert {each["message"].split()[0] for each in found} >= {"Listening", "Stopping;", "Stopped"}


@root
def test_a_file_that_only_root_may_read_for_another_user() -> None:
    """It is read by the parent; the file of the log becomes the user's."""
    with reachable() as directory:
        site = Site(directory)
        write(site)
        (directory / "log.toml").chmod(0o600)
        os.chmod(directory, 0o755)
        options = ("--log-config", "log.toml", "--user", "nobody", "-b", "127.0.0.1:0")
        with site.serve(*options) as servers:
            await_text(directory / "own.log", "^Listening on ")
            servers.signal(signal.SIGTERM)
            assert servers.wait() == 0
            await_text(directory / "own.log", "^marked Stopped$")


def test_where_nobody_asks_nothing_is_imported(site: Site) -> None:
    names = "^(wsgi_async.logs.configuration|logging.config|configparser)$"
    look = f"[name for name in sys.modules if re.search({names!r}, name)]"
    site.write("v0", before=f"import re, sys\nprint('has', {look}, file=sys.stderr)\n")
    with site.serve() as servers:
        assert servers.wait_for(r"^has (.*)$")[1] == "[]"


def test_serve_follows_it_and_gives_the_loggers_back(tmp_path: Path) -> None:
    program = f"""
import logging, sys
from wsgi_async import serve
def application(environ, start_response):
    environ["wsgi.errors"].write("of the application\\n")
    start_response("200 OK", [])
    return [b"x"]
table = {{
    "handlers": {{"file": {{"class": "logging.FileHandler", "filename": "own.log"}}}},
    "loggers": {{name: {{"handlers": ["file"]}} for name in ("wsgi_async", "wsgi_async.access")}},
}}
serve(application, bind="unix:{tmp_path}/socket", log_config=table)
assert not logging.getLogger("wsgi_async").handlers
assert not logging.getLogger("wsgi_async.access").handlers
"""
    with Command(program=program, directory=tmp_path) as command:
        await_text(tmp_path / "own.log", "^Listening on ")
        with RawClient(f"{tmp_path}/socket") as client:
            assert client.get("/asked").status == 200
        command.signal(signal.SIGTERM)
        assert command.wait() == 0
        assert command.lines == []
    text = (tmp_path / "own.log").read_text()
    assert re.search(r"^\[\S+\] of the application$", text, re.MULTILINE)
    assert '"GET /asked HTTP/1.1" 200' in text
    assert text.endswith("Stopped\n")
