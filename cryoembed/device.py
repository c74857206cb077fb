"""Which device a user means: ``auto | cpu | cuda | cuda:i``, checked against what the machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryoembed.errors import InputError

if TYPE_CHECKING:
    import torch


def choose_device(name: str = "auto") -> torch.device:
    """Return the device called ``auto | cpu | cuda | cuda:i``; auto is the first GPU, or the CPU where there is none.

    Raises
    ------
    InputError
        If a GPU is asked for that torch cannot use, or the name is no device.
    """
    import torch  # here: who computes on the CPU without torch needs none

    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind == "cpu" and not number:
        return torch.device("cpu")
    if kind != "cuda" or (number and not number.isdecimal()):
        raise InputError(f"device {name!r}: expected auto, cpu, cuda or cuda:0, cuda:1, ...")
    if not torch.cuda.is_available():
        why = "this torch is built for the CPU" if torch.version.cuda is None else "no NVIDIA GPU or driver is visible"
        raise InputError(f"device {name!r}: no CUDA GPU can be used ({why}); take --device cpu or auto")
    index, count = int(number or 0), torch.cuda.device_count()
    if index >= count:
        raise InputError(f"device {name!r}: there are {count} GPUs, cuda:0 to cuda:{count - 1}")
    return torch.device("cuda", index)
