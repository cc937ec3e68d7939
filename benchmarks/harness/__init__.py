"""How servers are started and measured: their command lines, processes, rounds, and what a run
leaves behind. Knows no scenario and no report; imports nothing of `benchmarks` but itself.

`launch` runs inside a server's process: whatever is imported here counts for its start and memory.
"""
