"""The mailbox: how any thread wakes the loop."""

from __future__ import annotations

import queue
import threading
from collections import Counter, deque
from collections.abc import Callable

from threadline import WAIT

from wsgi_async.threads import Mailbox, Posted


class Item:
    """Counts its wakes, and the thread they came on."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.woken: Counter[threading.Thread] = Counter()

    def on_wake(self) -> None:
        self.woken[threading.current_thread()] += 1
        if self.error is not None:
            raise self.error


def make() -> tuple[Mailbox, queue.Queue[Callable[[], None]], list[BaseException]]:
    calls: queue.Queue[Callable[[], None]] = queue.Queue()
    errors: list[BaseException] = []
    return Mailbox(calls.put, errors.append), calls, errors


def test_everything_posted_before_the_loop_comes_is_one_wake() -> None:
    mailbox, calls, _ = make()
    items = [Item() for _ in range(10)]
    for item in items:
        mailbox.post(item)
    assert (calls.qsize(), mailbox.wakes) == (1, 1)
    calls.get_nowait()()
    assert [sum(item.woken.values()) for item in items] == [1] * 10
    mailbox.post(items[0])
    assert (calls.qsize(), mailbox.wakes) == (1, 2)


def test_an_item_is_woken_once_for_each_post_in_order() -> None:
    mailbox, calls, _ = make()
    order: list[str] = []

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def on_wake(self) -> None:
            order.append(self.name)

    a, b = Named("a"), Named("b")
    for item in (a, b, a):
        mailbox.post(item)
    calls.get_nowait()()
    assert order == ["a", "b", "a"]


def test_what_is_posted_during_the_drain_is_another_wake() -> None:
    mailbox, calls, _ = make()
    second = Item()

    class Posting:
        def on_wake(self) -> None:
            mailbox.post(second)

    mailbox.post(Posting())
    calls.get_nowait()()
    assert not second.woken
    calls.get_nowait()()
    assert sum(second.woken.values()) == 1


def test_what_is_posted_while_the_drain_counts_is_not_lost() -> None:
    """A thread may come between any two steps of the loop's: here it comes at the count."""
    mailbox, calls, _ = make()
    late = [Item()]
    second = late[0]

    class Counted(deque[Posted]):
        def __len__(self) -> int:
            size = super().__len__()
            if late:
                mailbox.post(late.pop())
            return size

    mailbox._items = Counted()
    mailbox.post(Item())
    while not calls.empty():
        calls.get_nowait()()
    assert sum(second.woken.values()) == 1


def test_one_items_error_is_not_the_others() -> None:
    mailbox, calls, errors = make()
    error = RuntimeError("boom")
    items = [Item(), Item(error), Item()]
    for item in items:
        mailbox.post(item)
    calls.get_nowait()()
    assert errors == [error]
    assert [sum(item.woken.values()) for item in items] == [1, 1, 1]


def test_a_closed_loop_is_no_error() -> None:
    def closed(callback: object) -> None:
        raise RuntimeError("Event loop is closed")

    mailbox = Mailbox(closed, lambda error: None)
    mailbox.post(Item())
    mailbox.post(Item())


def test_nothing_is_lost_between_threads() -> None:
    mailbox, calls, errors = make()
    items = [Item() for _ in range(4)]
    each = 3000
    done = threading.Semaphore(0)

    def post(item: Item) -> None:
        for _ in range(each):
            mailbox.post(item)
        done.release()

    threads = [threading.Thread(target=post, args=(item,)) for item in items]
    for thread in threads:
        thread.start()
    while sum(sum(item.woken.values()) for item in items) < 4 * each:
        calls.get(timeout=WAIT)()
        assert calls.qsize() <= 1, "at most one wake is pending"
    for thread in threads:
        thread.join(WAIT)
    assert calls.empty()
    assert errors == []
    assert mailbox.wakes <= 4 * each
    assert all(set(item.woken) == {threading.current_thread()} for item in items)
