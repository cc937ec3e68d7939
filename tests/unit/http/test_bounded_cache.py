"""What is remembered until there is too much of it."""

from __future__ import annotations

from wsgi_async.http.bounded_cache import BoundedCache


def test_what_is_kept_is_found() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.keep("a", 1)
    cache.keep("b", 2)
    assert cache == {"a": 1, "b": 2}
    assert cache.get("a") == 1
    assert cache.get("c") is None


def test_one_more_than_fits_takes_the_place_of_all() -> None:
    cache: BoundedCache[int, int] = BoundedCache(3)
    for number in range(100):
        cache.keep(number, number)
        assert cache[number] == number
        assert len(cache) <= 3
    assert cache == {99: 99}


def test_what_is_there_already_takes_no_further_place() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.keep("a", 1)
    cache.keep("b", 2)
    cache.keep("a", 3)
    assert cache == {"a": 3, "b": 2}
