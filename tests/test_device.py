"""Devices by name, as far as a machine without a GPU can tell."""

from __future__ import annotations

import pytest
import torch

from cryoembed.device import choose_device
from cryoembed.errors import InputError


def test_a_missing_gpu_is_an_error_and_auto_is_not(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    for name in ("cuda", "cuda:0"):
        with pytest.raises(InputError, match="no CUDA GPU"):
            choose_device(name)
    for name in ("gpu", "cpu:1", "cuda:x", ""):
        with pytest.raises(InputError, match="expected auto, cpu, cuda"):
            choose_device(name)
