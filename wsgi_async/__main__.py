"""``python -m wsgi_async`` is the command ``wsgi-async``, which begins here as well."""

import gc

from ._imports import StandardFirst

try:
    with StandardFirst():
        from .cli import main
except KeyboardInterrupt:  # there is nothing yet that would have to end
    raise SystemExit(130) from None
gc.freeze()  # what is there by now stays, and need not be looked at

if __name__ == "__main__":
    main(prog_name="python -m wsgi_async")
