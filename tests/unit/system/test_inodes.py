"""Whether a descriptor is still what it was."""

from __future__ import annotations

import os
import socket

from wsgi_async.system.inodes import inode_of


def test_a_number_that_means_another_file_is_told_from_the_first() -> None:
    """An application has closed ours, and the system has given its number away."""
    ours, theirs = socket.socketpair()
    number = ours.fileno()
    with ours, theirs:
        before = inode_of(number)
        assert before is not None
        os.dup2(theirs.fileno(), number)
        assert inode_of(number) not in (None, before)


def test_nothing_is_open_at_a_number() -> None:
    sock = socket.socket()
    number = sock.fileno()
    sock.close()
    assert inode_of(sock.fileno()) is None
    assert inode_of(number) is None
