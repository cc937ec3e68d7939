"""Events as log records, and who writes them.

``observer`` is the subscriber that makes records of events. A line of the access log is made by
``access_format``, of the atoms in ``access_atoms``, which look at an ``access_entry``. ``handlers``
has the loggers and the handlers that write their records, ``setup`` what the options make of them,
``text`` escapes, ``sinks`` writes to descriptors that may take nothing, and ``thread`` is the
thread that does it in a serving process. ``calls`` is another one, for handlers of the application.
``stderr`` passes on what an application logs there. ``measures`` tells who counts what is logged.

Runs on: whichever thread tells something; a serving process has a thread that writes, and one that
calls handlers of the application, if there are any.

May import: errors, events, http, system.
"""
