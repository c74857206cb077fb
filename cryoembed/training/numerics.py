"""Which number format a training may use: the fastest whose loss on the first batch is that of plain float32."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules.dropout import _DropoutNd

from cryoembed.training.draws import Batch

logger = logging.getLogger(__name__)

# fastest first: bf16 autocast and float32, both channels_last; float32 as it comes (NCDHW)
Format = Literal["bf16", "fp32", "plain"]
DESCRIPTIONS: dict[Format, str] = {
    "bf16": "bfloat16, channels last",
    "fp32": "float32, channels last",
    "plain": "float32",
}
TOLERANCE = 0.02


class Trial(NamedTuple):
    """One forward pass that left no trace.

    Attributes
    ----------
    loss
        Of the batch.
    scale
        What differences of the loss are measured by.
    kept
        Bytes that the backward pass would need: activations, without the parameters.
    largest
        Bytes of the largest of them.
    """

    loss: float
    scale: float
    kept: int
    largest: int


def choose_format(
    objective: nn.Module, batch: Batch, wanted: Format, everywhere: Callable[[bool], bool]
) -> tuple[Format, list[str]]:
    """Return the first format from ``wanted`` on whose loss agrees with plain float32, and warnings for the log.

    Parameters
    ----------
    objective
        In training mode; it is laid out in memory as the format wants, and otherwise left as it was.
    batch
        On the objective's device.
    everywhere
        Whether a statement holds on all processes.
    """
    lay_out(objective, "plain")
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # the yardstick is float32 on GPUs, too
        plain = try_forward(objective, batch, "plain")
    warnings: list[str] = []
    formats = get_args(Format)
    for name in formats[formats.index(wanted) : -1]:
        lay_out(objective, name)
        fast = try_forward(objective, batch, name)
        if everywhere(agree(fast, plain)):
            return name, warnings
        warnings.append(
            f"{DESCRIPTIONS[name]}: the first batch has the loss {fast.loss:.6g}, in plain float32 {plain.loss:.6g}; not used"
        )
    lay_out(objective, "plain")
    return "plain", warnings


def agree(fast: Trial, plain: Trial) -> bool:
    """Whether two losses are the same to `TOLERANCE`; where plain float32 has none, the loop will say so."""
    if not math.isfinite(plain.loss):
        return True
    return abs(fast.loss - plain.loss) <= TOLERANCE * plain.scale


def lay_out(objective: nn.Module, name: Format) -> None:
    """Order the kernels in memory: channels last, as fast convolutions want them, or as they come."""
    layout = torch.contiguous_format if name == "plain" else torch.channels_last_3d
    objective.to(memory_format=layout)  # type: ignore[call-overload]


def autocast(name: Format, device: torch.device) -> torch.autocast:
    """Convolutions and matrix products in bfloat16 where the format says so."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=name == "bf16")


def try_forward(objective: nn.Module, batch: Batch, name: Format) -> Trial:
    """Run ``objective`` as a training step would, without keeping activations, moving statistics or random numbers."""
    device = next(objective.parameters()).device
    reference: Callable[[object], StorageWeakRef] = StorageWeakRef  # a storage, told apart even when it is gone
    owned = {reference(p.untyped_storage()) for p in objective.parameters()}
    seen: dict[StorageWeakRef, int] = {}

    def count(tensor: Tensor) -> Any:
        storage = reference(tensor.untyped_storage())
        if storage not in owned:
            seen[storage] = tensor.untyped_storage().nbytes()
        return None  # kept nowhere: the forward pass takes no more memory than in inference

    with _untouched(objective, device), torch.autograd.graph.saved_tensors_hooks(count, _never):
        with autocast(name, device):
            values = objective(batch)
        loss = float(values["loss"].detach())
    # cosines of vectors start near 0 but live on the scale of 1
    scale = max(abs(loss), 1.0) if "embeddings" in values else abs(loss)
    return Trial(loss, scale, sum(seen.values()), max(seen.values(), default=0))


def _never(_: object) -> Tensor:
    raise AssertionError("there is no backward pass here")


@contextmanager
def _untouched(objective: nn.Module, device: torch.device) -> Iterator[None]:
    """Buffers and random states as before afterwards; no dropout, whose masks depend on the order in memory."""
    buffers = [buffer.clone() for buffer in objective.buffers()]
    dropouts = [part for part in objective.modules() if isinstance(part, _DropoutNd) and part.training]
    try:
        for part in dropouts:
            part.training = False
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        for part in dropouts:
            part.training = True
        with torch.no_grad():
            for buffer, before in zip(objective.buffers(), buffers, strict=True):
                buffer.copy_(before)
