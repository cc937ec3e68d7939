"""The options as an operator is shown them."""

from __future__ import annotations

import json
from pathlib import Path

from wsgi_async.config.options import Config
from wsgi_async.config.shown import shown, shown_call
from wsgi_async.config.sources import gather


def test_values_have_their_origins_and_secrets_are_masked(tmp_path: Path) -> None:
    settings = gather(
        {"threads": "3", "env": ["TOKEN=s3cret"], "keyfile_password": "s3cret"}
        | {"certfile": ["c.pem"], "keyfile": ["k.pem"]},
        parse=lambda words: {},
        environ={"WSGI_ASYNC_KEEP_ALIVE": "2m", "WEB_CONCURRENCY": "2"},
        directory=tmp_path,
    )
    text = json.dumps(shown(settings))
    assert "s3cret" not in text
    options = json.loads(text)["options"]
    assert options["threads"] == {"value": 3, "origin": "command line"}
    assert options["keep_alive"] == {"value": "120s", "origin": "$WSGI_ASYNC_KEEP_ALIVE"}
    assert options["workers"] == {"value": 2, "origin": "$WEB_CONCURRENCY"}
    assert options["bind"] == {"value": ["localhost:8000"], "origin": "default"}
    assert options["env"]["value"] == ["TOKEN=..."]
    password = {"value": None, "origin": "command line", "hidden": True}
    assert options["keyfile_password"] == password


def test_those_of_a_call_are_from_there() -> None:
    options = shown_call(Config(workers=2, socket_mode=0o600))["options"]
    assert options["workers"] == {"value": 2, "origin": "call"}
    assert options["socket_mode"] == {"value": "0o600", "origin": "call"}
    assert options["threads"]["origin"] == "default"
