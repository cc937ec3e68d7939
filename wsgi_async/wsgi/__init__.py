"""PEP 3333: from a request head to the chunks of an application.

``environ`` is what an application is called with, and ``calling`` calls it, takes its chunks and
closes its iterable; of an asynchronous one somebody else takes them, by the steps in ``awaited``.
Either way ``delivery`` hands over head and chunks, and keeps what the head has promised;
``outside`` is what it knows of who takes and who is told. ``checks`` are the
rules for what it answers with, ``early_hints`` those for what it says before, and ``async_bodies``
tell which are to be awaited. ``client`` is its client as an object, ``client_watch`` who is told
when that goes. ``error_stream`` is its ``wsgi.errors``, ``file_wrapper`` its ``wsgi.file_wrapper``,
and ``types`` are PEP 3333's for annotations.

Knows neither sockets nor a version of HTTP: what it needs of the outside it is given, as a writer
and a reporter.

Runs on: a pool thread; what of the environ is the same for a whole connection, on the loop.

May import: errors, http, system.
"""
