"""The application loop, and what runs on it: coroutines of the application, asynchronous bodies.

There is one such loop in a process, however many servers are in it, in a thread of its own; never
is it the one that owns the sockets. It starts when it is first asked for, and nobody who does
without imports anything of this package.

The loop: ``loop_thread`` is a loop with its thread, and what is started on it, ``loop_states`` its
life, and ``blocking`` what keeps it from that; ``application_loop`` is the one of this process, and
``ending`` its end. What threads do with it: they wait for a coroutine
(``running``), or leave it to itself (``spawning``), which ``coroutines`` are looked at for first;
and ``hooks`` live on it as long as the server serves. What those call synchronously goes by
``executors`` to ``sync_threads``, and what Django keeps beside is known to ``frameworks``.

Asynchronous bodies: ``live`` makes one of an iterable, and ``bridge`` is for who can iterate only
synchronously. ``bodies`` are all of a server, each a ``body`` with its ``body_states``;
``awaiting`` tells where it stands, and ``event_stream`` what the server may add to one. Server-sent
events are framed in ``framing``, and ``sse`` sends them with comments in their silence, by
``stepping``.

Runs on: the application loop; each method says *Application loop*, *Pool thread*, *Loop* or *Any
thread*.

May import: errors, events, system, threads, wsgi.
"""
