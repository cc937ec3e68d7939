"""A Django application with one command, ``manage.py runwsgiasync``, which also has asynchronous
streams pass unharmed what is around them.

Put ``"wsgi_async.django"`` into ``INSTALLED_APPS``.

Runs on: the main thread of ``manage.py``, which becomes the server; what concerns responses, pool
threads.

May import: cli, flags, realtime, wsgi.
"""
