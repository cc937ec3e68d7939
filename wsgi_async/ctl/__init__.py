"""The command ``wsgi-asyncctl``: it asks a running server over its control socket, and steers it.

================= ==================================================================
``__main__``      where it begins, also as ``python -m wsgi_async.ctl``
``command``       the command line: commands, options, what is printed where
``exits``         how it may end: exit codes, and the error that names one
``finding``       where the control socket is: named, or found from a pid file
``client``        HTTP over a unix socket, within a deadline
``following``     until a reload, a drain or a change of processes is over
``status``        how the server is, as text
``in_flight``     requests in flight, as text
``reports``       configuration, journal of errors and answers of processes, as text
``profiles``      the files of a profile, and what is said of it
``text``          what a terminal is shown: tables, units, colours, nothing that steers it
``top``           the server, live in a terminal: where that begins, and its loop
``top_model``     what is shown there, computed from two answers, as ``top_reading`` reads them
``top_keys``      what keys do there; ``top_decoding`` knows them by their bytes
``top_view``      the screen, of ``top_head`` (figures) and ``top_tables``
``top_look``      its colours, and lines of them; ``top_text`` has bars and charts
``top_terminal``  the terminal, and giving it back as it was
``top_feed``      the thread that asks meanwhile
================= ==================================================================

It imports nothing that serves, and no application.

Runs on: the main thread of a process of its own, which has no other but that of ``top_feed``.

May import: config, operations, system.
"""
