"""A query that ends with the tab that has asked for it: PostgreSQL does not work for nobody.

Run it:

    pip install flask 'psycopg[binary]'
    export DATABASE='host=/var/run/postgresql dbname=postgres'
    wsgi-async examples/live/cancelled_query.py

Try it, and press Ctrl-C before it is there; the second line shows what the database still does:

    curl http://127.0.0.1:8000/report?seconds=60
    curl http://127.0.0.1:8000/running

A browser's tab that is closed, or moves on, is no different. A thread that waits for a database
does not look at anything meanwhile, so another one does the cancelling, by a connection of its own.
"""

import contextlib
import os
import threading

import psycopg
from flask import Flask, request

DATABASE = os.environ.get("DATABASE", "")
NAME = "cancelled_query"

app = Flask(__name__)


@contextlib.contextmanager
def cancelled_when_gone(connection):
    """What this connection runs in the block is cancelled when the client of the request goes.

    After the block nobody cancels anything: the connection may go back to a pool.
    """
    over = threading.Event()

    def cancel():
        # Again and again: what has not reached the database yet is not there to be cancelled.
        while not over.is_set():
            connection.cancel_safe(timeout=5)
            over.wait(0.1)

    with request.environ["wsgi_async.client"].on_gone(cancel):
        try:
            yield
        finally:
            over.set()


@app.get("/report")
def report():
    seconds = request.args.get("seconds", 10.0, float)
    with psycopg.connect(DATABASE, application_name=NAME) as connection:
        try:
            with cancelled_when_gone(connection):
                [row] = connection.execute("SELECT 42 FROM pg_sleep(%s)", [seconds]).fetchall()
        except psycopg.errors.QueryCanceled:
            app.logger.warning("A report that nobody waits for was cancelled")
            return "", 499  # for the log: the client is not there
    return f"The answer is {row[0]}.\n"


@app.get("/running")
def running():
    with psycopg.connect(DATABASE) as connection:
        [[count]] = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name = %s AND state = 'active'",
            [NAME],
        )
    return f"{count}\n"
