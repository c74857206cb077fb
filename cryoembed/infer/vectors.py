"""Boxes to vectors: batches through the subtomogram network, one L2-normalised vector per box."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryoembed.device import choose_device
from cryoembed.errors import InputError
from cryoembed.infer.device import Precision, agrees, choose_precision, exact_float32
from cryoembed.models.encoder import SubtomogramEncoder
from cryoembed.models.fold import fold_batchnorm
from cryoembed.rotations import HALF_TURNS

Boxes = npt.NDArray[Any]  # (n, box, box, box)
Vectors = npt.NDArray[np.float32]  # (n, d)
Copies = Literal[1, 4]

TRIAL_BOXES = 4
log = logging.getLogger(__name__)


def embed_boxes(
    model: SubtomogramEncoder,
    boxes: Boxes | Iterable[Boxes],
    *,
    device: str = "auto",
    precision: Precision = "auto",
    batch: int = 16,
    copies: Copies = 1,
) -> Vectors:
    """Embed cut boxes.

    Parameters
    ----------
    model
        A subtomogram encoder of any kind; it is not changed.
    boxes
        (n, box, box, box) with particles bright, as the model card says, or an iterator of such arrays, which are read
        one after the other.
    device, precision
        See `infer.device`; bf16 is kept where it agrees with float32 on the first boxes to a cosine of 0.999.
    batch
        Boxes per pass.
    copies
        1, or 4 to average over the half turns about z, y and x, which keep the missing wedge. Vectors made with
        another number of copies are another layer: record it with them.

    Returns
    -------
    (n, d) float32, L2-normalised, in the order of the boxes.

    Raises
    ------
    InputError
        If boxes are not cubes of the model's size, hold NaN or infinite values, or a setting makes no sense.
    """
    if batch < 1 or copies not in (1, 4):
        raise InputError(f"batch {batch}, copies {copies}: expected a batch of at least 1, and 1 or 4 copies")
    target = choose_device(device)
    batches = _batches([boxes] if isinstance(boxes, np.ndarray) else boxes, batch, model.config.box_vox)
    first = next(batches, None)
    if first is None:
        return np.empty((0, model.config.embedding_dim), dtype=np.float32)
    with exact_float32():
        network = _network(model, first[:TRIAL_BOXES], target, choose_precision(precision, target))
        vectors = [_embed(network, part.to(target), copies) for part in itertools.chain([first], batches)]
        return torch.cat(vectors).cpu().numpy()


def half_turned(boxes: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Turn boxes by 180 degrees about the axis that is not flipped, keeping index ``n // 2``, their centre, in place.

    On an even side the flipped box is shifted by one voxel, so that plane 0, which has no counterpart, maps to itself.
    """
    if not axes:
        return boxes
    shifts = [1 - boxes.shape[axis] % 2 for axis in axes]
    return torch.roll(torch.flip(boxes, axes), shifts, axes)


def _batches(arrays: Iterable[Boxes], batch: int, box_vox: int) -> Iterator[Tensor]:
    for array in arrays:
        if array.ndim != 4 or array.shape[1:] != (box_vox,) * 3:
            raise InputError(f"expected boxes of shape (n, {box_vox}, {box_vox}, {box_vox}), got {array.shape}")
        for start in range(0, len(array), batch):
            part = np.ascontiguousarray(array[start : start + batch], dtype=np.float32)
            if not np.isfinite(part).all():
                bad = np.flatnonzero(~np.isfinite(part).all(axis=(1, 2, 3)))[0]
                raise InputError(f"box {start + bad} holds NaN or infinite values; prepare the tomogram before cutting")
            yield torch.from_numpy(part)[:, None]


def _network(model: SubtomogramEncoder, trial: Tensor, device: torch.device, dtype: torch.dtype) -> SubtomogramEncoder:
    """The folded network in the fastest form that agrees with the plain one on a few boxes."""
    trial = trial.to(device)
    reference = copy.deepcopy(model).to(device).eval().embed(trial)
    network = fold_batchnorm(model).to(device)
    for part in network.fast_parts:
        part.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    if dtype == torch.bfloat16:
        fast = copy.deepcopy(network)
        for part in fast.fast_parts:  # pooling and projector stay in float32
            part.to(dtype)
        if agrees(fast.embed(trial.to(dtype)).T.cpu().numpy(), reference.T.cpu().numpy()):
            return fast
        log.warning("self-check: bf16 disagrees with float32 on the first boxes; embedding in float32")
    return network


def _embed(network: SubtomogramEncoder, boxes: Tensor, copies: Copies) -> Tensor:
    boxes = boxes.to(next(network.backbone.parameters(), boxes).dtype).contiguous(memory_format=torch.channels_last_3d)
    vectors = torch.stack([network.embed(half_turned(boxes, axes)) for axes in HALF_TURNS[:copies]])
    return torch.nn.functional.normalize(vectors.mean(dim=0), dim=1)
