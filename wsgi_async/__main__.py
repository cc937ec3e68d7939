"""``python -m wsgi_async`` is the command ``wsgi-async``, which begins here as well."""

from ._imports import StandardFirst

with StandardFirst():
    from .cli import main

if __name__ == "__main__":
    main(prog_name="python -m wsgi_async")
