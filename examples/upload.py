"""Receives files of any size with PUT and sends them back with GET.

Run it:

    wsgi-async examples/upload.py

Try it:

    curl -T video.mp4 http://127.0.0.1:8000/
    curl -O http://127.0.0.1:8000/video.mp4

Files go to the directory "uploads". The application is called when the whole body has arrived, so
a slow sender holds no thread; a large body waits in a temporary file, never in memory. Sending goes
by wsgi.file_wrapper: the thread is free again at once, however slowly the client reads.
"""

import mimetypes
import shutil
import tempfile
from pathlib import Path

UPLOADS = Path("uploads")


def application(environ, start_response):
    name = environ["PATH_INFO"].removeprefix("/").encode("latin-1").decode(errors="replace")
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        return answer(start_response, "400 Bad Request", "a plain file name, please")
    path = UPLOADS / name
    if environ["REQUEST_METHOD"] == "PUT":
        UPLOADS.mkdir(exist_ok=True)
        # Complete or not there at all: written under another name first.
        with tempfile.NamedTemporaryFile(dir=UPLOADS, prefix=".", delete=False) as file:
            shutil.copyfileobj(environ["wsgi.input"], file, 1024 * 1024)
            size = file.tell()
        Path(file.name).replace(path)
        return answer(start_response, "201 Created", f"{name}: {size} bytes")
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return answer(start_response, "405 Method Not Allowed", "GET or PUT", ("Allow", "GET, PUT"))
    try:
        file = path.open("rb")
    except OSError:
        return answer(start_response, "404 Not Found", "no such file")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    start_response("200 OK", [("Content-Type", kind), ("Content-Length", str(path.stat().st_size))])
    return environ["wsgi.file_wrapper"](file)


def answer(start_response, status, text, *headers):
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), *headers])
    return [f"{text}\n".encode()]
