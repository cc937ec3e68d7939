"""What a server counts, and who its processes are, in memory that its processes share.

``table`` has every metric once: its name, its help, its labels; ``board`` is the memory, in which
each process writes to an area of its own and any process may read them all. ``register`` says which
processes there are: the parent alone writes it.

A word of the memory is 8 bytes, aligned, and has one writing thread, so there is no lock: who reads
has the value of a moment ago, and never a part of one. What a process has counted is there when it
is not: whoever has its number next goes on counting from there.

Runs on: any thread, but each word is written by one.

May import: nothing of the house.
"""
