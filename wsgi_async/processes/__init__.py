"""Many processes for one server: who starts, watches, replaces and ends them.

``fleet`` decides, ``supervisor`` does what it decided, ``channel`` carries words between a
supervisor and its processes. None of them knows HTTP, and none runs an event loop or a thread.
"""

from .channel import Channel
from .fleet import Limits
from .supervisor import Boot, BootFailed, Program, Supervisor

__all__ = ["Boot", "BootFailed", "Channel", "Limits", "Program", "Supervisor"]
