"""A standard library that gevent or eventlet has replaced is refused, wherever that was done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from wsgi_async import ConfigError, Server
from wsgi_async.system.greenlets import refuse_greenlets

CULPRITS = [
    ("gevent", "monkey", "is_module_patched", "threading", "gevent.monkey.patch_all()"),
    ("eventlet", "patcher", "is_monkey_patched", "thread", "eventlet.monkey_patch()"),
    ("eventlet", "patcher", "is_monkey_patched", "select", "eventlet.monkey_patch()"),
]


def stand_in(
    monkeypatch: pytest.MonkeyPatch, package: str, name: str, question: str, patched: str
) -> None:
    module = ModuleType(f"{package}.{name}")
    setattr(module, question, lambda part: part == patched)
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.parametrize(("package", "name", "question", "part", "culprit"), CULPRITS)
def test_the_culprit_is_named(
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    name: str,
    question: str,
    part: str,
    culprit: str,
) -> None:
    refuse_greenlets()
    stand_in(monkeypatch, package, name, question, "another part")
    refuse_greenlets()
    stand_in(monkeypatch, package, name, question, part)
    with pytest.raises(ConfigError, match="take that call out") as caught:
        refuse_greenlets()
    assert culprit in str(caught.value)


@pytest.mark.asyncio
async def test_a_server_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "gevent", "monkey", "is_module_patched", "threading")
    server = Server(lambda environ, start_response: [b""], port=0)
    with pytest.raises(ConfigError, match="gevent"):
        await server.start()
    monkeypatch.undo()
    async with server:
        assert server.port


PATCHED = """
import sys, types
module = types.ModuleType("gevent.monkey")
module.is_module_patched = lambda part: part == "threading"
sys.modules["gevent.monkey"] = module
"""
APPLICATION = """
def application(environ, start_response):
    start_response("200 OK", [])
    return [b""]
"""


@pytest.mark.parametrize("where", ["application", "settings"])
def test_the_command_line_says_so_in_one_line(tmp_path: Path, where: str) -> None:
    is_application = where == "application"
    (tmp_path / "site.wsgi").write_text((PATCHED if is_application else "") + APPLICATION)
    (tmp_path / "gunicorn.conf.py").write_text("" if is_application else PATCHED)
    command = [sys.executable, "-m", "wsgi_async", "-c", "gunicorn.conf.py", "-b", "127.0.0.1:0"]
    ended = subprocess.run(
        [*command, "site.wsgi"], cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == 1
    assert "gevent.monkey.patch_all() has replaced" in ended.stderr
    assert "Traceback" not in ended.stderr
