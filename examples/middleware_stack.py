"""A small shop behind a stack of middleware: what the server's package has, each with its options.

Run it:

    wsgi-async examples/middleware_stack.py

Try it:

    curl -i http://127.0.0.1:8000/books
    curl -i -H 'Accept: application/json' http://127.0.0.1:8000/books/99
    curl -i -u ada:lovelace -d title=Emma http://127.0.0.1:8000/books
    curl -i http://127.0.0.1:8000/health
    curl -i -X OPTIONS -H 'Origin: http://localhost:3000' \
        -H 'Access-Control-Request-Method: POST' http://127.0.0.1:8000/books

The application itself is a dozen lines: who may write, which pages of other origins may read, what
an error looks like and where a database connection comes from are not its business.
"""

import json
import logging
import sqlite3
import sys
from pathlib import Path
from urllib.parse import parse_qs

from wsgi_async.middleware import (
    CORS,
    AccessLog,
    BasicAuth,
    ConnectionPool,
    Errors,
    HealthChecks,
    HTTPException,
    HTTPExceptions,
    Pooled,
    RequestId,
)

DATABASE = Path("books.sqlite3")


def shop(environ, start_response):
    path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
    if path == "/books" and method == "POST":
        found = add_book(environ)
    elif path == "/books":
        found = [title for (title,) in query(environ, "select title from books order by title")]
    elif path.startswith("/books/"):
        rows = query(environ, "select title from books where rowid = ?", path[7:])
        if not rows:
            raise HTTPException(404, "There is no such book.")
        found = rows[0][0]
    elif path == "/export":
        return export(environ, start_response)
    else:
        raise HTTPException(404)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found).encode() + b"\n"]


def query(environ, statement, *values):
    # The connection of this request: from the pool at the first call, back when it is answered.
    return environ["wsgi_async.pool"].get().execute(statement, values).fetchall()


def add_book(environ):
    if not environ.get("REMOTE_USER"):
        raise HTTPException(403, "Only who has logged in may add a book.")
    form = parse_qs(environ["wsgi.input"].read().decode())
    if "title" not in form:
        raise HTTPException(400, "A book needs a title.")
    connection = environ["wsgi_async.pool"].get()
    connection.execute("insert into books values (?)", form["title"][:1])
    connection.commit()
    return form["title"][0]


def export(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    for (title,) in environ["wsgi_async.pool"].get().execute("select title from books"):
        yield f"{title}\n".encode()


def connect():
    return sqlite3.connect(DATABASE, check_same_thread=False)


def has_books():
    with pool.borrow() as connection:
        connection.execute("select 1 from books limit 1")


def only_writing(application, protected):
    """Middleware of one's own: `protected` for POST, `application` for everybody."""

    def choose(environ, start_response):
        chosen = protected if environ["REQUEST_METHOD"] == "POST" else application
        return chosen(environ, start_response)

    return choose


def lines_on(stream):
    logger = logging.getLogger("shop.access")
    logger.addHandler(logging.StreamHandler(stream))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return logger


with connect() as setup:
    setup.execute("create table if not exists books (title text)")
    if not setup.execute("select 1 from books").fetchone():
        setup.executemany("insert into books values (?)", [("Middlemarch",), ("Ulysses",)])
setup.close()

# As many connections as the server has threads, none older than an hour.
pool = ConnectionPool(connect, reset=sqlite3.Connection.rollback, max_age=3600)

# From the inside out.
application = Pooled(shop, pool)
application = HTTPExceptions(application)
application = only_writing(
    application, BasicAuth(application, {"ada": "lovelace"}, realm="The shop's back room")
)
application = HealthChecks(application, {"database": has_books}, path="/health")
application = Errors(application)
application = CORS(application, origins=["http://localhost:3000"], headers=["Content-Type"])
application = RequestId(application)
application = AccessLog(
    application,
    format='%(h)s %(u)s "%(r)s" %(s)s %(B)s bytes %(D)s us %({wsgi_async.request_id}e)s',
    logger=lines_on(sys.stdout),
)
