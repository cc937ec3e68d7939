"""Whether the files of TLS have changed, and what becomes of it.

New files get fresh contexts, which are proved before anybody is given them. Where they are wrong,
half-written perhaps, the former ones stay, and one line says so for each change. There is no
moment without a good set, so no handshake is lost.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable

from wsgi_async.errors import ConfigError
from wsgi_async.events import CertificateInfo

from .contexts import Contexts, make_contexts
from .material import Material, read_material
from .settings import TLSSettings

__all__ = ["LOOK_EVERY", "Renewal"]

LOOK_EVERY = 10.0
"""Seconds between two looks at the files."""

DAY = 86400.0

WARN_BEFORE = 14 * DAY
"""Seconds before the end of a certificate from which on there is a warning a day; a third of the
whole time where that is less, for some are made for six days."""

SETTLED_AFTER = 2.0
"""Seconds after which a file that was changed looks changed: within a tick of the clock of the
file system it can be written twice."""

_Signature = tuple[tuple[int, ...] | None, ...]


class Renewal:
    """The newest good set, and looks at the files. Used by one thread at a time; it may block.

    :param settings: names the files.
    :param warn: takes a line for the operator, in the thread that looks.
    :param clock: seconds since 1970.
    :raises ConfigError: the files are wrong now.
    """

    def __init__(
        self,
        settings: TLSSettings,
        warn: Callable[[str], object],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self._warn = warn
        self._clock = clock
        self._signature: _Signature = ()
        self._is_settled = False
        self._note_signature()
        self.material: Material = read_material(settings)
        self.contexts: Contexts = make_contexts(settings, self.material)
        self._refused: tuple[Material | None, str] | None = None
        self._noticed: tuple[str, ...] = ()
        self._warned_at: dict[CertificateInfo, float] = {}

    def look(self, *, asked: bool = False) -> bool:
        """Look at the files, and say what is wrong with them, and who is about to expire.

        :param asked: whether to read them also where nothing seems to have changed.
        :returns: whether there are new :attr:`contexts`.
        """
        is_new = False
        try:
            is_new = self.take(asked=asked)
        except ConfigError as error:
            self._warn(f"Certificates are not renewed, the former ones stay: {error}")
        self._say_notices()
        self._warn_of_expiry()
        return is_new

    def take(self, *, asked: bool = False) -> bool:
        """As :meth:`look`, without a word.

        :raises ConfigError: the new files are wrong: once for each change, or whenever it is asked.
        """
        is_changed = self._note_signature()
        if not (asked or is_changed or self._refused is not None):
            return False
        # What was refused is tried again: its time may have come, or there is memory for it now.
        material = None
        try:
            material = read_material(self.settings)
            if material == self.material:
                self._refused = None
                return False
            contexts = make_contexts(self.settings, material)
            self._judge(contexts)
        except ConfigError as error:
            refused = material, str(error)
            is_known, self._refused = self._refused == refused, refused
            if is_known and not asked:
                return False
            raise
        self._refused = None
        self._say_what_is_lost(contexts)
        self.material, self.contexts = material, contexts
        return True

    def _judge(self, contexts: Contexts) -> None:
        """Refuse a new certificate that clients would refuse now. One that is no worse than before
        is no reason to refuse the others."""
        now = self._clock()
        for certificate in contexts.certificates:
            if certificate in self.contexts.certificates:
                continue
            where = f"--certfile {certificate.file}: the certificate there"
            if certificate.not_after <= now:
                raise ConfigError(f"{where} has expired on {certificate.ends}")
            if certificate.not_before > now:
                raise ConfigError(f"{where} is not valid before {certificate.begins}")

    def _say_what_is_lost(self, contexts: Contexts) -> None:
        names = {name for each in contexts.certificates for name in each.names}
        before = [name for each in self.contexts.certificates for name in each.names]
        lost = [name for name in dict.fromkeys(before) if name not in names]
        if lost:
            self._warn(f"No certificate is for {', '.join(lost)} any more")

    def _say_notices(self) -> None:
        for notice in self.contexts.notices:
            if notice not in self._noticed:
                self._warn(notice)
        self._noticed = self.contexts.notices

    def _warn_of_expiry(self) -> None:
        now = self._clock()
        certificates = self.contexts.certificates
        warned_at = {each: self._warned_at.get(each, -math.inf) for each in certificates}
        for certificate, said in warned_at.items():
            trouble = _trouble(certificate, now)
            if trouble and now - said >= DAY:
                warned_at[certificate] = now
                names = ", ".join(certificate.names) or certificate.subject
                self._warn(f"--certfile {certificate.file}: the certificate of {names} {trouble}")
        self._warned_at = warned_at

    def _note_signature(self) -> bool:
        """Whether the files may have changed since the last time."""
        named: list[str | None] = [self.settings.password_file, self.settings.ca_certs]
        for pair in self.settings.pairs:
            named += (pair.certfile, pair.keyfile)
        signature = tuple(_stat(path) for path in named if path is not None)
        is_changed = signature != self._signature or not self._is_settled
        newest = max((max(each[-2:]) for each in signature if each is not None), default=0)
        self._is_settled = self._clock() - newest / 1e9 > SETTLED_AFTER
        self._signature = signature
        return is_changed


def _stat(path: str) -> tuple[int, ...] | None:
    """What tells one version of a file from another: of the file that links lead to, as certbot's
    do, and a secret of Kubernetes'."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _trouble(certificate: CertificateInfo, now: float) -> str:
    """What is wrong with its time, or will be soon; nothing in most cases."""
    left = certificate.not_after - now
    if left <= 0:
        return f"has expired on {certificate.ends}: clients refuse it"
    if certificate.not_before > now:
        return f"is not valid before {certificate.begins}: clients refuse it until then"
    if left < min(WARN_BEFORE, (certificate.not_after - certificate.not_before) / 3):
        days = int(left // DAY)
        within = f"{days} day{'s' * (days != 1)}" if days else "less than a day"
        return f"expires in {within}, on {certificate.ends}: renew it"
    return ""
