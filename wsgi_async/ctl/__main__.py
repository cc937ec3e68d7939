"""``python -m wsgi_async.ctl`` is the command ``wsgi-asyncctl``, which begins here as well."""

from wsgi_async._imports import StandardFirst

with StandardFirst():
    from .command import main

if __name__ == "__main__":
    main(prog_name="python -m wsgi_async.ctl")
