"""``python -m wsgi_async.ctl`` is the command ``wsgi-asyncctl``, which begins here as well."""

from wsgi_async._imports import StandardFirst

try:
    with StandardFirst():
        from .command import main
except KeyboardInterrupt:  # nobody was asked anything yet
    raise SystemExit(130) from None

if __name__ == "__main__":
    main(prog_name="python -m wsgi_async.ctl")
