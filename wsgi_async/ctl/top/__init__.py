"""``wsgi-asyncctl top``: a server, live in a terminal.

============== =====================================================================
``showing``    where it begins, and its loop
``model``      what is shown, computed from two answers, as ``reading`` reads them
``keys``       what keys do; ``decoding`` knows them by their bytes
``view``       the screen, of ``head`` (figures) and ``tables``
``look``       its colours, and lines of them; ``charts`` has bars and charts
``terminal``   the terminal, and giving it back as it was
``feed``       the thread that asks meanwhile
============== =====================================================================

Model and keys are plain functions, and the view makes lines of what they come to, with rich. Only
``showing``, ``terminal`` and ``feed`` do anything.

Runs on: the main thread of the command; ``feed`` on one of its own.

May import: what the command may; rich where something is shown.
"""
