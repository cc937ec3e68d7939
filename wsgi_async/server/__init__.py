"""One process of the server: its sockets, loop, threads and connections, from start to stop.

``server`` has the public :class:`~wsgi_async.server.server.Server`; ``running_server`` is what it
makes at each start. Around it: who accepts which connection (``acceptor``, with what the processes
tell each other in ``connection_counts``), what comes on it before a request (``beginning``): a
proxy's header (``preface``, and ``introductions`` for the words), and the ``handshakes`` of TLS;
which ``front_servers`` may speak other protocols than HTTP; how descriptors are shared out
(``descriptors``), how a server is told to end (``stopping``, ``signal_handling``), what is asked
before it accepts (``warm_up``), what becomes of the fields that proxies add (``proxy_fields``),
which ``certificates`` are shown and how newer ones come to be, the table of requests in flight
(``in_flight``), what an operator breaks off of them (``interruption``), what other threads learn of
both (``insight``), the asynchronous bodies (``live_responses``) and what there is to do beside the
loop that they run on (``application_loop``), how full it is (``figures``), and work that a loop
repeats (``repeating``).

Runs on: the loop thread; ``insight`` for any other one.

May import: buffers, config, connection, errors, events, http, logs, proxies, realtime, system,
threads, tls, wsgi.
"""
