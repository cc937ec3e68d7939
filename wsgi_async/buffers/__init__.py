"""Bytes that wait: in memory first, then in a temporary file (``spool``), within the budgets of the
process (``budgets``), and read again without waiting for a disk (``reading``).

Runs on: any thread for the budgets; all else belongs to one thread at a time. Nothing here waits
for a client.

May import: errors.
"""
