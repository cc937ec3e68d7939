"""What Markdown pages mention: sections between markers, paths, options, identifiers."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

from tools import ROOT

__all__ = ["HELP", "cells", "names", "options", "pages", "paths", "section", "words"]

HELP = ROOT / "wsgi_async" / "help"
TOPS = ("wsgi_async", "tests", "examples", "benchmarks", ".ci")
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)#:]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_PATH = re.compile(r"[\w.*-]+(?:/[\w.*-]+)*/?")


def pages() -> list[Path]:
    """The pages whose prose has to be true."""
    return [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "examples" / "deploy" / "README.md",
        ROOT / "examples" / "live" / "README.md",
        *([ROOT / "wsgi_async" / "DESIGN.md"] if (ROOT / "wsgi_async/DESIGN.md").exists() else []),
        *sorted(HELP.glob("*.md")),
    ]


def section(text: str, name: str) -> str:
    """What stands between the markers of that name."""
    found = re.search(rf"<!-- {name}:begin -->\n(.*?)\n?<!-- {name}:end -->", text, re.DOTALL)
    assert found is not None, f"there is no section {name}"
    return found[1].strip()


def cells(table: str, column: int = 0) -> list[str]:
    """One column of a table, without its head."""
    return [row.strip("| ").split(" | ")[column].strip() for row in table.splitlines()[2:]]


def words(text: str) -> list[str]:
    """What stands in backticks, outside of blocks of code."""
    return _CODE.findall(_FENCE.sub("", text))


def paths(page: Path) -> list[str]:
    """Paths of this project that a page names: in backticks, if they begin with one of its
    directories, and links."""
    text = page.read_text(encoding="utf-8")
    named = [word for word in words(text) if word.split("/")[0] in TOPS and "/" in word]
    linked = [
        str((page.parent / link).resolve().relative_to(ROOT.resolve()))
        for link in _LINK.findall(_FENCE.sub("", text))
    ]
    return sorted({*named, *linked})


def options(text: str) -> list[str]:
    """Options of ours that a text names: alone, with a value or in a command."""
    ours = [word for word in words(text) if word.startswith(("--", "wsgi-async "))]
    return sorted({name for word in ours for name in re.findall(r"(?<!\S)--[a-z-]+", word)})


@functools.cache
def names() -> frozenset[str]:
    """Every identifier of the package and of its tests: modules, classes, functions, attributes."""
    found: set[str] = set()
    for top in ("wsgi_async", "tests", "benchmarks"):
        for path in (ROOT / top).rglob("*.py"):
            found.update(path.relative_to(ROOT).with_suffix("").parts)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                        found.add(name)
                    case ast.ClassDef(name=name) | ast.alias(name=name):
                        found.update(name.split("."))
                    case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                        found.add(name)
                    case ast.keyword(arg=str(name)):
                        found.add(name)
    return frozenset(found)
