"""The application, by a label that is nobody else's."""

from django.apps import AppConfig

__all__ = ["WsgiAsyncConfig"]


class WsgiAsyncConfig(AppConfig):  # type: ignore[misc]  # Django has no type annotations
    """See :mod:`wsgi_async.django`."""

    name = "wsgi_async.django"
    label = "wsgi_async"
    verbose_name = "wsgi_async"

    def ready(self) -> None:
        from .streaming import install

        install()
