"""PEP 3333: the environ, the call of the application, its rules, its chunks and its ``close()``.

Knows neither sockets nor a version of HTTP: what it needs of the outside it is given, as a writer
and a reporter.

Runs on: a pool thread.

May import: errors, http, http1, system.
"""
