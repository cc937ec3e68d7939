"""Django's settings, of which a process has one set: the same for every test that may share it."""

from __future__ import annotations

from types import ModuleType


def configure() -> None:
    """Have Django set up, whoever comes first. A test brings its own URLs with each request, as
    ``request.urlconf``."""
    import django
    from django.conf import settings

    if not settings.configured:
        urls = ModuleType("no_urls")
        vars(urls)["urlpatterns"] = []
        settings.configure(
            ALLOWED_HOSTS=["*"],
            LOGGING_CONFIG=None,
            MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
            ROOT_URLCONF=urls,
            SECRET_KEY="for tests",
        )
    django.setup(set_prefix=False)
