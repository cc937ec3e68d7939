"""The application loop, and what runs on it: coroutines of the application, asynchronous bodies.

There is one such loop in a process, however many servers are in it, in a thread of its own; never
is it the one that owns the sockets. It starts when it is first asked for, and nobody who does
without imports anything of this package.

Runs on: the application loop; each method says *Application loop*, *Pool thread*, *Loop* or *Any
thread*.

May import: errors, events, system, threads, wsgi.
"""
