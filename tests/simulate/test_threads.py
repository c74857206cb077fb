"""Work is shared out between threads, all of it, and its errors come back."""

from __future__ import annotations

import threading

import pytest

from cryoembed.simulate.threads import in_threads, usable_threads


@pytest.mark.parametrize(("threads", "most"), [(1, None), (3, None), (None, None), (3, 1)])
def test_every_item_is_worked_on_once(threads, most):
    done: list[int] = []
    in_threads(done.append, range(20), threads, most=most)
    assert sorted(done) == list(range(20))


def test_no_more_threads_run_than_may():
    names: set[str] = set()
    in_threads(lambda _: names.add(threading.current_thread().name), range(50), 8, most=2)
    assert len(names) <= 2


def test_an_error_in_a_thread_is_an_error_of_the_work():
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda number: print(1 // number), range(3), 2)
    assert usable_threads() >= 1
