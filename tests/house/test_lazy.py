"""The packages whose names are imported when they are first used."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import wsgi_async
import wsgi_async.middleware
import wsgi_async.testing

ROOT = Path(__file__).parents[2]
PACKAGES = [wsgi_async, wsgi_async.middleware, wsgi_async.testing]


def homes(package: ModuleType) -> dict[str, str]:
    """Name and module of what a type checker is told; a module that is a name itself has both."""
    tree = ast.parse(inspect.getsource(package))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    assert [ast.unparse(block.test) for block in blocks] == ["TYPE_CHECKING"]
    return {
        alias.name: node.module or alias.name
        for node in blocks[0].body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_each_public_name_is_what_a_type_checker_takes_it_for(package: ModuleType) -> None:
    expected = homes(package)
    assert sorted(expected) == [name for name in dir(package) if name != "__version__"]
    assert dir(package) == sorted(package.__all__)
    for name, home in expected.items():
        module = importlib.import_module(f"{package.__name__}.{home}")
        value = package.__getattr__(name)
        assert value is (module if home == name else getattr(module, name))
        assert vars(package)[name] is value


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
@pytest.mark.parametrize("name", ["nothing", "__path_to__", "_HOMES"])
def test_other_names_are_absent(package: ModuleType, name: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(package, name)
    assert str(caught.value) == f"module {package.__name__!r} has no attribute {name!r}"


def test_the_packages_alone_import_little() -> None:
    names = [package.__name__ for package in PACKAGES]
    program = (
        f"import sys, {', '.join(names)}\n"
        "print(*sorted(name for name in sys.modules if name.startswith('wsgi_async')))\n"
        "assert not {'asyncio', 'click', 'h11', 'logging', 'threading'} & sys.modules.keys()\n"
    )
    result = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split() == sorted(
        [*names, "wsgi_async._imports", "wsgi_async._lazy", "wsgi_async._version"]
    )


def test_the_command_that_asks_a_server_starts_without_what_is_for_a_migration() -> None:
    program = "import sys, wsgi_async.ctl.command\nprint(*sorted(sys.modules))\n"
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    names = [name for name in result.stdout.split() if name.startswith("wsgi_async.")]
    assert "wsgi_async.ctl.client" in names
    late = ("wsgi_async.ctl.migrate", "wsgi_async.foreign", "wsgi_async.config.options")
    assert [name for name in names if name.startswith(late)] == []
