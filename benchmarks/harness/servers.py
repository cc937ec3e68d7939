"""The servers of ``servers.toml``: their command lines, and whether they are there."""

from __future__ import annotations

import json
import shlex
import subprocess
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .model import Scenario

__all__ = ["OURS", "Interpreter", "Template", "UnknownServer", "is_ours", "probe", "select"]

OURS = "wsgi_async"
"""The server that all others are compared with."""

PACKAGES = ("wsgi_async", "uvloop", "h11", "httptools", "a2wsgi", "Flask", "Django")
"""Whose versions are recorded beside those of the servers."""


class UnknownServer(Exception):
    """A name that servers.toml does not have; the message says which it has."""


def is_ours(name: str) -> bool:
    """Whether it is wsgi_async in some form, and so no peer."""
    return name == OURS or name.startswith((f"{OURS}-", f"{OURS} "))


@dataclass(frozen=True)
class Interpreter:
    """The Python that runs the servers."""

    path: str
    scripts: str
    """Directory of its scripts."""
    prefix: str
    version: str
    """As ``CPython 3.11.7``."""
    packages: Mapping[str, str]
    """Version by distribution name, of what is installed."""
    problems: Mapping[str, str]
    """Why a server cannot run here, by template name."""

    def others(self) -> dict[str, str]:
        """The versions that are recorded beside those of the servers."""
        return {name: self.packages[name] for name in PACKAGES if name in self.packages}


@dataclass(frozen=True)
class Template:
    """One table of servers.toml."""

    name: str
    command: str
    package: str
    imports: str = ""
    program: str = ""
    default: bool = True
    one_thread: bool = False
    """It runs one request at a time, however many threads it is told to use."""
    tls: str = ""
    """Options with which it speaks TLS; empty if it does not."""
    no_tls: str = ""
    """Why it does not."""

    def suits(self, scenario: Scenario) -> bool:
        """Whether it can be measured there."""
        named = scenario.servers is None or self.name in scenario.servers
        return named and not (scenario.tls and self.no_tls)

    def options(self, scenario: Scenario) -> str:
        """Those that the scenario adds to its command; empty for none."""
        parts = [self.tls if scenario.tls else "", scenario.options.get(self.name, "")]
        return " ".join(part for part in parts if part)

    def fill(
        self, *, port: int, threads: int, app: str, options: str = "", python: Interpreter
    ) -> list[str]:
        """The command to start it with."""
        return self._fill(str(port), str(threads), app, options, python.path, python)

    def shown(self, threads: int) -> str:
        """The command as a report prints it: independent of where it ran."""
        nowhere = Interpreter("python", "bin", "venv", "", {}, {})
        return shlex.join(self._fill("PORT", str(threads), "APP", "", "python", nowhere))

    def _fill(
        self, port: str, threads: str, app: str, options: str, path: str, python: Interpreter
    ) -> list[str]:
        filled = []
        for word in shlex.split(self.command):
            if word == "{options}":
                filled += shlex.split(options)
                continue
            filled.append(
                word.format(
                    python=path,
                    bin=python.scripts,
                    prefix=python.prefix,
                    port=port,
                    threads=threads,
                    app=app,
                )
            )
        return filled


def load(path: Path | None = None) -> dict[str, Template]:
    """All templates, in the order of the file."""
    path = path or Path(__file__).with_name("servers.toml")
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: Template(name, **table) for name, table in tables.items()}


def select(
    names: Iterable[str] | None, options: str = "", also: Sequence[str] = ()
) -> dict[str, Template]:
    """The named templates; None for the default ones, ``all`` for all.

    :param options: further ones for the servers of this project, as a shell would read them.
    :param also: names of templates beside the default ones.
    :raises UnknownServer: there is no such template.
    """
    templates = load()
    for name, template in templates.items():
        if options and is_ours(name):
            words = shlex.join(shlex.split(options)).replace("{", "{{").replace("}", "}}")
            command = template.command.replace("{options}", f"{words} {{options}}")
            templates[name] = replace(template, command=command)
    if names is None:
        return {name: one for name, one in templates.items() if one.default or name in also}
    names = list(names)
    if "all" in names:
        return templates
    for name in names:
        if name not in templates:
            raise UnknownServer(f"no server {name!r}; there are {', '.join(templates)}, all")
    return {name: templates[name] for name in names}


PROBE = """
import importlib, importlib.metadata, json, os, platform, sys, sysconfig
asked, packages = json.loads(sys.argv[1])
scripts = sysconfig.get_path("scripts")
problems, versions = {}, {}
for name, imports, program in asked:
    try:
        for module in imports.split(","):
            if module.strip():
                importlib.import_module(module.strip())
    except Exception as error:
        problems[name] = f"{type(error).__name__}: {error}"
    if program and not os.path.exists(os.path.join(scripts, program)):
        problems[name] = f"{program} is not in the scripts of this Python"
for package in packages:
    try:
        versions[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        pass
if "wsgi_async" in sys.modules:
    versions["wsgi_async"] = sys.modules["wsgi_async"].__version__
version = f"{platform.python_implementation()} {platform.python_version()}"
print(json.dumps([scripts, sys.prefix, version, versions, problems]))
"""


def probe(python: str, templates: Iterable[Template], directory: Path) -> Interpreter:
    """Ask the servers' Python what it has. Started in `directory`, as the servers will be.

    :raises subprocess.CalledProcessError: it does not run.
    """
    templates = list(templates)
    asked = [(template.name, template.imports, template.program) for template in templates]
    packages = sorted({template.package for template in templates} | set(PACKAGES))
    command = [python, "-W", "ignore", "-c", PROBE, json.dumps([asked, packages])]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=directory)
    scripts, prefix, version, versions, problems = json.loads(answer.stdout.splitlines()[-1])
    return Interpreter(python, scripts, prefix, version, versions, problems)
