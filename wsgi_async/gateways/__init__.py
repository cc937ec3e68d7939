"""uwsgi, SCGI and FastCGI as bytes, without I/O: what a web server in front says of a request, and
the response as it takes it.

``uwsgi`` and ``scgi`` read one request from a connection, by what they have in common, which is
``counted``; ``cgi_framing`` makes the bytes of their responses. ``fastcgi`` reads one request after
another, and ``fastcgi_framing`` makes the bytes of responses to them; ``fastcgi_records`` is what
both consist of, ``fastcgi_input`` how far they have been read. ``diagnosis`` names what is none of
these protocols, ``taking`` judges each variable, and ``variables`` what a request says in words of
CGI; ``paths`` and ``origins`` say what these mean. Here the other end of the connection is called
the front server: it is the client's server, and our client.

Runs on: the loop thread. No clock, no socket and no lock; an object belongs to one thread.

May import: errors, http.
"""
