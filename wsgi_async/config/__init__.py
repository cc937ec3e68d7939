"""The options: each written once, in ``options``, and where their values come from.

``option`` is what an option is (type, range, scope, group, its value from text), ``sources`` reads
environment, files and command line, ``calls`` the keywords of a call in Python, and ``shown`` is
what an operator sees of them, and ``written`` what he would write for them; ``forwarding`` says
what the options on forwarded fields come to, ``tls_options`` which of those on TLS go together,
``gateways`` which of those on web servers that do not speak HTTP, and ``response_fields`` has what
is added to responses; ``surfaces`` is what the operations process may serve, ``metrics_address``
where it listens, and ``statsd_options`` what statsd can be told. Other servers' spellings, and what
they have that this one has not, are in ``other_servers``; ``paste_spec`` is how an application of a
PasteDeploy file is named, and ``ini_errors`` what is wrong with an ini file; the turns at which a
configuration file may act are in ``hooks``. The values, once gathered, never change.
``plain`` reads a command line that has nothing but flags as they are in the table, values, and APP.

Runs on: the parent, at the start and at each reload, or whoever makes a server; the values may be
read by any thread.

May import: errors, proxies, system, wsgi.
"""
