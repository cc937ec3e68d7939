"""A site by Django that insists on https, and shows what it was asked."""

from __future__ import annotations

import secure_facts
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import re_path

settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY="for tests",
    ALLOWED_HOSTS=["mysite.example"],
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware"],
    SECURE_SSL_REDIRECT=True,
)


def show(request: HttpRequest) -> JsonResponse:
    assert request.is_secure()
    url = request.build_absolute_uri()
    return JsonResponse(secure_facts.of(request.META, url, request.META["REMOTE_ADDR"]))


urlpatterns = [re_path("", show)]
app = get_wsgi_application()
