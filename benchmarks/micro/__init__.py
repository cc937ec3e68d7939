"""Micro-benchmarks in memory: the parts of the server one by one, then all of it, without sockets.

They tell where a request's time goes and whether a change helped; what that is worth under load,
``python -m benchmarks`` tells.
"""
