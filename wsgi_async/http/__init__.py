"""What all versions of HTTP have in common: heads and what they may be.

``request`` is a request head, ``admission`` says which ones are valid whoever has parsed them,
``target`` what a request is for, ``limits`` how large its parts may be, and ``variables`` what it
says in the words of CGI. ``response`` is a response head, and ``framing`` the seam to whatever
makes bytes of one, as ``reading`` is to what makes requests of bytes; ``head_lines`` and
``framed_heads`` is what those have in common. ``statuses`` knows which responses have no body.
``mounting`` says which part of a path is the application's own. Where a request comes from, if not
from where its connection does, is an ``origin``; the name that it goes by in many logs is its
``request_id``. ``tokens`` are what names, methods and lists of words are made of. What is
remembered of heads, here and above, is kept in a ``bounded_cache``; fields that are worth it are
``recurring``.

Runs on: any thread; pure functions and values that do not change.

May import: errors.
"""
