"""One connection, from its first byte to its last.

``protocol`` is the glue between transport and the rest; ``life`` is where a connection stands and
how it ends, by the table in ``states``. ``input`` is what it reads, ``upload`` a body on its way
in, ``exchange`` one request with its response (``timing``: one that is timed for who asks;
``telling``: one that tells what was said in it; ``own_fields``: one whose response says who it was,
or where its time went; ``kinds`` chooses), ``sender`` and ``sendfile`` the response on its way out.
``probes`` are answered here, and plain HTTP is sent to https by ``redirects`` where that is asked
for. What is known of a connection before its first request, from a proxy or a handshake, is its
``introduction``; ``proxy_fields`` is all that is known here of what a proxy says in each request.

What all connections of a server share, and know a connection by as an ``open_connection``: the set
and its cap (``connections``), what they wait for and how long (``waits``, ``paces``,
``deadlines``), applications that are late (``request_timeouts``) or slow (``slow_requests``),
clients that leave unread (``departures``), requests that wait beside an idle thread
(``queue_watch``), and small facts that are made once (``completions``, ``dates``,
``server_variables``, ``vitals``).

Runs on: the loop thread, but for the methods of an exchange that say *Pool thread*.

May import: buffers, config, errors, events, http, http1, system, threads, wsgi.
"""
