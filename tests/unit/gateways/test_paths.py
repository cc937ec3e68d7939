"""SCRIPT_NAME and PATH_INFO, by the configurations that people have."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from properties import examples

from wsgi_async.errors import HTTPError
from wsgi_async.gateways.paths import normalised, place_in

Said = tuple[str | None, str | None, str | None, str | None]


@pytest.mark.parametrize(
    ("said", "place"),
    [
        # nginx's files, unchanged: uwsgi_params, fastcgi_params, scgi_params
        *(((None, "/a/b", None, "/a/b"), ("", "/a/b")), ((None, "/", None, "/"), ("", "/"))),
        *((("/a/b", None, "/a/b", "/a/b"), ("", "/a/b")), (("/", None, "/", "/"), ("", "/"))),
        *(((None, None, "/a/b", "/a/b"), ("", "/a/b")), ((None, None, "/a/", "/a/"), ("", "/a/"))),
        # the same, and the path is not as it was sent: normalised, or written anew
        ((None, "/b", None, "/a/..//b"), ("", "/b")),
        (("/b", None, "/b", "/a/..//b"), ("", "/b")),
        ((None, None, "/b", "/a/..//b"), ("", "/b")),
        (("/new", None, "/new", "/old/x"), ("", "/new")),
        (("/old", None, "/old", "/old/x"), ("", "/old")),
        # uwsgi_param SCRIPT_NAME /shop; include uwsgi_params
        (("/shop", "/shop/x", None, "/shop/x"), ("/shop", "/x")),
        (("/shop", "/shop", None, "/shop"), ("/shop", "")),
        (("/shop", "/shop/", None, "/shop/"), ("/shop", "/")),
        (("/shop", "/shop/x", None, "//shop/./x"), ("/shop", "/x")),
        (("/shop", "/shop/shop/x", None, "/shop/shop/x"), ("/shop", "/shop/x")),
        (("/shop", "/shopping", None, "/shopping"), ("/shop", "/shopping")),
        # scgi_param SCRIPT_NAME /shop; include scgi_params
        (("/shop", None, "/shop/x", "/shop/x"), ("/shop", "/x")),
        (("/shop", None, None, "/shop/x"), ("/shop", "/x")),
        (("/shop", None, "/shop/", "/shop/"), ("/shop", "/")),
        # fastcgi_split_path_info ^(/shop)(.*)$; fastcgi_param PATH_INFO $fastcgi_path_info
        (("/shop", "/x", "/shop/x", "/shop/x"), ("/shop", "/x")),
        (("/shop", "", "/shop", "/shop"), ("/shop", "")),
        (("/shop", "/shop/x", "/shop/shop/x", "/shop//shop/x"), ("/shop", "/shop/x")),
        # ... ^(/shop/)(.*)$, and ^()(.*)$
        (("/shop/", "x", "/shop/x", "/shop/x"), ("/shop", "/x")),
        (("", "/shop/x", "/shop/x", "/shop/x"), ("", "/shop/x")),
        # the guides to flup: fastcgi_param PATH_INFO $fastcgi_script_name
        (("/a/b", "/a/b", "/a/b", "/a/b"), ("", "/a/b")),
        (("/", "/", "/", "/"), ("", "/")),
        # Apache: mod_proxy_uwsgi, at the root and below
        (("", "/a", None, "/a"), ("", "/a")),
        (("", "/", None, "/"), ("", "/")),
        (("/shop/", "/", None, "/shop/"), ("/shop", "/")),
        (("/shop", "/x", None, "/shop/x"), ("/shop", "/x")),
        # mod_proxy_fcgi and mod_proxy_scgi, without and with their ...-pathinfo
        (("/a/b", None, None, "/a/b"), ("", "/a/b")),
        (("/a/", None, None, "/a/"), ("", "/a/")),
        (("/a", "/b", None, "/a/b"), ("/a", "/b")),
        # lighttpd: "/" => ..., with fix-root-scriptname and without
        (("", "/x", None, "/x"), ("", "/x")),
        (("/", None, None, "/x"), ("", "/x")),
        # RFC 3875 alone, and nothing at all
        (("/cgi", "/x", None, None), ("/cgi", "/x")),
        (("/cgi", "", None, None), ("/cgi", "")),
        ((None, "/x", None, None), ("", "/x")),
        (("", "", "", None), ("", "/")),
        ((None, None, None, None), ("", "/")),
    ],
)
def test_configurations(said: Said, place: tuple[str, str]) -> None:
    assert place_in(*said) == place


@pytest.mark.parametrize(
    "said",
    [
        # What was written anew may mean either: nothing is taken off.
        ("/shop", "/shop/x", None, "/old"),
        # A client must not get at /x by a second slash, where the server means /shop/shop/x.
        ("/shop", "/shop/x", None, "/shop//shop/x"),
        ("/shop", "/shop/x", None, "/shop/./shop/x"),
        ("/shop", "/shop/x", None, "/shop/a/../shop/x"),
        ("/shop", "/shop/x", None, "/shop/x/../../other"),
        ("/shop", "/shop/x", None, None),
    ],
)
def test_nothing_is_taken_off_where_it_cannot_be_told(said: Said) -> None:
    assert place_in(*said) == ("/shop", "/shop/x")


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (("shop", "/x", None, "/shop/x"), "SCRIPT_NAME"),
        ((None, "x", None, "/x"), "PATH_INFO"),
        (("", "x", None, "/x"), "PATH_INFO"),
        (("/shop", "x", None, "/shop/x"), "PATH_INFO"),
        ((None, None, "x", "/x"), "DOCUMENT_URI"),
    ],
)
def test_what_is_no_path_is_refused(said: Said, name: str) -> None:
    with pytest.raises(HTTPError, match=f"400 Bad Request: {name} does not begin with a slash"):
        place_in(*said)


@pytest.mark.parametrize(
    ("path", "result"),
    [
        *(("/", "/"), ("//", "/"), ("/a", "/a"), ("/a/", "/a/"), ("//a///b//", "/a/b/")),
        *(("/a/.", "/a/"), ("/a/..", "/"), ("/a/b/..", "/a/"), ("/./a", "/a"), ("/..", "/")),
        *(("/../../a", "/a"), ("/a/../b", "/b"), ("/...", "/..."), ("/a/.b", "/a/.b")),
    ],
)
def test_normalised_paths(path: str, result: str) -> None:
    assert normalised(path) == result


segments = st.sampled_from(["a", "b", "shop", "", ".", "..", "\xe9"])
paths = st.lists(segments, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
given_or_not = st.none() | st.just("") | paths


@examples(1000, given_or_not, given_or_not, given_or_not, st.none() | paths)
def test_no_path_is_made_up(
    script: str | None, info: str | None, document: str | None, path: str | None
) -> None:
    """The application sees one that the front server, or else its client, has said."""
    root, below = place_in(script, info, document, path)
    assert not root.endswith("/")
    assert not root or script is not None
    assert not below or below[0] == "/"
    both = (script or "").rstrip("/") + (info or "")
    said = {both, info, script} if info or script else {document or path or "/"}
    if script and info is None:
        said |= {document or path}
    assert root + below in said


@examples(500, paths.filter(lambda path: path != "/"), paths)
def test_what_cgi_means_is_what_is_given(root: str, info: str) -> None:
    """Whatever the path is, where SCRIPT_NAME and PATH_INFO are its parts they stay these."""
    root = root.rstrip("/")
    whole = root + info
    assert place_in(root, info, None, whole) == (root, info)
    assert place_in(root, info, whole, "/of/the/client") == (root, info)
