"""The load clients of the harness itself: each a process that prints JSON lines on stdout.

All are bounded in time, whatever the server does. They use the standard library only, and run
with ``python -m benchmarks.clients.NAME``.
"""
