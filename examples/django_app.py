"""A Django site in a single file: a page, a form with its CSRF token, a download.

Run it:

    pip install django
    wsgi-async examples/django_app.py

Open http://127.0.0.1:8000/ in a browser, or:

    curl 'http://127.0.0.1:8000/numbers?limit=1000000' | tail
"""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.urls import path
from django.utils.html import format_html

settings.configure(
    ALLOWED_HOSTS=["localhost", "127.0.0.1", "[::1]"],
    MIDDLEWARE=[
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("SECRET_KEY", "for this example only"),
)

PAGE = """<!doctype html>
<title>Django</title>
<p>Hello, {name}!
<form method="post">
  <input type="hidden" name="csrfmiddlewaretoken" value="{token}">
  <label>Your name <input name="name"></label> <button>Send</button>
</form>
"""


def home(request):
    name = request.POST.get("name") or "world"
    return HttpResponse(format_html(PAGE, name=name, token=get_token(request)))


def numbers(request):
    limit = int(request.GET.get("limit", 10))
    lines = (f"{number}\n" for number in range(limit))
    return StreamingHttpResponse(lines, content_type="text/plain")


urlpatterns = [path("", home), path("numbers", numbers)]

application = get_wsgi_application()
