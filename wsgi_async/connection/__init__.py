"""One connection, from its first byte to its last.

``protocol`` is the glue between transport and the rest; ``life`` is where a connection stands and
how it ends, by the table in ``states``. ``input`` is what it reads, ``upload`` a body on its way
in, ``sender`` and ``sendfile`` the response on its way out. ``probes`` are answered here, and plain
HTTP is sent to https by ``redirects`` where that is asked for. What is known of a connection before
its first request, from a proxy or a handshake, is its ``introduction``; ``proxy_fields`` is all
that is known here of what a proxy says in each request. What is different where a web server in
front speaks another protocol is in ``gateway_protocol``, and ``front_errors`` is what that is told
for its log.

``exchange`` is one request with its response, and who may have it is in ``exchange_states``. It is
``observed``, which is what is told of it and by which id, and its client is ``followed``, for those
that want to know when that goes; ``gateway`` is what it knows of all around it. ``kinds`` chooses
one that can do what is asked for: that is timed (``timing``), tells what was said in it
(``telling``), or has its response say who it was, or where its time went (``own_fields``).

What all connections of a server share, and know a connection by as an ``open_connection``: the set
and its cap (``connections``), what they wait for and how long (``waits``, ``paces``,
``deadlines``), applications that are late (``request_timeouts``) or slow (``slow_requests``),
clients that leave unread (``departures``), requests that wait beside an idle thread
(``queue_watch``), and small facts that are made once (``completions``, ``dates``,
``server_variables``, ``vitals``).

Runs on: the loop thread, but for the methods of an exchange that say *Pool thread*.

May import: buffers, config, errors, events, gateways, http, http1, system, threads, wsgi.
"""
