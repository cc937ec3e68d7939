"""A Django application with one command, ``manage.py runwsgiasync``.

Put ``"wsgi_async.django"`` into ``INSTALLED_APPS``.

Runs on: the main thread of ``manage.py``, which becomes the server.

May import: cli.
"""
