"""Where the logs of a server's processes go, and who may open their files."""

from __future__ import annotations

from wsgi_async.config.options import Config
from wsgi_async.logs import setup as logs
from wsgi_async.logs.access_format import AccessFormat
from wsgi_async.logs.observer import LogObserver
from wsgi_async.logs.syslog_handlers import SyslogSettings
from wsgi_async.system.syslog import syslog_address
from wsgi_async.system.user import Identity

__all__ = ["check_logs", "configure_logs", "give_logs", "log_observer"]


def check_logs(config: Config) -> None:
    """Whether what the options say of logs can be, for ``--check-config``: what is doubtful is
    said.

    :raises ConfigError: naming what is wrong.
    """
    AccessFormat(config.access_logformat)
    logs.check_log_config(config.log_config)
    _say_notices()


def log_observer(config: Config, *, announces: bool = True) -> LogObserver:
    """Who writes the logs of a server's process; see there. There is an access log where one was
    asked for, or --log-config has handlers for it."""
    has_access_log = bool(config.access_logfile) or logs.has_configured_access_log()
    return LogObserver(access=has_access_log, format=config.access_logformat, announces=announces)


def _say_notices() -> None:
    for notice in logs.log_config_notices():
        LogObserver().warning(notice)


def configure_logs(config: Config, identity: Identity | None = None, directory: str = "") -> None:
    """Have the logs go where the options say.

    :param identity: as whom other processes will open the files again.
    :param directory: where those processes run: paths in the file of --log-config begin there.
    :raises ConfigError: a file cannot be had, or there is no such format.
    """
    AccessFormat(config.access_logformat)
    logs.configure(
        error_logfile=config.error_logfile,
        access_logfile=config.access_logfile,
        log_level=config.log_level,
        log_format=config.log_format,
        log_config=config.log_config,
        directory=directory,
        syslog=_syslog(config),
    )
    _say_notices()
    if identity is not None:
        give_logs(identity)


def _syslog(config: Config) -> SyslogSettings | None:
    if not config.log_syslog_to:
        return None
    address = syslog_address(config.log_syslog_to)
    return SyslogSettings(address, config.log_syslog_prefix, config.log_syslog_facility)


def give_logs(identity: Identity) -> None:
    """Let processes that run as somebody else open the log files as well."""
    for descriptor in logs.descriptors():
        identity.own(descriptor)
