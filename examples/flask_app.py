"""A Flask application: a page, an upload, an async view, a stream.

Run it:

    pip install 'flask[async]'
    wsgi-async examples/flask_app.py

Try it:

    curl 'http://127.0.0.1:8000/?name=Ada'
    curl -F file=@README.md http://127.0.0.1:8000/upload
    curl http://127.0.0.1:8000/nap
    curl http://127.0.0.1:8000/count
"""

import asyncio

from flask import Flask, Response, request, stream_with_context

app = Flask(__name__)


@app.get("/")
def hello():
    return {"hello": request.args.get("name", "world")}


@app.post("/upload")
def upload():
    file = request.files["file"]
    return {"name": file.filename, "lines": sum(1 for _ in file.stream)}


@app.get("/nap")
async def nap():
    # Flask runs an async view on an event loop of its own, in the thread of the request.
    await asyncio.gather(asyncio.sleep(0.2), asyncio.sleep(0.2))
    return {"rested": True}


@app.get("/count")
def count():
    limit = request.args.get("limit", 10, type=int)
    numbers = (f"{number}\n" for number in range(limit))
    return Response(stream_with_context(numbers), mimetype="text/plain")
