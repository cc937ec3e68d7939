"""Many processes for one server: who starts, watches, replaces and ends them.

``fleet`` decides, ``actions`` are what it decided, and ``supervisor`` does them; a ``process`` is
what both know of one that serves; ``states`` says where a fleet stands, ``pauses`` how long it
waits before it tries again. ``attendants`` are the processes beside those that serve, ``orders``
what one of them may tell the parent for who asks it. ``channel`` carries words between a process
and its supervisor, ``jobs`` is what it begins with, ``interfaces`` what a supervisor is given: a
program to serve, and a parent to do it in. ``forking`` is the only place that forks, ``loader`` has
the application for ``--preload``, ``signals`` says what each signal means. None of them knows HTTP,
and none runs an event loop or a thread.

Runs on: the main thread of the parent, and of each new process until it serves.

May import: errors, events, system.
"""

from .channel import Channel
from .fleet import TimeLimits
from .forking import end_with_parent
from .interfaces import Boot, BootFailed, Parent, Program
from .orders import MOST_PROCESSES, Order
from .signals import SIGNALS
from .states import Census, FleetState, Restart
from .supervisor import Supervisor

__all__ = [
    "MOST_PROCESSES",
    "SIGNALS",
    "Boot",
    "BootFailed",
    "Census",
    "Channel",
    "FleetState",
    "Order",
    "Parent",
    "Program",
    "Restart",
    "Supervisor",
    "TimeLimits",
    "end_with_parent",
]
