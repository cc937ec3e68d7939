"""Bytes that wait: in memory first, then in a temporary file, within budgets of the process.

Runs on: any thread for the budgets; all else belongs to one thread at a time. Nothing here waits
for a client.

May import: errors.
"""
