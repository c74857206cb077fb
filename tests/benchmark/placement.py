"""How long placing takes, in what memory, how crowded it gets, and what a rotation costs beside SciPy's.

    python -m tests.benchmark.placement ../shared/data --particles 3000      # SHREC 2021: 180 x 512 x 512, 13 species
    python -m tests.benchmark.placement ../shared/data --crowding 0.8        # five size classes in 96 x 192 x 192
    python -m tests.benchmark.placement ../shared/data --rotate

Figures are of one thread: process CPU seconds after a small sample has compiled the kernels, and peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from cryoembed.config import parse_config
from cryoembed.particles import is_particle
from cryoembed.rotations import matrices_zyx, random_rotations
from cryoembed.simulate.density.phantoms import PhantomSpec, phantom
from cryoembed.simulate.density.structure_spec import StructureSpec, expand
from cryoembed.simulate.density.structures import structure_template
from cryoembed.simulate.density.template import Template, rotate
from cryoembed.simulate.scene.compose import compose
from cryoembed.simulate.scene.crowding import SIZE_CLASSES_KDA
from cryoembed.simulate.scene.sample import SampleConfig
from cryoembed.simulate.scene.truth import Scene, truth_is_consistent

VOXEL = 10.0
PDB = ("1s3x", "3qm1", "3gl1", "3h84", "2cg9", "3d2f", "1u6g", "3cf3", "1bxn", "1qvr")
MAPS = {"4cr2": 1309.0, "5mrc": 2900.0, "4v94_single": 950.0}
TOO_FEW = (15, 25, 35, 650, 800, 1500)  # kDa: phantoms for size classes that SHREC's species leave thin


def shrec_species(folder: Path) -> list[Template]:
    """The 13 species of SHREC 2021."""
    specs = [StructureSpec(path=Path(f"structures/{name}.pdb*"), split="test") for name in PDB]
    specs += [
        StructureSpec(path=Path(f"maps/10A/{name}.mrc*"), name=name, mass_kda=mass, split="test")
        for name, mass in MAPS.items()
    ]
    return [structure_template(single, VOXEL) for spec in specs for single in expand(spec, folder)]


def sample(**settings: object) -> SampleConfig:
    """Settings; the phantom in them is never used, species are handed over."""
    return parse_config(SampleConfig, {"phantoms": [{"name": "unused", "family": "blob", "mass_kda": 50}], **settings})


def timed(config: SampleConfig, templates: list[Template]) -> tuple[Scene, float]:
    compose(sample(shape=(64, 64, 64), crowding=0.3, vesicles=(1, 1), fiducials=(1, 1)), templates[:1], _generator())
    start = time.process_time()
    scene = compose(config, templates, _generator())
    return scene, time.process_time() - start


def classes_of(scene: Scene) -> dict[str, object]:
    """Particles and volume fraction of each size class."""
    mass = scene.particles.column("mass_kda", np.nan).astype(float)
    voxels = np.bincount(scene.occupancy_mask.ravel(), minlength=len(mass) + 1)[1:]
    bounds = (float("inf"), *SIZE_CLASSES_KDA)
    found = {}
    for high, low in zip(bounds, SIZE_CLASSES_KDA, strict=False):
        mine = (mass > low) & (mass <= high)
        found[f"> {low:g} kDa"] = [int(mine.sum()), round(float(voxels[mine].sum() / scene.density.size), 4)]
    return found


def rotation_ms(templates: list[Template]) -> dict[str, list[float]]:
    """Box, our and SciPy's milliseconds, largest difference."""
    found = {}
    for template in templates:
        turn = random_rotations(1, _generator())[0]
        matrix, centre = matrices_zyx(turn)[0].T, np.full(3, template.box_vox // 2)
        rotate(template, turn)
        ours, theirs = [], []
        for _ in range(10):
            start = time.process_time()
            one = rotate(template, turn)
            middle = time.process_time()
            two = ndimage.affine_transform(
                template.spline,
                matrix,
                centre - matrix @ centre,
                order=3,
                prefilter=False,
                mode="grid-constant",
                output=np.float32,
            )
            ours.append(middle - start)
            theirs.append(time.process_time() - middle)
        difference = float(np.abs(one - two).max())
        found[template.name] = [template.box_vox, 1e3 * np.median(ours), 1e3 * np.median(theirs), difference]
    return found


def _generator() -> np.random.Generator:
    return np.random.default_rng(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--particles", type=int)
    parser.add_argument("--crowding", type=float)
    parser.add_argument("--rotate", action="store_true")
    chosen = parser.parse_args()
    templates = shrec_species(chosen.data)
    if chosen.rotate:
        print(json.dumps(rotation_ms(templates), indent=1))
        return
    if chosen.particles is not None:
        count = (chosen.particles, chosen.particles)
        config = sample(shape=(180, 512, 512), particles=count, tries=1250, vesicles=(2, 7), fiducials=(7, 14))
    else:
        templates += [
            phantom(PhantomSpec(name=f"blob_{mass}", family="blob", mass_kda=mass, seed=mass), VOXEL)
            for mass in TOO_FEW
        ]
        config = sample(shape=(96, 192, 192), crowding=chosen.crowding, size_shares=(1, 1, 1, 1, 1))
    scene, seconds = timed(config, templates)
    report = {
        "cpu_s": round(seconds, 2),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "rows": len(scene.particles),
        "crowding": round(scene.crowding, 4),
        "truth_holds": bool(truth_is_consistent(scene)[is_particle(scene.particles.labels)].all()),
        "particles_and_volume_by_size": classes_of(scene),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
