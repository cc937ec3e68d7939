"""What ``manage.py runwsgiasync`` becomes: the command ``wsgi-async``, under the name by which it
was called, which is the first argument."""

from wsgi_async._imports import StandardFirst

with StandardFirst():
    import sys

    from wsgi_async.cli import main

if __name__ == "__main__":
    main(sys.argv[2:], prog_name=sys.argv[1])
