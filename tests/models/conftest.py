"""Shapes in signatures of the networks are checked while these tests run, unless something imported them before."""

from __future__ import annotations

import jaxtyping
import pytest
import torch

jaxtyping.install_import_hook(["cryoembed.models", "cryoembed.losses"], "beartype.beartype")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
