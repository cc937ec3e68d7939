"""One process of the server: its sockets, loop, threads and connections, from start to stop.

``server`` has the public :class:`~wsgi_async.server.server.Server`. Around it: who accepts which
connection (``acceptor``, with what the processes tell each other in ``connection_counts``), how a
server is told to end (``stopping``), what is asked before it accepts (``warm_up``), the table of
requests in flight, and work that a loop repeats.

Runs on: the loop thread.

May import: buffers, config, connection, errors, events, logs, system, threads, wsgi.
"""
