"""Which number format inference runs in, and how much memory it may take: what the machine has, and what pays there."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from cryoembed.errors import InputError

Precision = Literal["auto", "fp32", "bf16"]

LEAST_COSINE = 0.999  # bf16 has to agree with float32 at least so well
GIB = 2**30
log = logging.getLogger(__name__)


def choose_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the number format to try: ``auto`` takes bf16 only where the hardware multiplies it faster than float32.

    Raises
    ------
    InputError
        If the word is unknown.
    """
    match precision:
        case "fp32":
            return torch.float32
        case "bf16":
            return torch.bfloat16
        case "auto":
            return torch.bfloat16 if _bf16_pays(device) else torch.float32
    raise InputError(f"precision {precision!r}: expected auto, fp32 or bf16")


def agrees(result: npt.NDArray[np.float32], reference: npt.NDArray[np.float32]) -> bool:
    """Whether (c, ...) results are the same to `LEAST_COSINE`: as a whole and, for vectors, at 99 % of the places."""
    ours, theirs = (np.reshape(values, (len(values), -1)).astype(np.float64) for values in (result, reference))
    if not np.isfinite(ours).all():
        return False
    if len(ours) > 1 and np.percentile(_cosine(ours, theirs), 1) < LEAST_COSINE:
        return False
    return bool(_cosine(ours.reshape(-1, 1), theirs.reshape(-1, 1))[0] >= LEAST_COSINE)


def default_memory(device: torch.device) -> int:
    """Bytes a run may take when nobody says: 60 % of a GPU's free memory; half of the free RAM, at most 8 GiB."""
    if device.type == "cuda":
        return int(0.6 * torch.cuda.mem_get_info(device)[0])
    return min(_available_ram() // 2, 8 * GIB)


@contextmanager
def exact_float32() -> Iterator[None]:
    """Inference without gradients in which float32 means float32 (no TF32 on GPUs)."""
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def _bf16_pays(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # without these instructions bf16 is emulated, and slower than float32
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def _cosine(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cosine along the first axis; two zeros agree."""
    product = np.linalg.norm(ours, axis=0) * np.linalg.norm(theirs, axis=0)
    same = np.all(ours == theirs, axis=0)
    cosine: npt.NDArray[np.float64] = np.where(same, 1.0, np.sum(ours * theirs, axis=0) / np.maximum(product, 1e-30))
    return cosine


def _available_ram() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
