"""From what an operator types to the one application that is served.

``loading`` finds it (``factories`` tells one from what only makes one, ``namesakes`` keeps the
modules of several apart, ``paste_files`` makes what a PasteDeploy file describes), ``composition``
puts around it what the options ask for: ``mounts``, ``static`` files, ``lint``,
``str_encoding``.

Runs on: the main thread of a serving process (or of its loader), before it serves; what has been
put together, on pool threads.

May import: config, errors, events, http, middleware, system, wsgi.
"""
