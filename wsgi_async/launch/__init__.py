"""How a command line, or a call of ``serve()``, becomes processes.

``parent`` is what is done once, ``program`` what each process runs, ``child`` what it does under a
supervisor, ``serving`` is ``serve()``. ``reloading`` has SIGHUP's whole way, from the signal to the
new program; ``certificates`` is what the parent reads for its processes, ``file_watcher`` the
process that looks for saved code, ``touched`` what is said of scripts that were touched,
``operations`` what the parent does for the one that shows how
the server is: ``operations_process`` is that process, ``surfaces`` what it serves, ``handed`` what
all processes have in common for it, and ``dashboard`` what one of these needs besides.
``log_files`` says where logs go, ``metrics`` what goes to statsd, ``descriptors`` how many files a
process may have open, and ``ending`` how it ends in its time.

Runs on: the main thread of each process.

May import: applications, buffers, config, connection, errors, events, logs, operations,
processes, scoreboard, server, system, tls, wsgi.
"""
