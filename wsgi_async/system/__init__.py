"""The operating system, a module for each part of it.

``sockets`` are bound here, for what is ``spoken`` on them, and ``systemd`` passes them and is told;
``datagrams`` are sent, and it is known where a ``syslog`` is; ``files`` that options name,
``private_files`` that nobody else can read, the ``pid_file``, the ``user`` to become,
``cpu_affinity``, the ``usage`` of memory and descriptors, the ``inodes`` by which it is known whose
a descriptor is; ``surroundings`` are what an application finds (directory, path, environment);
``forks`` rids a process that the application forks of what is ours, ``stacks`` shows what a thread
does and can interrupt it, ``event_loop`` which kind of loop runs, ``own_code`` tells our frames
from an application's, ``greenlets`` refuses a standard library that is made of them.

Runs on: any thread; what is a process's own (users, directories, signals) on the main one.

May import: errors.
"""
