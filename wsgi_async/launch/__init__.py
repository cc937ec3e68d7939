"""How a command line, or a call of ``serve()``, becomes processes.

``parent`` is what is done once, ``child`` what each process does under a supervisor, ``serving`` is
``serve()``, ``file_watcher`` the process that looks for saved code, ``ending`` how a process ends
in its time.

Runs on: the main thread of each process.

May import: applications, buffers, config, connection, errors, events, logs, processes, server,
system, wsgi.
"""
