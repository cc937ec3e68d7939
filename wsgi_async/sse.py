"""Server-sent events: see :mod:`.realtime.sse`, of which this is the public name."""

from .realtime.sse import *  # noqa: F403
from .realtime.sse import __all__ as __all__
