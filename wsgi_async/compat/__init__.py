"""Look-alikes of other servers' programming interfaces: a program written for one of them runs
here once its import lines name these modules.

===================  ===========================================================================
``simple_server``    ``wsgiref.simple_server``
``pywsgi``           ``gevent.pywsgi``
``tornado``          ``tornado.wsgi``, ``.httpserver``, ``.ioloop``, ``.options``
``cgi``              ``wsgiref.handlers.CGIHandler``
``fcgi``             ``flup.server.fcgi``; ``fcgi_fork`` and ``fcgi_single`` as there
``scgi``             ``flup.server.scgi``
===================  ===========================================================================

What cannot be had here is refused by a :class:`~wsgi_async.errors.ConfigError` that says what to
write instead; nothing is accepted and then ignored that would change what a client sees.

Runs on: the caller's thread; a server behind it on a loop of its own.

May import: config, errors, events, http, launch, logs, realtime, server, system, tls, wsgi.
"""
