"""PasteDeploy's entry points: what ``pserve`` and its like call for a section such as ::

    [server:main]
    use = egg:wsgi_async#main
    listen = localhost:6543

The settings may have our names, gunicorn's or waitress's; see ``--guide applications``. Of the
command line's own options those about what an application finds around it, and about who serves
it, are followed; it has been loaded by then.

``wsgi-async -c FILE.ini`` reads such a file by itself, and loads the application in each process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from .config.sources import Settings, gather
from .foreign.paste_options import convert
from .launch.serving import serve_settings
from .wsgi.types import Application

__all__ = ["server_factory", "server_runner"]

_USE = "egg:wsgi_async"
_PSERVES = {
    "preload": "the application is loaded before this server is asked",
    "reload": "pserve --reload does that",
}
"""Options that whoever calls these functions has to follow, and why they are of no use here."""


def server_factory(
    global_conf: Mapping[str, str] | None = None, **settings: Any
) -> Callable[[Application], None]:
    """The entry point ``paste.server_factory``: what serves an application, by these settings.

    :param global_conf: of PasteDeploy's; the name of the file is taken from it.
    :param settings: those of the section, without `use`.
    :returns: a function that serves the application it is given until SIGINT or SIGTERM. *Main
        thread.* Without a setting that needs a supervisor the process is the only one.
    :raises ConfigError: a setting is wrong. That function raises it where an address cannot be had.
    """
    found = _gather(global_conf or {}, settings)

    def serve(application: Application) -> None:
        serve_settings(application, found, os.environ)

    return serve


def server_runner(
    application: Application, global_conf: Mapping[str, str] | None = None, **settings: Any
) -> None:
    """The entry point ``paste.server_runner``: serve the application until SIGINT or SIGTERM. *Main
    thread.*

    :param application: the WSGI application; for the rest see :func:`server_factory`.
    :raises ConfigError: a setting is wrong, or an address cannot be had.
    :raises LoadError: the application did not answer its warm-up.
    """
    server_factory(global_conf, **settings)(application)


def _gather(global_conf: Mapping[str, str], settings: Mapping[str, Any]) -> Settings:
    name = os.path.basename(global_conf.get("__file__") or "") or "[server:main]"
    file = convert(settings, _USE, name, os.environ)
    options = {**file.options}
    of_no_use = [
        f"{name}: {option}: {why}, and it is ignored here"
        for option, why in _PSERVES.items()
        if options.pop(option, False)
    ]
    file = file._replace(options=options, notices=(*file.notices, *of_no_use))
    # Nothing else is read: no file of ours, and no variable.
    return gather(
        {"config": name}, parse=lambda words: {}, environ={}, read_foreign=lambda *_: file
    )
