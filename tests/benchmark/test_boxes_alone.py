"""Boxes imaged alone: as many of each species as promised, and noise at the frequencies its name says."""

from __future__ import annotations

import numpy as np

from cryoembed.simulate.density.phantoms import phantom, random_spec
from cryoembed.views.pool import SubtomogramConfig, build_pool
from tests.benchmark.boxes_alone import COPIES, EMPTY, drawn, imaging
from tests.benchmark.few_shot import BACKGROUND


def test_boxes_are_labelled_and_back_projected_noise_is_at_lower_frequencies() -> None:
    generator = np.random.default_rng(0)
    templates = [phantom(random_spec(generator, mass_range_kda=(300, 600)), 5.0, resolution=16.0) for _ in range(2)]
    config = SubtomogramConfig(phantoms=2, neighbours=0, membrane_probability=0, fill=(0.1, 0.1))
    pool = build_pool(config, templates)
    frequency = np.sqrt(sum(np.square(axis) for axis in np.meshgrid(*[np.fft.fftfreq(32)] * 3)))
    low_share = {}
    for noise in ("white", "back-projected"):
        boxes, labels = drawn(pool, config.model_copy(update={"imaging": imaging(noise, 0.1)}), templates)
        names, counts = np.unique(labels, return_counts=True)
        expected = {templates[0].name: COPIES, templates[1].name: COPIES, BACKGROUND: EMPTY}
        assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == expected
        power = np.square(np.abs(np.fft.fftn(boxes[labels == BACKGROUND], axes=(1, 2, 3)))).mean(axis=0)
        low_share[noise] = power[frequency < 0.25].sum() / power.sum()
    assert low_share["back-projected"] > 1.5 * low_share["white"]

    boxes, labels = drawn(pool, config.model_copy(update={"imaging": imaging("white", 1e4)}), templates)
    middle = boxes[:, 12:20, 12:20, 12:20].mean(axis=(1, 2, 3))
    for template in templates:  # a particle is where its label says there is one
        assert np.mean(middle[labels == template.name]) > np.mean(middle[labels == BACKGROUND]) + 0.5
