"""TLS: certificates, and the contexts made of them. The only room that knows ``ssl``.

``settings`` is what the options come to, ``material`` the bytes of the files that they name, and
``contexts`` what both come to: contexts for new connections, each of their ``certificates`` proved
by a handshake in memory. ``current`` holds those in force, ``renewal`` looks whether the files have
changed, and where the parent does that, the processes take them from its ``shelf``; both sides of
that are in ``inherited``. A context that a program has made itself is ``given``. ``hello`` reads
which name a client asks for, and ``names`` says whose it is. ``transport`` is our own layer between
a plain transport and a protocol, with its way out in ``output``: it knows a context, and nothing of
HTTP. ``facts`` is what a handshake has told, ``failures`` why one has failed.

Runs on: the parent's only thread; in a process that serves, the loop or a thread of its own. What
is in ``settings`` is a value that any thread may have.

May import: config, errors, events, system.
"""
