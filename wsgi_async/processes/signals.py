"""What each signal to the supervisor means; the guide's table is made of this."""

from __future__ import annotations

import signal

__all__ = ["SIGNALS"]

SIGNALS: dict[signal.Signals, str] = {
    signal.SIGTERM: "Drain: go on for `--drain-delay` with `--ready-path` answering 503, then stop "
    "accepting, finish what is in flight within `--graceful-timeout`, and end with code 0.",
    signal.SIGINT: "The same (Ctrl-C). The second one ends at once.",
    signal.SIGQUIT: "End at once.",
    signal.SIGHUP: "Reload: read the configuration and the certificates again, and replace the "
    "processes one by one by ones that load the application anew. Each must be ready, its "
    "`--warmup` answered, before an old one goes. Where the new code does not start, the old "
    "processes go on.",
    signal.SIGUSR1: "Reopen the log files, and log each request in flight with the stack of its "
    "thread; the latter at most once in 10 seconds, as what rotates logs may send it twice.",
    signal.SIGUSR2: "Nothing; it is logged.",
    signal.SIGTTIN: "One process more.",
    signal.SIGTTOU: "One process less.",
}
