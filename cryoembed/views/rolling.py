"""An endless sequence seen through a rolling window: which things batch ``n`` sees depends on ``n`` alone.

Things are numbered 0, 1, 2 ...; each is a pure function of its number, so that making them ahead in other processes
changes speed and nothing else, and a resumed training sees what an uninterrupted one does.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor

from cryoembed.errors import InputError

T = TypeVar("T")

_AHEAD = 2  # things made before they are needed, per process
_BEHIND = 4  # windows that stay at hand for threads that are late


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: sums over several differ in the last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Fixed(Generic[T]):
    """The same for every batch."""

    def __init__(self, thing: T) -> None:
        self._thing = thing

    def at(self, number: int) -> T:
        """What batch ``number`` sees."""
        return self._thing

    def __enter__(self) -> Fixed[T]:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class Rolling(Generic[T]):
    """A window of ``size`` things; after every ``every`` batches the oldest gives way to a new one.

    Parameters
    ----------
    make
        ``make(i)`` returns thing ``i``, a dataclass; importable and picklable, with a random generator of its own.
    size
        Things in the window.
    every
        Batches between two replacements.
    processes
        How many make things ahead; 0 makes them in line, when they are needed (as in workers of a `DataLoader`).
    """

    def __init__(self, make: Callable[[int], T], size: int, every: int, *, processes: int = 1) -> None:
        if size < 1 or every < 1:
            raise ValueError(f"a window of {size} things rolling every {every} batches: both must be at least 1")
        self._make, self._size, self._every, self._ahead = make, size, every, _AHEAD * processes
        self._things: dict[int, Future[Any]] = {}
        self._lock = threading.Lock()
        self._pool = None
        if processes:
            # spawned, never forked: the training has threads
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(make,))

    def at(self, number: int) -> Sequence[T]:
        """The things that batch ``number`` sees, each at the place of the one it replaced."""
        first = number // self._every
        last = first + self._size
        with self._lock:
            for old in [index for index in self._things if index < first - _BEHIND]:
                del self._things[old]
            for index in range(first, last + self._ahead):
                if index not in self._things:
                    self._things[index] = self._submit(index)
            wanted = {index % self._size: self._things[index] for index in range(first, last)}
        try:
            parcels = [wanted[place].result() for place in range(self._size)]
        except BrokenProcessPool:
            raise InputError(
                "a process that makes training data ahead was killed, most likely for want of memory; lower "
                "data.scenes or train.composers"
            ) from None
        return [cast(T, _opened(*parcel)) for parcel in parcels]

    def _submit(self, index: int) -> Future[Any]:
        if self._pool is not None:
            return self._pool.submit(_made, index)
        done: Future[Any] = Future()
        with one_thread():  # as in the processes
            done.set_result(_parcel(self._make(index)))
        return done

    def __enter__(self) -> Rolling[T]:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


_maker: Callable[[int], Any]


def _begin(make: Callable[[int], Any]) -> None:
    """Start of a process: one thread, deaf to Ctrl-C, gone when its parent is."""
    global _maker
    _maker = make
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("cryoembed").setLevel(logging.ERROR)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _made(index: int) -> tuple[Any, tuple[str, ...]]:
    return _parcel(_maker(index))


def _parcel(thing: Any) -> tuple[Any, tuple[str, ...]]:
    """A dataclass with arrays in place of tensors: those would travel as file descriptors, of which there are few."""
    tensors = {field.name: getattr(thing, field.name) for field in fields(thing)}
    arrays = {name: value.numpy() for name, value in tensors.items() if isinstance(value, Tensor)}
    return replace(thing, **arrays), tuple(arrays)


def _opened(thing: Any, names: tuple[str, ...]) -> Any:
    return replace(thing, **{name: torch.from_numpy(getattr(thing, name)) for name in names})
