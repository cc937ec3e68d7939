"""The operating system: sockets, systemd, users, pid files, files, forks, stacks of threads.

Runs on: any thread; what is a process's own (users, directories, signals) on the main one.

May import: errors.
"""
