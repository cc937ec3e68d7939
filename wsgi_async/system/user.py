"""Who a serving process is: ``--user`` and ``--group``, names or numbers, and ``--umask``; whose
socket files are.

The parent stays who it is, so that it can bind port 80 again, write its pid file and signal its
children; each child becomes the other one before it loads the application.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
from dataclasses import dataclass

from wsgi_async.errors import ConfigError

__all__ = ["Identity", "Owner", "owner_of", "parse_umask", "resolve"]

# Below 2^32 - 1, which setuid(2) takes for "leave it"; chown(2) as well.
_ID = re.compile(r"[0-9]{1,9}|[1-3][0-9]{9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Identity:
    """A user and a group to become, both known by number."""

    uid: int
    gid: int
    name: str = ""
    """The user's, or nothing where the number has no entry among the system's users."""
    home: str = ""

    @property
    def variables(self) -> dict[str, str]:
        """What becomes of HOME, USER and LOGNAME, as systemd's ``User=`` sets them.

        With another's HOME, programs look for their files where they may not read.
        """
        if not self.name or self.uid == os.geteuid():
            return {}
        return {"HOME": self.home or "/", "USER": self.name, "LOGNAME": self.name}

    def assume(self) -> None:
        """Become it, with its supplementary groups and no other's, for good. In a child.

        The order matters: a process that is no longer root may not change its groups. Nothing is
        done in a process that is it already and may therefore not even ask.

        :raises ConfigError: where the system refuses, as in a container without CAP_SETUID.
        """
        if os.geteuid() != 0 and (os.getuid(), os.getgid()) == (self.uid, self.gid):
            return
        try:
            if self.name:
                os.initgroups(self.name, self.gid)
            else:
                os.setgroups([self.gid])
            os.setgid(self.gid)
            os.setuid(self.uid)
        except OSError as error:
            raise ConfigError(
                f"--user, --group: cannot become {self}: {error.strerror}; "
                "it takes the capabilities SETUID and SETGID"
            ) from None

    def own(self, file: str | int) -> None:
        """Give it a file: a unix socket's path, so that it can be removed, or an open log file.

        Only sockets and regular files change hands: ``--error-logfile /dev/stderr`` or
        ``/dev/null`` must not take a terminal or a device from everybody. A symbolic link is left
        alone: where others may write in the directory, it could point at anything.

        :raises ConfigError: where the system refuses.
        """
        try:
            mode = (os.fstat(file) if isinstance(file, int) else os.lstat(file)).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISSOCK(mode):
                return
            if isinstance(file, int):
                if stat.S_ISREG(mode):  # a connected socket is nobody's
                    os.fchown(file, self.uid, self.gid)
            else:
                os.chown(file, self.uid, self.gid, follow_symlinks=False)
        except OSError as error:
            what = f"descriptor {file}" if isinstance(file, int) else repr(file)
            raise ConfigError(
                f"--user, --group: cannot give {what} to {self}: {error.strerror}"
            ) from None

    def __str__(self) -> str:
        return f"{self.name or self.uid}:{_group_name(self.gid)}"


LEFT = -1
"""What chown(2) takes for "leave it"."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a socket file is, both by number."""

    uid: int
    gid: int
    text: str

    def take(self, path: str) -> None:
        """Give it a socket file that this process has made.

        :raises ConfigError: where the system refuses.
        """
        try:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)
        except OSError as error:
            raise ConfigError(
                f"--socket-owner: cannot give {path!r} to {self.text}: {error.strerror}; only root "
                "can give it to another user, or to a group that it is not in itself"
            ) from None


def resolve(user: str, group: str) -> Identity | None:
    """Who `user` and `group` are; nothing at all is nobody else, None.

    :param user: a name or a number; ``""`` is who this process is.
    :param group: likewise; ``""`` is the user's own.
    :raises ConfigError: there is no such user or group, or this process may not become it.
    """
    if not user and not group:
        return None
    entry = _user(user) if user else _entry(os.geteuid())
    uid = entry.pw_uid if entry else int(user) if user else os.geteuid()
    if group:
        gid = _group(group)
    elif uid == os.geteuid():
        gid = os.getegid()
    elif entry is not None:
        gid = entry.pw_gid
    else:
        raise ConfigError(f"--user {user} is no user that the system knows: give --group as well")
    name, home = (entry.pw_name, entry.pw_dir) if entry else ("", "")
    identity = Identity(uid, gid, name, home)
    if os.geteuid() != 0 and (os.geteuid(), os.getegid()) != (uid, gid):
        raise ConfigError(
            f"--user, --group: only root may become {identity}; start it as root, "
            "or as that user without these options"
        )
    return identity


def owner_of(text: str) -> Owner | None:
    """Whose the socket files are to be, by ``--socket-owner``; None for ``""``.

    :param text: ``USER``, ``USER:GROUP`` or ``:GROUP``, names or numbers.
    :raises ConfigError: there is no such user or group.
    """
    if not text:
        return None
    flag = "--socket-owner"
    user, _, group = text.partition(":")
    uid = LEFT
    if user:
        entry = _user(user, flag)
        uid = entry.pw_uid if entry else int(user)
    return Owner(uid, _group(group, flag) if group else LEFT, text)


def parse_umask(text: str) -> int | None:
    """The mask of ``--umask``, octal digits that the option has checked; None for ``""``."""
    return int(text, 8) if text else None


def _user(text: str, flag: str = "--user") -> pwd.struct_passwd | None:
    """The user's entry; None for a number without one."""
    if _ID.fullmatch(text):
        return _entry(int(text))
    try:
        return pwd.getpwnam(text)
    except (KeyError, ValueError):
        raise ConfigError(f"{flag}: there is no user {text!r}") from None


def _entry(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None


def _group(text: str, flag: str = "--group") -> int:
    if _ID.fullmatch(text):
        return int(text)
    try:
        return grp.getgrnam(text).gr_gid
    except (KeyError, ValueError):
        raise ConfigError(f"{flag}: there is no group {text!r}") from None


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
