"""The thread line: where pool threads and the loop thread meet.

``pool`` has the threads, each in one of its ``places``, and the ``task_queues`` they take their
``tasks`` from; those that wait for a client have ``stand_ins``. What is nobody's task are
``errands``. ``mailbox`` wakes the loop.
Responses go by ``response_writer``, at once or by a ``response_pipe``. Of that,
``response_producer`` is the pool thread's side, the module itself the loop's, and
``response_account`` what both share; they stand where ``response_states`` allows, what waits on
disk is a ``backlog``, ``spool_turns`` say whose is written next beside others, and ``bounds`` what
all may hold. Bodies come by ``request_body``, which ``input_stream`` makes a file of. What goes
before a response are ``interim_heads``.

What both sides touch, all of it:

* Here: the pool's queues and places, under its lock; the mailbox; a response's writer, what goes
  before it, its pipe with the backlog, the writers that wait (``bounds``) and their turns; the
  permit that one thread waits with in another one's stead; a body that is read as it arrives, and
  while it is lent the connection's socket. Each says in itself how neither side meets the other.
* The exchange (``connection/exchange.py``, and ``connection/timing.py`` if it is timed): a thread
  has it from its submission to the end of a step, the loop has it before and after. Meanwhile the
  loop changes only its state, which the thread reads, and reads its context; its facts for the log
  are made under a lock, by whoever asks first. Where its body is asynchronous the application loop
  has it in between, and is what is called a pool thread here: it writes to the pipe, and parks. The
  hand-over is one store, and an urgent task gives it back to a thread. Its times are written by its
  thread and read by anybody, each as one value. A body that was collected is the thread's from then
  on, with its file.
* A read that waits for the disk (``connection/sender.py``): handed to an I/O thread, and back.
* What is to be told when a client goes (``wsgi/client_watch.py``), under its lock. The loop says
  that it has gone, its thread and others ask; who makes it is seen to below
  :meth:`.Exchange.watch`.
* The budgets, under their locks. Caches of heads, of names and of addresses, where a race loses
  nothing but an entry; and what was warned of already, by one call of a dict.
* The observer, whose methods say their thread, and the log behind it.
* What never changes once it is made, and needs no care: options, heads, a connection's variables
  and its client's address.

Guarantees:

* :class:`Mailbox` wakes the loop at most once for everything posted before it drains.
* :class:`ResponseWriter`: one producer (the pool thread that runs the exchange, never two at
  once) and one consumer (the loop). Bytes come out in the order they went in, and stay in the
  account until the *transport* has drained them. A response that is small and all there crosses
  as one immutable value; of any other a :class:`ResponsePipe` carries what follows the head, and
  costs one wake per drain, not one per chunk. (A chunk that is taken just as it is told of costs
  an empty one.)
* :class:`InterimHeads` go out before the head of their response, in their order, or not at all.
  16 KiB of them wait at most; what is more is left out, and holds no thread.
* :class:`RequestBody`: the same in the other direction, for ``request_buffering=stream``. While
  reading is paused, its reader may take bytes from the connection's socket itself; at any time the
  loop can have the socket back. :class:`InputStream` makes a file of it.
* No lock is held while the transport, the mailbox or the disk is called. (A body's own lock is,
  while its reader copies what a socket has. That does not wait for the client, but the loop may
  wait for it, and for the GIL that its thread needs afterwards.)
* Once the client is gone, every read and write raises ``ClientDisconnected``, and nothing that
  a late thread does reaches anybody.
* Whoever is the last to need a temporary file or a duplicated descriptor closes it, never
  earlier: a descriptor's number is reused at once. An evicted response is let go by the loop.

Runs on: both sides; each method says *Loop*, *Pool thread* or *Any thread*.

May import: buffers, errors, http, system.
"""

from .backlog import Extent
from .bounds import LARGE_FILE, BlockedWriters, Overflow, Patience, ResponseBounds
from .errands import Errand
from .input_stream import InputStream
from .interim_heads import InterimHeads
from .mailbox import Mailbox, Posted
from .request_body import RequestBody
from .response_account import Progress
from .response_pipe import ResponsePipe, Taken
from .response_states import Producer
from .response_writer import ExtendingWriter, ForkedWriter, ResponseWriter, Whole
from .spool_turns import SpoolTurns

__all__ = [
    "LARGE_FILE",
    "BlockedWriters",
    "Errand",
    "ExtendingWriter",
    "Extent",
    "ForkedWriter",
    "InputStream",
    "InterimHeads",
    "Mailbox",
    "Overflow",
    "Patience",
    "Posted",
    "Producer",
    "Progress",
    "RequestBody",
    "ResponseBounds",
    "ResponsePipe",
    "ResponseWriter",
    "SpoolTurns",
    "Taken",
    "Whole",
]
