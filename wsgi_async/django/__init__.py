"""A Django application with one command, ``manage.py runwsgiasync``.

Put ``"wsgi_async.django"`` into ``INSTALLED_APPS``.
"""
