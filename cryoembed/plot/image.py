"""2D arrays as small pictures: grey values to 8 bits, shrunk, PNG in a data URI (a heatmap's JSON is far larger)."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cryoembed.io.atomic import replacing

Grey = npt.NDArray[np.uint8]
CLIP_PERCENTILES = (0.5, 99.5)


def to_grey(image_yx: npt.NDArray[Any], *, percentiles: tuple[float, float] = CLIP_PERCENTILES) -> Grey:
    """Scale a 2D array to 0..255 between two of its percentiles; non-finite values and constant images are mid-grey."""
    values = np.asarray(image_yx, dtype=np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        return np.full(values.shape, 128, dtype=np.uint8)
    low, high = np.percentile(values[finite], percentiles)
    if high <= low:  # a mask or a lone spot: nearly all pixels are equal
        low, high = values[finite].min(), values[finite].max()
    if high <= low:
        return np.full(values.shape, 128, dtype=np.uint8)
    scaled = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(np.where(finite, scaled * 255 + 0.5, 128), dtype=np.uint8)


def shrink(image_yx: npt.NDArray[Any], max_side: int) -> npt.NDArray[np.float32]:
    """Average blocks of whole pixels until no side is longer than ``max_side``; the remainder's blocks are smaller."""
    values = np.asarray(image_yx, dtype=np.float32)
    factor = -(-max(values.shape) // max_side)
    if factor <= 1:
        return values
    starts = [np.arange(0, size, factor) for size in values.shape]
    sums = np.add.reduceat(np.add.reduceat(values, starts[0], axis=0), starts[1], axis=1)
    counts = [np.diff(np.r_[start, size]) for start, size in zip(starts, values.shape, strict=True)]
    return np.asarray(sums / np.outer(*counts), dtype=np.float32)


def data_uri(grey: Grey) -> str:
    """PNG data URI of a (y, x) or (y, x, 3) uint8 image; row 0 is on top."""
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def write_png(path: Path, image: Grey) -> None:
    """Write a (y, x) or (y, x, 3) uint8 image, row 0 on top; the file appears whole or not at all."""
    with replacing(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG", optimize=True)


def tile_images(images: Sequence[Grey], *, columns: int, gap: int = 2) -> Grey:
    """Put equally large grey images into rows of ``columns`` with a white gap."""
    height, width = images[0].shape
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), 255, dtype=np.uint8)
    for at, image in enumerate(images):
        y, x = at // columns * (height + gap), at % columns * (width + gap)
        sheet[y : y + height, x : x + width] = image
    return sheet
