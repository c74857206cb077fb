"""One vector per box, in order, normalised; half turns keep the centre and make the vector blind to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoembed.errors import InputError
from cryoembed.infer.device import agrees, choose_precision
from cryoembed.infer.vectors import embed_boxes, half_turned
from cryoembed.rotations import HALF_TURNS

FP32 = {"device": "cpu", "precision": "fp32"}


def some_boxes(count: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((count, 24, 24, 24)).astype(np.float32)


def test_vectors_are_those_of_the_network_in_order(boxes_network):
    boxes = some_boxes(7)
    with torch.inference_mode():
        expected = boxes_network.embed(torch.from_numpy(boxes)[:, None]).numpy()
    vectors = embed_boxes(boxes_network, boxes, batch=3, **FP32)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    streamed = embed_boxes(boxes_network, (boxes[start : start + 2] for start in range(0, 7, 2)), **FP32)
    np.testing.assert_allclose(streamed, expected, atol=1e-5)


def test_bf16_vectors_agree(boxes_network):
    boxes = some_boxes(4)
    exact, fast = (embed_boxes(boxes_network, boxes, device="cpu", precision=kind) for kind in ("fp32", "bf16"))
    assert np.sum(exact * fast, axis=1).min() >= 0.999


def test_no_boxes_give_no_vectors(boxes_network):
    assert embed_boxes(boxes_network, some_boxes(0), **FP32).shape == (0, 16)
    assert embed_boxes(boxes_network, iter(()), **FP32).shape == (0, 16)


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("axes", HALF_TURNS[1:])
def test_half_turns_keep_the_centre_and_undo_themselves(side, axes):
    box = torch.randn(1, 1, side, side, side)
    turned = half_turned(box, axes)
    assert turned[0, 0, side // 2, side // 2, side // 2] == box[0, 0, side // 2, side // 2, side // 2]
    assert not torch.equal(turned, box)
    assert torch.equal(half_turned(turned, axes), box)


def test_four_copies_are_blind_to_half_turns(boxes_network):
    boxes = some_boxes(2)
    turned = half_turned(torch.from_numpy(boxes), (-3, -1)).numpy()
    four = [embed_boxes(boxes_network, one, copies=4, **FP32) for one in (boxes, turned)]
    one = [embed_boxes(boxes_network, one, copies=1, **FP32) for one in (boxes, turned)]
    np.testing.assert_allclose(four[0], four[1], atol=1e-5)
    assert np.abs(one[0] - one[1]).max() > 1e-4


def test_unusable_boxes_are_explained(boxes_network):
    with pytest.raises(InputError, match=r"\(n, 24, 24, 24\)"):
        embed_boxes(boxes_network, np.zeros((2, 16, 16, 16), np.float32), **FP32)
    bad = some_boxes(3)
    bad[1, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="box 1 holds NaN"):
        embed_boxes(boxes_network, bad, **FP32)
    with pytest.raises(InputError, match="copies"):
        embed_boxes(boxes_network, some_boxes(1), copies=2, **FP32)


def test_precision_follows_the_word_and_auto_the_hardware(monkeypatch):
    cpu = torch.device("cpu")
    assert choose_precision("fp32", cpu) == torch.float32
    assert choose_precision("bf16", cpu) == torch.bfloat16
    monkeypatch.setattr("cryoembed.infer.device._bf16_pays", lambda _: False)
    assert choose_precision("auto", cpu) == torch.float32


def test_agreement_sees_a_few_percent_of_wrong_vectors_and_non_numbers():
    reference = np.random.default_rng(0).standard_normal((8, 1000)).astype(np.float32)
    assert agrees(reference * np.float32(1.001), reference)
    wrong = reference.copy()
    wrong[:, :30] *= -1
    assert not agrees(wrong, reference)
    wrong[0, 0] = np.nan
    assert not agrees(wrong, reference)
