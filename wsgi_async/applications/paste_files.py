"""The applications of PasteDeploy's files. Imported only where one is named: it needs PasteDeploy.

https://docs.pylonsproject.org/projects/pastedeploy/
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from typing import Any
from urllib.parse import quote

from paste.deploy import loadwsgi

from wsgi_async.config.ini_errors import CIRCLE, ini_problem
from wsgi_async.config.paste_spec import MAIN, PasteSpec
from wsgi_async.errors import LoadError

__all__ = ["load_paste_application"]


def load_paste_application(spec: PasteSpec, variables: Mapping[str, str]) -> Any:
    """Make the application that a section describes, as ``pserve`` does.

    :param spec: its file relative to the current directory.
    :param variables: what the file may refer to as ``%(NAME)s``, and factories find in their
        ``global_conf``.
    :returns: whatever its factory returns.
    :raises LoadError: what is said in the file cannot be had: one sentence of PasteDeploy's.
    :raises Exception: whatever the application's own code raises.
    """
    uri = f"config:{quote(os.path.abspath(spec.file))}"
    try:
        return loadwsgi.loadcontext(
            loadwsgi.APP, uri, name=spec.name or MAIN, global_conf=dict(variables)
        ).create()
    except PackageNotFoundError as error:
        raise LoadError(
            f"{spec.file}: no distribution {error.name!r} is installed, which a section of it "
            "needs: install it (pip install -e . if it is this project)"
        ) from None
    except Exception as error:
        raiser = _raiser(error)
        if raiser == "importlib.metadata" and str(error).startswith("'NoneType'"):
            raise LoadError(f"{spec.file}: a factory is written as MODULE:NAME") from None
        is_about_file = raiser == "importlib.metadata" or raiser.startswith("paste.deploy.")
        if is_about_file or isinstance(error, configparser.Error):
            raise LoadError(f"{spec.file}: {ini_problem(error)}") from None
        if isinstance(error, RecursionError) and _modules(error).count(loadwsgi.__name__) > 100:
            raise LoadError(f"{spec.file}: {CIRCLE}") from None
        raise


def _raiser(error: BaseException) -> str:
    """The module whose code has raised it."""
    return _modules(error)[-1]


def _modules(error: BaseException) -> list[str]:
    """Whose code has led to it, the outermost first."""
    names = []
    frame = error.__traceback__
    while frame is not None:
        names.append(str(frame.tb_frame.f_globals.get("__name__")))
        frame = frame.tb_next
    return names
