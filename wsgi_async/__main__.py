"""``python -m wsgi_async`` is the command ``wsgi-async``."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="python -m wsgi_async")
