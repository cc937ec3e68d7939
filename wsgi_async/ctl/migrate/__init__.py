"""What ``wsgi-asyncctl migrate`` does: another server's configuration, told as it would be here.

A *reader* knows one kind of file or command line and makes *plans* of it: our options, and what
becomes of each setting. Which kind a file is, its name and its content say. A report is all that
comes of it; nothing is written, and no code of a project runs, but with ``--execute``.

==================== ===============================================================
``reporting``        where it begins: files and words, to the lines of the report
``report``           what a reader is given, and what it says: sources, plans, findings
``kinds``            the kinds that there are, and how one is told from the others
``servers``          whose command line it is, behind what it may be called through
``bounds``           how much is read, and made of it
``words``            a command line as a shell or systemd has it: words, variables, flags
``checked``          a plan, as our own table of options takes it
``printed``          the report as text: command line, wsgi_async.toml, findings
``masked``           values that are secrets
``expressions``      what an expression in Python comes to, without running it
``gunicorn``         gunicorn's settings as a plan; ``gunicorn_fates`` and
                     ``gunicorn_judges`` are what it says of each,
                     ``gunicorn_file`` reads its file, ``gunicorn_command`` its command line
``waitress``         waitress's command line
``paste``            a PasteDeploy file, and pserve's command line; ``paste_ini`` is what the
                     file's section [server:NAME] comes to
``procfile``         a Procfile: a command line for each process
``systemd``          a unit: a command line, and what stands around it
``uwsgi``            uWSGI's ini files; ``uwsgi_command`` its command line, and
                     ``uwsgi_fates`` and ``uwsgi_families`` what is said of each option
``mod_wsgi``         Apache's configuration, a plan for each of its sites; below it
                     ``apache_syntax``, ``apache_sites``, ``apache_move`` and, of what
                     becomes of directives, ``apache_own``, ``apache_daemon``,
                     ``apache_access``, ``apache_logs``, ``apache_tls`` and ``apache_rules``
``mod_wsgi_express`` Apache behind a command line of mod_wsgi's
``rules``            what there is to say of a setting whatever its value
==================== ===============================================================

Another server's names, and which of our options they are, are known by ``config.other_servers``, by
the aliases in ``config.options``, and by ``foreign``, which serves with its files. Here is what
they do not need: what differs, and what to do about it.

Runs on: the main thread of ``wsgi-asyncctl``.

May import: what ``ctl`` may.
"""
