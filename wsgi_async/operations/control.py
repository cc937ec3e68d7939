"""What is served on the control socket: how the server is, and what it is to do.

=================== ==============================================================================
``GET /status``     how it is (:mod:`.state`)
``GET /config``     its options, and where they come from
``GET /errors``     the last errors and refusals, the newest first (:mod:`.journal`)
``POST /reload``    as SIGHUP
``POST /drain``     as SIGTERM
``POST /scale``     to so many processes: ``{"processes": 4}``
``GET /requests``   the requests in flight, by process; ``?stacks=1``: what their threads are doing
``POST /interrupt`` break off a request, as ``--interrupt-late`` does: ``{"id": "..."}``
``POST /log-level`` log from a level on, until a reload: ``{"level": "debug"}``
``POST /profile``   where the application spends its time: ``{"seconds": 5, "hz": 100}``; answers
                    once they are over
=================== ==============================================================================

What is to be done is done by the parent, which is told and does not answer. So these answer at once
with ``accepted`` and how it was *before*, and whoever wants to know what came of it asks for
``/status`` until it is not so any more. A reload replaces the process that answers, too.

Who may ask is decided by what the kernel says of the process at the other end, beside the mode of
the socket file: that may be opened to others by mistake, or by who thinks that it decides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from wsgi_async.logs.text import escape
from wsgi_async.wsgi.environ import PEER_UID
from wsgi_async.wsgi.types import Environ

from .json_pages import Asked, JsonPages, Page, Refusal
from .profiles import LEAST_SECONDS, MOST_HZ, MOST_SECONDS, Profiles
from .questions import Questions

__all__ = ["ControlApplication", "Steering", "interrupt"]

SECONDS, HZ = 5.0, 100.0
"""How long a profile is, and how many samples a second it has, where nothing is said of it."""

LONGEST = 100
"""Characters of what was asked for that the log shows."""


class Steering:
    """What the parent may be told to do. *Pool threads.*

    :param state: how the server is.
    :param say: sends the parent a word, and what stands behind it; returns whether it could be
        sent.
    :param most: how many processes may be asked for.
    :param note: told in a line what was ordered or asked for, and by whom.
    """

    def __init__(
        self,
        state: Callable[[], Mapping[str, Any]],
        say: Callable[[str, str], bool],
        most: int,
        note: Callable[[str], object],
    ) -> None:
        self._state = state
        self._say = say
        self._most = most
        self._note = note

    def reload(self, who: str) -> dict[str, Any]:
        """As SIGHUP.

        :param who: has ordered it, for the log.
        :raises Refusal: the server stops, or the parent cannot be told.
        """
        return self._order("reload", "", who)

    def drain(self, who: str) -> dict[str, Any]:
        """As SIGTERM; see :meth:`reload`. It may be repeated."""
        return self._order("drain", "", who, may_stop=True)

    def scale(self, asked: Asked, who: str) -> dict[str, Any]:
        """To so many processes; see :meth:`reload`."""
        wanted = asked.number("processes", 1, self._most)
        if wanted != int(wanted):
            raise Refusal(400, f'send {{"processes": N}}, a whole number up to {self._most}')
        return self._order("scale", str(int(wanted)), who)

    def noted(self, page: Page, who: Callable[[Asked], str]) -> Page:
        """A page that asks processes instead of the parent, noted as an order is once it has done
        what was asked.

        :param who: has asked, for the log.
        """

        def do(asked: Asked) -> Mapping[str, Any]:
            answer = page(asked)
            what = asked.environ["PATH_INFO"].rpartition("/")[2]
            details = (
                f"{name} {escape(str(value))[:LONGEST]}" for name, value in asked.body.items()
            )
            self._note(f"{who(asked)}: {' '.join((what, *details))}")
            return answer

        return do

    def _order(self, word: str, detail: str, who: str, *, may_stop: bool = False) -> dict[str, Any]:
        before = self._state()["fleet"]
        if before["state"] == "stopping" and not may_stop:
            raise Refusal(409, f"the server stops: there is nothing to {word} any more")
        if not self._say(word, detail):
            raise Refusal(503, "this process is being replaced, and tells nobody: ask again")
        self._note(f"{who}: {word} {detail}".rstrip())
        return {"accepted": True, "before": before}


class ControlApplication(JsonPages):
    """See the module.

    :param state: how the server is.
    :param steering: what it may be told to do.
    :param config: the options as they are shown.
    :param questions: puts questions to the processes that serve.
    :param profiles: takes profiles of them.
    :param uids: who may ask.
    :param more: pages besides, by path and method.
    """

    def __init__(
        self,
        state: Callable[[], Mapping[str, Any]],
        steering: Steering,
        config: Callable[[], Mapping[str, Any]],
        questions: Questions,
        profiles: Profiles,
        uids: Collection[int],
        more: Mapping[str, Mapping[str, Page]] | None = None,
    ) -> None:
        self._uids = uids
        pages: dict[str, Mapping[str, Page]] = {
            "/status": {"GET": lambda asked: state()},
            "/config": {"GET": lambda asked: config()},
            "/reload": {"POST": lambda asked: steering.reload(_who(asked))},
            "/drain": {"POST": lambda asked: steering.drain(_who(asked))},
            "/scale": {"POST": lambda asked: steering.scale(asked, _who(asked))},
            "/requests": {"GET": lambda asked: questions.requests(stacks=asked.flag("stacks"))},
            "/interrupt": {"POST": steering.noted(partial(interrupt, questions), _who)},
            "/log-level": {"POST": steering.noted(partial(_set_log_level, questions), _who)},
            "/profile": {"POST": steering.noted(partial(_profile, profiles), _who)},
        }
        super().__init__({**pages, **(more or {})}, self._admit_peer)

    def _admit_peer(self, environ: Environ) -> None:
        if environ.get(PEER_UID) not in self._uids:
            raise Refusal(403, "only root and the user that has started the server may: sudo helps")


def interrupt(questions: Questions, asked: Asked) -> dict[str, Any]:
    """What the page of that name does, for who may see it."""
    return questions.interrupt(asked.text("id"))


def _set_log_level(questions: Questions, asked: Asked) -> dict[str, Any]:
    try:
        return questions.set_log_level(asked.text("level"))
    except ValueError as error:
        raise Refusal(400, f"the level {error}") from None


def _profile(profiles: Profiles, asked: Asked) -> dict[str, Any]:
    seconds = asked.number("seconds", LEAST_SECONDS, MOST_SECONDS, SECONDS)
    return profiles.take(seconds, asked.number("hz", 1, MOST_HZ, HZ))


def _who(asked: Asked) -> str:
    return f"Asked on --control-socket by uid {asked.environ[PEER_UID]}"
