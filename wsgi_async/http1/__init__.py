"""HTTP/1.1 as bytes, without I/O: requests in, framed responses out.

``reader`` is fed with bytes and gives events; it finds the ``lines`` of a head, asks ``fast_path``
for it, and where that declines h11, which nobody else imports. ``chunked`` decodes bodies,
``diagnosis`` names what is no HTTP/1.1 at all, and ``framing`` makes the bytes of a response.

Runs on: the loop thread. No clock, no socket and no lock; an object belongs to one thread.

May import: errors, http.
"""
