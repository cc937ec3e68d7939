"""``touch app.wsgi``, by which mod_wsgi reloads: the log says what does so here."""

from __future__ import annotations

import signal
from pathlib import Path

from tools import python, running

HASTY = """
from wsgi_async.launch import program
program.LOOK_EVERY = 0.02
from wsgi_async.cli import main
main()
"""

SCRIPT = """
def application(environ, start_response):
    start_response("200 OK", [])
    return [b""]
"""


def test_a_touched_script_is_no_reload_and_the_log_says_what_is(tmp_path: Path) -> None:
    script = tmp_path / "app.wsgi"
    script.write_text(SCRIPT)
    command = python("-c", HASTY, "--bind=127.0.0.1:0", str(script))
    with running(*command, cwd=tmp_path) as process:
        process.wait_for("Listening on")
        script.touch()
        line = (
            f"{script} has changed: kill -HUP {process.pid} loads it anew, without a lost request"
        )
        process.wait_for(line)
        process.signal(signal.SIGHUP)
        process.wait_for("Reloaded")
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert process.output.count("has changed") == 1
