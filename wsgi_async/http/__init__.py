"""What all versions of HTTP have in common: request heads, when they are valid, their limits, and
what they are in the words of CGI.

Runs on: any thread; pure functions and values that do not change.

May import: errors.
"""
