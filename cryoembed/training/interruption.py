"""Signals that ask a training to stop: Ctrl-C, and SIGTERM or SIGUSR1 as Slurm and torchrun send them."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
ONE_PRESS_S = 2.0  # torchrun passes Ctrl-C on to processes that the terminal has told already


@contextmanager
def interruption() -> Iterator[Callable[[], bool]]:
    """Yield a question: has a stop been asked for? The first asks for a checkpoint, a later Ctrl-C stops at once."""
    asked: list[float] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: bool(asked)
        return

    def stop(number: int, _: object) -> None:
        if asked and number == signal.SIGINT and time.monotonic() - asked[0] > ONE_PRESS_S:
            raise KeyboardInterrupt
        if not asked:
            asked.append(time.monotonic())
            logger.warning(
                "%s: writing a checkpoint after this step (Ctrl-C stops at once)", signal.Signals(number).name
            )

    before = {number: signal.signal(number, stop) for number in ASKING}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
