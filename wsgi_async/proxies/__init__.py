"""What proxies in front say of a connection and of its client.

``proxy_protocol`` reads the header that HAProxy, nginx and load balancers put in front of all else,
with the values it may carry in ``tlvs``; ``proxy_variables`` has what it says in the words of the
environ.

Runs on: any thread; pure functions and values that do not change.

May import: nothing of the house.
"""
