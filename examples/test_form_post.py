"""Tests of an application: in process with a client, and over a real socket.

Run it:

    pytest examples/test_form_post.py

The fixtures come with the package. Without pytest, `TestClient(application)` and
`live_server(application)` of `wsgi_async.testing` do the same.
"""

from http.client import HTTPConnection

from form_post import application


def test_the_form_is_shown(wsgi_client):
    response = wsgi_client(application).get("/")
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert '<form method="post">' in response.text


def test_what_was_entered_is_escaped(wsgi_client):
    response = wsgi_client(application).post("/", form={"name": "Ada", "message": "<b>é & 1"})
    assert "Ada wrote: &lt;b&gt;é &amp; 1" in response.text


def test_a_real_client(wsgi_server):
    # Should this fail, the report has the server's log and what each request took.
    server = wsgi_server(application, threads=2)
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    # In the chunked coding: an application that counts on CONTENT_LENGTH gets it all the same.
    connection.request("POST", "/", body=iter([b"name=", b"Grace"]), encode_chunked=True)
    assert b"Grace wrote:" in connection.getresponse().read()
    connection.close()

    (request,) = server.wait_for_requests(1)
    assert (request.method, request.target, request.status) == ("POST", "/", 200)
    assert request.app < 5
    assert not server.errors
