"""Two scripts whose own modules have the same names: neither may get the other's."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wsgi_async.applications.loading import load_application
from wsgi_async.errors import LoadError

SCRIPT = "from site_code import application\n"


def code(name: str) -> str:
    return f"def application(environ, start_response): ...\napplication.site = {name!r}\n"


@pytest.fixture
def sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """Two directories, each with a module ``site_code``; what is imported is forgotten."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    both = (tmp_path / "a", tmp_path / "b")
    for directory in both:
        directory.mkdir()
        (directory / "site_code.py").write_text(code(directory.name))
    yield both
    for name in set(sys.modules) - before:
        del sys.modules[name]


def site_of(script: Path) -> object:
    return load_application(str(script)).site  # type: ignore[attr-defined]


def test_scripts_of_the_same_name_are_two_applications(sites: tuple[Path, Path]) -> None:
    for directory in sites:
        (directory / "app.wsgi").write_text(code(directory.name))
    assert [site_of(directory / "app.wsgi") for directory in sites] == ["a", "b"]


@pytest.mark.parametrize("name", ["app.wsgi", "wsgi_file.py"])
def test_a_module_beside_each_is_one_module_and_said(
    sites: tuple[Path, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--pythonpath /srv/a,/srv/b``: the second would serve the first one's site."""
    first, second = sites
    sys.path[:0] = [str(directory) for directory in sites]
    for directory in sites:
        (directory / name).write_text(SCRIPT)
    assert site_of(first / name) == "a"
    with pytest.raises(LoadError) as caught:
        site_of(second / name)
    text = str(caught.value)
    assert text.startswith(
        f"'{second / name}' means {second / 'site_code.py'} by 'site_code', and would get "
        f"{first / 'site_code.py'}, which '{first / name}' has brought: "
    )
    assert "\n" not in text


def test_so_is_one_on_a_path_that_the_script_adds(sites: tuple[Path, Path], tmp_path: Path) -> None:
    """What mod_wsgi's own guide shows: ``sys.path.insert(0, '/srv/b')``."""
    scripts = []
    for directory in sites:
        script = tmp_path / f"{directory.name}.wsgi"
        script.write_text(f"import sys\nsys.path.insert(0, {str(directory)!r})\n{SCRIPT}")
        scripts.append(script)
    assert site_of(scripts[0]) == "a"
    with pytest.raises(LoadError, match=r"b\.wsgi' means .*/b/site_code\.py by 'site_code'"):
        site_of(scripts[1])


def test_so_is_a_package_around_each(sites: tuple[Path, Path]) -> None:
    """Two Django projects of one name: DJANGO_SETTINGS_MODULE would be the first one's."""
    for directory in sites:
        sys.path.append(str(directory))
        package = directory / "same_project"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "wsgi.py").write_text(code(directory.name))
    assert site_of(sites[0] / "same_project" / "wsgi.py") == "a"
    with pytest.raises(LoadError, match="by 'same_project', and would get"):
        site_of(sites[1] / "same_project" / "wsgi.py")


def test_an_application_that_was_named_as_a_module_counts_too(sites: tuple[Path, Path]) -> None:
    first, second = sites
    sys.path.insert(0, str(first))
    assert load_application("site_code").site == "a"  # type: ignore[attr-defined]
    (second / "app.wsgi").write_text(SCRIPT)
    with pytest.raises(LoadError, match="which 'site_code' has brought"):
        site_of(second / "app.wsgi")


def test_what_they_share_is_shared(sites: tuple[Path, Path], tmp_path: Path) -> None:
    """The same file by two names, a library, and a name of the standard library beside a script."""
    first, second = sites
    (second / "site_code.py").unlink()
    os.symlink(first / "site_code.py", second / "site_code.py")
    (second / "json.py").write_text("raise AssertionError\n")
    sys.path.insert(0, str(first))
    for directory in sites:
        (directory / "app.wsgi").write_text(f"import json\n{SCRIPT}")
    assert [site_of(directory / "app.wsgi") for directory in sites] == ["a", "a"]
    # Loaded again it is what it was.
    assert site_of(second / "app.wsgi") == "a"


def test_a_script_with_a_mistake_is_blamed_for_that(sites: tuple[Path, Path]) -> None:
    (sites[0] / "app.wsgi").write_text(code("a"))
    (sites[1] / "app.wsgi").write_text("def application(:\n")
    site_of(sites[0] / "app.wsgi")
    with pytest.raises(LoadError, match="raised SyntaxError"):
        site_of(sites[1] / "app.wsgi")
