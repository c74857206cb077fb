"""CPU seconds per rotation of template matching against the usual ways, on one scene, in one process.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m tests.benchmark.template_matching --shape 96 192 192

*naive*: the mask is turned with the template, so that each rotation takes two transforms forward (template, mask) and
three back (correlation, local mean, local square). *plain*: a spherical mask, one transform of the whole volume's size
each way. Both use scipy.fft in float32 at the same sizes as ours and the same template code. *band-limited* is our search
on voxels twice as large. With ``--search`` all rotations of a grid are searched, and the planted particles counted among
as many picks.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import fft, ndimage
from scipy.spatial.transform import Rotation

from cryoembed import rotations
from cryoembed.evaluate.distance import score_distance
from cryoembed.matching.band import coarser
from cryoembed.matching.peaks import peaks
from cryoembed.matching.search import MatchMap, match_template
from cryoembed.matching.template import Probe, probe, wedge
from cryoembed.particles import Particles
from cryoembed.simulate.density.phantoms import PhantomSpec, phantom
from cryoembed.simulate.density.template import Template, rotate

Array = np.ndarray
VOXEL, TILT, NAME = 10.0, 60.0, "scene"


def scene(shape: tuple[int, ...], species: Template, snr: float, rng: np.random.Generator) -> tuple[Array, Particles]:
    """Particles on a jittered lattice, and noise, through one wedge; SNR as variances inside the particles' spheres."""
    box, density, inside = species.box_vox, np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=bool)
    lattice = [np.arange(box // 2 + 2, size - box // 2 - 2, box + 6) for size in shape]
    centres = np.stack(np.meshgrid(*lattice, indexing="ij"), axis=-1).reshape(-1, 3)
    centres = centres + rng.integers(-2, 3, centres.shape)
    turns = rotations.random_rotations(len(centres), rng)
    along = np.arange(box) - box // 2
    ball = along[:, None, None] ** 2 + along[:, None] ** 2 + along**2 <= (species.radius / VOXEL) ** 2
    for centre, turn in zip(centres, turns, strict=True):
        part = tuple(slice(at - box // 2, at - box // 2 + box) for at in centre)
        density[part] += rotate(species, turn)
        inside[part] |= ball
    through = wedge((shape[0], shape[1], shape[2]), TILT)

    def seen(volume: Array) -> Array:
        return np.asarray(fft.irfftn(fft.rfftn(volume) * through, shape))

    signal, noise = seen(density), seen(rng.standard_normal(shape, dtype=np.float32))
    noise *= np.sqrt(signal[inside].var() / snr) / noise.std()
    return signal + noise, Particles.from_arrays(NAME, centres * VOXEL, rotations=turns)


class Peer:
    """The usual ways: whole transforms each time."""

    def __init__(self, volume: Array, prepared: Probe) -> None:
        self.prepared, self.shape = prepared, volume.shape
        reach = prepared.reach
        self.grid = [int(fft.next_fast_len(size + reach, real=axis == 2)) for axis, size in enumerate(volume.shape)]
        data = np.zeros(self.grid, dtype=np.float32)
        data[tuple(slice(reach, reach + size) for size in volume.shape)] = (volume - volume.mean()) / volume.std()
        self.spectrum, self.square = fft.rfftn(data), fft.rfftn(data * data)
        self.variance = self._variance(fft.rfftn(prepared.mask.astype(np.float32), self.grid), prepared.mask.sum())

    def plain(self, turns: Rotation) -> MatchMap:
        """One forward and one inverse transform per rotation."""
        best, row = self._none()
        for number, turn in enumerate(turns):
            found = self._back(np.conj(fft.rfftn(self.prepared.kernel(turn), self.grid)) * self.spectrum)
            self._keep(best, row, found, number)
        return MatchMap(best / np.sqrt(self.variance), row)

    def naive(self, turns: Rotation) -> MatchMap:
        """Two forward and three inverse transforms per rotation."""
        best, row = self._none()
        mask = self.prepared.mask.astype(np.float32)
        middle = np.full(3, self.prepared.reach)
        for number, turn in enumerate(turns):
            matrix = rotations.matrices_zyx(turn)[0].T
            turned = ndimage.affine_transform(mask, matrix, middle - matrix @ middle, order=1)
            variance = self._variance(fft.rfftn(turned, self.grid), float(turned.sum()))
            found = self._back(np.conj(fft.rfftn(self.prepared.kernel(turn), self.grid)) * self.spectrum)
            self._keep(best, row, found / np.sqrt(variance), number)
        return MatchMap(best, row)

    def _variance(self, mask: Array, total: float) -> Array:
        mean, square = (self._back(np.conj(mask) * part) / np.float32(total) for part in (self.spectrum, self.square))
        return np.maximum(square - mean * mean, np.float32(1e-4))

    def _back(self, spectrum: Array) -> Array:
        found = fft.irfftn(spectrum, self.grid)
        return np.asarray(found[tuple(slice(0, size) for size in self.shape)])

    def _none(self) -> tuple[Array, Array]:
        return np.full(self.shape, -np.inf, dtype=np.float32), np.zeros(self.shape, dtype=np.int32)

    @staticmethod
    def _keep(best: Array, row: Array, found: Array, number: int) -> None:
        better = found > best
        best[better] = found[better]
        row[better] = number


def per_rotation(search: Callable[[Rotation], MatchMap], turns: Rotation, repeats: int) -> tuple[MatchMap, float]:
    """The map of all rotations, and the median of CPU seconds per rotation without what is done once."""
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        search(turns[:1])
        once = time.process_time() - started
        match = search(turns)
        seconds.append((time.process_time() - started - 2 * once) / (len(turns) - 1))
    return match, statistics.median(seconds)


def measure(
    shape: tuple[int, ...], *, turns: int, repeats: int, step_deg: float | None = None, snr: float = 0.5
) -> dict[str, dict[str, float]]:
    """A row per method."""
    rng = np.random.default_rng(0)
    species = phantom(PhantomSpec(name="probe", family="two_body", mass_kda=800, seed=3), VOXEL)
    volume, truth = scene(shape, species, snr, rng)
    radius = species.radius / VOXEL
    coarse_volume, coarse_template = coarser(volume, species.density, 2)
    peer = Peer(volume, probe(species.density, mask_radius_vox=radius, tilt_max_deg=TILT))

    def ours(asked: Rotation) -> MatchMap:
        return match_template(volume, species.density, asked, mask_radius_vox=radius, tilt_max_deg=TILT)

    def band(asked: Rotation) -> MatchMap:
        return match_template(coarse_volume, coarse_template, asked, mask_radius_vox=radius / 2, tilt_max_deg=TILT)

    some = rotations.random_rotations(turns, rng)
    searches = {"naive": peer.naive, "plain": peer.plain, "ours": ours, "ours, band-limited": band}
    rows: dict[str, dict[str, float]] = {}
    maps = {}
    for name, search in searches.items():
        maps[name], seconds = per_rotation(search, some, repeats)
        rows[name] = {"cpu_ms": 1e3 * seconds}
    for name, row in rows.items():
        row["faster_than_naive"] = rows["naive"]["cpu_ms"] / row["cpu_ms"]
        row["faster_than_plain"] = rows["plain"]["cpu_ms"] / row["cpu_ms"]
        if maps[name].score.shape == volume.shape:
            row["score_correlation"] = float(np.corrcoef(maps[name].score.ravel(), maps["naive"].score.ravel())[0, 1])
    if step_deg is not None:
        grid = rotations.grid(step_deg)
        for name, voxel in (("ours", VOXEL), ("ours, band-limited", 2 * VOXEL)):
            started = time.process_time()
            picks = peaks(
                searches[name](grid), grid, voxel, tomogram=NAME, min_distance=species.radius, count=len(truth)
            )
            rows[name] |= {"search_cpu_s": time.process_time() - started, "rotations": len(grid)}
            rows[name]["recall"] = score_distance(picks, truth, radius=species.radius / 2).recall
    return rows


def table(rows: dict[str, dict[str, float]]) -> str:
    """The rows as text."""
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    lines = [f"{'method':<20}" + "".join(f"{name:>19}" for name in columns)]
    for name, row in rows.items():
        lines.append(f"{name:<20}" + "".join(f"{row[key]:>19.4g}" if key in row else f"{'':>19}" for key in columns))
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(96, 192, 192), metavar=("Z", "Y", "X"))
    parser.add_argument("--rotations", type=int, default=11, help="that are timed")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--search", type=float, metavar="DEG", help="also search a whole grid of this angular step")
    parser.add_argument("--snr", type=float, default=0.5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    settings = parser.parse_args()
    rows = measure(
        tuple(settings.shape),
        turns=settings.rotations,
        repeats=settings.repeats,
        step_deg=settings.search,
        snr=settings.snr,
    )
    print(table(rows))
    if settings.json:
        described = {name: str(value) for name, value in vars(settings).items()}
        settings.json.write_text(json.dumps({"settings": described, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
