"""What operators and their machines look at: metrics.

``counting`` is the subscriber by which a serving process fills its area of the scoreboard, and
``exposition`` the scoreboard as Prometheus reads it, which ``application`` serves. Nothing of this
is imported where nobody asks for metrics.

Runs on: the loop thread counts; whatever thread asks exposes.

May import: errors, events, logs, scoreboard, server, system, wsgi.
"""
