"""Settings of the sites ``live_django`` and ``live_django_tests``."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

DATABASE = os.environ["LIVE_DATABASE"]

if DATABASE.startswith("postgresql:"):
    parts = urlsplit(DATABASE)
    database: dict[str, Any] = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.strip("/"),
        "USER": parts.username,
        "HOST": parts.hostname,
        "PORT": parts.port,
    }
else:
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE}

ALLOWED_HOSTS = ["*"]
DATABASES = {"default": {**database, "CONN_MAX_AGE": int(os.environ.get("LIVE_AGE", "0"))}}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    *(["wsgi_async.django"] if "LIVE_INSTALLED" in os.environ else []),
]
LANGUAGES = [("en", "English"), ("de", "German")]
LOGGING_CONFIG = None
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = os.environ.get("LIVE_URLS", "live_django")
SECRET_KEY = "for tests"
STATIC_URL = "/static/"
USE_I18N = True
USE_TZ = True
