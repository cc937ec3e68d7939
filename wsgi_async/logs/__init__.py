"""Events as log records, and who writes them.

``observer`` is the subscriber that makes records of events. A line of the access log is made by
``access_format``, of the atoms in ``access_atoms``, which look at an ``access_entry``; what most
want is made at once by ``access_quick``. ``handlers`` has the loggers and the handlers that write
their records, ``setup`` what the options make of them, ``opened`` which of them are open.
``formatters`` makes text or JSON of a record, ``text`` and ``json_lines`` escape. ``sinks`` writes
to descriptors that may take nothing, ``syslog`` to a syslog that may be gone, whose messages
``syslog_handlers`` make, and ``thread`` is the thread that does it in a serving process. ``calls``
is another one, for handlers of the application, and of a configuration of logging's:
``configuration`` reads it, ``following`` follows it. ``stderr`` passes on what an application logs
there. ``measures`` tells who counts what is logged.

Runs on: whichever thread tells something; a serving process has a thread that writes, and one that
calls handlers of the application, if there are any.

May import: errors, events, http, system.
"""
