"""Batches by number: what comes depends on its seed alone, however many threads draw ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
from torch import Tensor

Batch = dict[str, Tensor]
Draw = Callable[[np.random.Generator, int], Batch]


def batches_ahead(draw: Draw, seeds: Iterable[tuple[int, ...]], *, workers: int = 0) -> Generator[Batch, None, None]:
    """Yield ``draw(np.random.default_rng(seed), seed[-1])`` for each seed, in order; ``workers`` threads draw ahead.

    A seed's last number is that of the batch.
    """
    if workers == 0:
        for seed in seeds:
            yield draw(np.random.default_rng(seed), seed[-1])
        return
    remaining = iter(seeds)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Batch]] = deque()
        try:
            for seed in islice(remaining, 2 * workers):
                waiting.append(pool.submit(draw, np.random.default_rng(seed), seed[-1]))
            while waiting:
                batch = waiting.popleft().result()
                for seed in islice(remaining, 1):
                    waiting.append(pool.submit(draw, np.random.default_rng(seed), seed[-1]))
                yield batch
        finally:
            for future in waiting:
                future.cancel()
