"""A form and what was entered into it, with nothing but the standard library.

Run it:

    wsgi-async examples/form_post.py

Open http://127.0.0.1:8000/ in a browser, or:

    curl -d name=Ada --data-urlencode 'message=Hello & welcome' http://127.0.0.1:8000/
"""

import html
from urllib.parse import parse_qs

FORM = """<!doctype html>
<title>A form</title>
<form method="post">
  <p><label>Name <input name="name"></label>
  <p><label>Message <textarea name="message"></textarea></label>
  <p><button>Send</button>
</form>
"""
ANSWER = """<!doctype html>
<title>Thank you</title>
<p>{name} wrote: {message}
"""


def application(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        # The server has collected the body and ends it itself: no need to count bytes.
        fields = parse_qs(environ["wsgi.input"].read().decode())
        page = ANSWER.format(
            name=html.escape(fields.get("name", ["Nobody"])[0]),
            message=html.escape(fields.get("message", [""])[0]),
        )
    else:
        page = FORM
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [page.encode()]
