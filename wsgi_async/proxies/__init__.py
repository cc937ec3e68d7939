"""What proxies in front say of a connection and of its client.

``proxy_protocol`` reads the header that HAProxy, nginx and load balancers put in front of all else,
with the values it may carry in ``tlvs``; ``proxy_variables`` has what it says in the words of the
environ.

``trust`` says whose word counts. ``forwarding`` reads the fields of a request as the options say,
with ``forwarded`` for RFC 7239, ``x_forwarded`` for the fields that are older than it, ``schemes``
and ``named`` for those that gunicorn's options name; addresses are in ``nodes``.

Runs on: any thread; pure functions and values that do not change.

May import: errors, http.
"""
