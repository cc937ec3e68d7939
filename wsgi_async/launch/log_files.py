"""Where the logs of a server's processes go, and who may open their files."""

from __future__ import annotations

from wsgi_async.config.options import Config
from wsgi_async.logs import setup as logs
from wsgi_async.logs.access_format import AccessFormat
from wsgi_async.logs.observer import LogObserver
from wsgi_async.system.user import Identity

__all__ = ["check_logs", "configure_logs", "give_logs", "log_observer"]


def check_logs(config: Config) -> None:
    """Whether what the options say of logs can be.

    :raises ConfigError: naming what is wrong.
    """
    AccessFormat(config.access_logformat)


def log_observer(config: Config, *, announces: bool = True) -> LogObserver:
    """Who writes the logs of a server's process; see there."""
    return LogObserver(
        access=bool(config.access_logfile), format=config.access_logformat, announces=announces
    )


def configure_logs(config: Config, identity: Identity | None = None) -> None:
    """Have the logs go where the options say.

    :param identity: as whom other processes will open the files again.
    :raises ConfigError: a file cannot be had, or there is no such format.
    """
    check_logs(config)
    logs.configure(
        error_logfile=config.error_logfile,
        access_logfile=config.access_logfile,
        log_level=config.log_level,
    )
    if identity is not None:
        give_logs(identity)


def give_logs(identity: Identity) -> None:
    """Let processes that run as somebody else open the log files as well."""
    for descriptor in logs.descriptors():
        identity.own(descriptor)
