"""One connection, from its first byte to its last.

``protocol`` is the glue between transport and the rest; ``exchange`` is one request with its
response, ``upload`` its body on the way in, ``sender`` and ``sendfile`` its response on the way
out. What all connections of a server have in common is in ``connections``; time is in
``deadlines``, ``request_timeouts``, ``departures`` and ``queue_watch``; ``probes`` are answered
here.

Runs on: the loop thread, but for the methods of an exchange that say *Pool thread*.

May import: buffers, config, errors, events, http, http1, system, threads, wsgi.
"""
