"""The command ``wsgi-asyncctl``: it asks a running server over its control socket, and steers it;
and it says what another server's configuration comes to here.

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
``top/``          the server, live in a terminal
``migrate/``      what another server's configuration comes to here
================= ==================================================================

It imports nothing that serves, and no application; a file of gunicorn's, which is code, runs by
``migrate --execute`` alone.

Runs on: the main thread of a process of its own, which has no other but that of ``top/feed``.

May import: config, errors, foreign, operations, system.
"""
