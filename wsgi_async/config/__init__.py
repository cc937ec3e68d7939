"""The options: each written once, in ``options``, and where their values come from, in ``sources``.

Other servers' spellings and what they have that this one has not are in ``other_servers``; the
turns at which a configuration file may act are in ``hooks``. A :class:`~.options.Config` never
changes.

Runs on: the parent, before anything is served; a Config may be read by any thread.

May import: errors, system.
"""
