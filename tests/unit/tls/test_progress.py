"""How much of what was written a client has, by how much of what was encrypted it has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wsgi_async.tls.progress import MARKS, SPAN, Progress

sizes = st.lists(st.tuples(st.integers(0, 70_000), st.integers(0, 60)), max_size=60)


@given(sizes, st.data())
def test_it_never_goes_back_and_ends_at_all(
    writes: list[tuple[int, int]], data: st.DataObject
) -> None:
    progress = Progress()
    for written, more in writes:
        progress.add(written, written + more)
    points = sorted(data.draw(st.lists(st.integers(-5, progress.encrypted + 5), max_size=20)))
    found = [progress.written_in(point) for point in points]
    assert found == sorted(found)
    assert progress.written_in(progress.encrypted) == progress.written
    assert progress.written_in(0) == 0
    for point, taken in zip(points, found, strict=True):
        assert 0 <= taken <= progress.written
        assert taken <= max(point, 0)


def test_small_records_before_large_ones_have_their_own_proportion() -> None:
    """A byte an event, for a while, and then a file: the rate of neither is that of both."""
    progress = Progress()
    for _ in range(10_000):
        progress.add(1, 23)
    events = progress.encrypted
    for _ in range(100):
        progress.add(16 * 1024, 16 * 1024 + 22)
    assert abs(progress.written_in(events // 2) - 5_000) < 500
    assert abs(progress.written_in(events) - 10_000) < SPAN
    half = events + (progress.encrypted - events) // 2
    assert abs(progress.written_in(half) - (10_000 + 50 * 16 * 1024)) < 3_000


def test_marks_are_bounded() -> None:
    progress = Progress()
    for _ in range(100):
        progress.add(SPAN, SPAN + 1000)
    assert progress._marks is not None
    assert len(progress._marks) == MARKS
    assert 0 < progress.written_in(SPAN) < SPAN
