"""TLS: what connections are encrypted with, and who says so.

``settings`` is what the options come to.

Runs on: the parent, the loop; what is in ``settings`` is a value that any thread may have.

May import: config.
"""
