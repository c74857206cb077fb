"""Query by example on boxes that were imaged alone, not cut from tomograms: what the colour of the noise does to an SNR.

    python -m tests.benchmark.boxes_alone ../shared/data

The species of SHREC 2021, 60 boxes each and 195 of nothing, through the microscope of two filters that trainings use:
tilts to 60 degrees, a defocus of 2 to 4 um, centres off by up to a voxel, up to 3 neighbours, no other nuisance. An SNR
is the variance of the signal inside the median species' mask over that of the noise (in tomograms: inside all masks).
What differs between the tables is which frequencies the noise is at:

- ``white``: every frequency outside the wedge alike;
- ``back-projected``: amplitude ~ the square root of the distance from the tilt axis, signal and noise falling off softly
  towards Nyquist, as in a tomogram of weighted back-projection; more of the same variance is then where particles
  have their signal.

`unseen_species` has the same species, methods and scores in tomograms.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoembed.evaluate.table import as_text
from cryoembed.simulate.density.template import Template
from cryoembed.views.imaging import ImagingRanges
from cryoembed.views.pool import SubtomogramConfig, SubtomogramPool, build_pool
from cryoembed.views.rendering import OVERSAMPLING
from cryoembed.views.subtomograms import draw_boxes
from tests.benchmark.few_shot import BACKGROUND, few_shot
from tests.benchmark.true_maps import maps
from tests.benchmark.unseen_species import Boxes, baselines, encoder, rows_of

COPIES, EMPTY, CHUNK = 60, 195, 64
SNRS = {"clean": 1e4, "0.5": 0.5, "0.1": 0.1}
ONE = (1.0, 1.0)
NONE = (0.0, 0.0)
NOISES = {
    "white": {"noise_ramp": NONE, "soft_filter": NONE},
    "back-projected": {"noise_ramp": (0.5, 0.5), "soft_filter": (2.5, 2.5)},
}


def imaging(noise: str, snr: float) -> ImagingRanges:
    """One microscope but for its defocus."""
    return ImagingRanges(
        snr=(snr, snr), tilt_max_deg=(60.0, 60.0), axis_jitter_deg=0, tilt_falloff=NONE, defocus_um=(2.0, 4.0),
        ctf_probability=1, phase_flip_probability=0, amplitude_contrast=(0.07, 0.07), envelope=NONE, noise_slope=NONE,
        noise_rise=NONE, band_limit_probability=0, contrast_gain=ONE, clip_sigma=(5.0, 5.0), **NOISES[noise],
    )  # fmt: skip


def drawn(
    pool: SubtomogramPool, config: SubtomogramConfig, templates: list[Template]
) -> tuple[Boxes, npt.NDArray[np.str_]]:
    """(n, box, box, box) and their labels; neighbours of a box are other species of its batch, so rows are shuffled."""
    first = len(pool.templates) - len(templates)
    rows = np.repeat(np.arange(first, first + len(templates)), COPIES)
    rows = np.concatenate([rows, np.full(EMPTY, len(pool.templates))])
    generator = np.random.default_rng(13)
    generator.shuffle(rows)
    parts = [draw_boxes(pool, config, rows[i : i + CHUNK], generator).numpy() for i in range(0, len(rows), CHUNK)]
    names = np.array([*(template.name for template in templates), BACKGROUND])
    return np.concatenate(parts), names[rows - first]


def main() -> None:
    """Print a table for each kind of noise and each SNR."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", type=Path, help="folder of structures and maps")
    parser.add_argument("--weights", nargs="+", default=["subtomogram_small"])
    parser.add_argument("--noise", nargs="+", default=list(NOISES), choices=list(NOISES))
    parser.add_argument("--snr", nargs="+", default=list(SNRS), choices=list(SNRS))
    asked = parser.parse_args()
    methods = {name: encoder(name) for name in asked.weights} | baselines()
    base = SubtomogramConfig(
        phantoms=2, shift_vox=1, large_shift_probability=0, neighbours=3, membrane_probability=0, fill=(0.1, 0.1)
    )
    templates = maps(asked.structures, voxel_size=base.voxel_size / OVERSAMPLING)
    masses = {template.name: template.mass_kda for template in templates}
    pool = build_pool(base, templates)
    for noise in asked.noise:
        for snr in asked.snr:
            made, rows = {}, []
            for name, method in methods.items():
                flatten = method.inputs.flatten
                if flatten not in made:
                    config = base.model_copy(update={"imaging": imaging(noise, SNRS[snr]), "flatten": flatten})
                    made[flatten] = drawn(pool, config, templates)
                boxes, labels = made[flatten]
                score = few_shot(method.embed(boxes), labels, examples=5, draws=10, seed=0)
                rows.append(rows_of(name, None, {5: score}, masses))
            print(f"\n{noise} noise, snr_particle {snr}: {len(labels)} boxes", flush=True)
            print(as_text(rows), flush=True)


if __name__ == "__main__":
    main()
