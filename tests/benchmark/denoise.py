"""Denoisers with and without clean truth, on a simulated tomogram (against its clean one) and on a recorded series.

    python -m tests.benchmark.denoise ../shared/data/tomograms/emp10499 --out runs/denoise

Simulated (configs/simulate_demo.yaml, 64 x 128 x 128 voxels of 10 A, ``snr_particle`` 0.5, halves of even and odd
tilts): correlation with the clean tomogram (all rows; the rows held out of the trainings; inside dilated particle
masks) and with the sample's density, PSNR after the best linear fit of grey values, and the resolution at which the
Fourier shell correlation with the clean tomogram falls below 0.5. The Gaussian's width is chosen on the clean tomogram:
no user can choose it so well.

Recorded (EMPIAR-10499 00254, 64 x 128 x 128 voxels of 10 A): there is no clean tomogram, and how well two denoised
halves agree tells nothing (a network that always paints the same cell would agree with itself). Instead the *noisy* odd
half is predicted from the denoised even half: the share of its variance that is explained, in the rows held out of the
training, after a linear fit on the other rows. Noise of its own cannot be predicted, so only signal counts. Halves of
tilts 6 degrees apart share signal at low frequencies only (their shell correlation is printed: near 0 or below it from
about 160 A on), so the share is small for every method; movie frames would be needed for more.

Trainings that ``--out`` holds already are kept; then the CPU seconds in ``figures.json`` are
not those of the training.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation, gaussian_filter

from cryoembed.config import load_config
from cryoembed.io.mrc import read_mrc, read_tomogram, write_mrc
from cryoembed.plot.image import tile_images, to_grey
from cryoembed.preprocess.config import InputConfig
from cryoembed.preprocess.prepare import prepare
from cryoembed.recipes.denoise import DenoiseConfig, denoise
from cryoembed.recipes.self_denoise import SelfDenoiseConfig, self_denoise
from cryoembed.simulate.dataset import DatasetConfig
from cryoembed.simulate.folders import simulate_dataset
from cryoembed.simulate.imaging.weighted_backprojection import reconstruct
from tests.benchmark.reconstruct_emp10499 import SHAPE, correlation, read_series

Array = np.ndarray
CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SIGMAS = (0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0)  # voxels
HELD_OUT = 48  # rows: a crop of the configs
REGION = (88, 160, 224), (64, 128, 128)  # first voxel and shape of the recorded part, 10 A
STEPS = {"noise2noise_simulated": 300, "blind_spot_simulated": 100, "noise2noise_recorded": 100}
SIMULATED = (
    "models=1", "test=0", "shape=[64,128,128]", "write_halves=true", "imaging.halves=tilts", "imaging.snr_particle=[0.5,0.5]",
)  # fmt: skip


def bright(path: Path, contrast: str) -> Array:
    """A tomogram as networks see it."""
    return np.asarray(prepare(read_tomogram(path), InputConfig(), contrast=contrast).tomogram.data)  # type: ignore[arg-type]


def trained(out: Path, name: str, method: str, data: str) -> tuple[Path, float]:
    """Weights trained by the committed config for `STEPS`, and its CPU seconds."""
    schedule = [f"train.steps={STEPS[name]}", f"train.warmup_steps={STEPS[name] // 6}"]
    overrides = [data, *schedule, f"out={out / name}", "train.device=cpu"]
    start = time.process_time()
    print(self_denoise(load_config(SelfDenoiseConfig, CONFIGS / f"train_{method}_small.yaml", overrides)), flush=True)
    return out / name / "weights.safetensors", time.process_time() - start


def denoised(out: Path, weights: str | Path, contrast: str, *files: Path) -> Array:
    """One tomogram through a network, or two halves averaged."""
    inputs = {"tomograms": files} if len(files) == 1 else {"even": files[0], "odd": files[1]}
    denoise(DenoiseConfig(**inputs, out=out, weights=str(weights), contrast=contrast, device="cpu"))  # type: ignore[arg-type]
    (path,) = out.glob("*_denoised.mrc")
    return np.asarray(read_mrc(path)[0], dtype=np.float32)


def simulate(out: Path) -> Path:
    """The folder of the simulated model."""
    config = load_config(DatasetConfig, CONFIGS / "simulate_demo.yaml", SIMULATED)
    simulate_dataset(config, out / "sim")
    return out / "sim" / "model_0"


def record(folder: Path, out: Path) -> tuple[Path, Path]:
    """Even and odd halves of the recorded series, reconstructed by our code."""
    paths = (out / "recorded" / "even.mrc", out / "recorded" / "odd.mrc")
    if not all(path.exists() for path in paths):
        images, geometry = read_series(folder)
        first, shape = REGION
        centre = tuple(float(size // 2 - start) for size, start in zip(SHAPE, first, strict=True))
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        for path in paths:
            half = reconstruct(images, geometry, shape, 10.0, centre=centre, tilts=path.stem, threads=1)  # type: ignore[arg-type]
            write_mrc(path, half, 10.0)
    return paths


def told_by_neighbours(noise: Array, clean: Array, reach: tuple[int, int, int]) -> float:
    """Share of a voxel's noise that the best linear guess of the voxel gives back, a block about it being hidden."""
    parts = [np.fft.rfftn(volume - volume.mean()) for volume in (noise, clean)]
    of_noise, of_both = (
        np.fft.irfftn(power, s=noise.shape, axes=(0, 1, 2))
        for power in (np.abs(parts[0]) ** 2, np.abs(parts[0]) ** 2 + np.abs(parts[1]) ** 2)
    )
    around = np.indices((17, 9, 11)).reshape(3, -1).T - (8, 4, 5)
    seen = around[np.any(np.abs(around) > reach, axis=1)]
    seen = np.random.default_rng(0).permutation(seen)[:900]
    lags = tuple((seen[:, None] - seen[None]).transpose(2, 0, 1))
    weights = np.linalg.solve(of_both[lags] + 1e-4 * of_both[0, 0, 0] * np.eye(len(seen)), of_both[tuple(seen.T)])
    return float(weights @ of_noise[tuple(seen.T)] / of_noise[0, 0, 0])


def shell_correlation(a: Array, b: Array) -> Array:
    """Fourier shell correlation in shells of one period per shortest side."""
    first, second = (np.fft.rfftn(volume - volume.mean()) for volume in (a, b))
    axes = [np.fft.fftfreq(a.shape[0]), np.fft.fftfreq(a.shape[1]), np.fft.rfftfreq(a.shape[2])]
    radius = np.sqrt(sum(f**2 for f in np.meshgrid(*axes, indexing="ij")))
    shell = np.round(radius * min(a.shape)).astype(int).ravel()

    def total(values: Array) -> Array:
        return np.bincount(shell, values.ravel())[: min(a.shape) // 2 + 1]

    power = total(np.abs(first) ** 2) * total(np.abs(second) ** 2)
    return np.asarray(total((first * second.conj()).real) / np.sqrt(np.maximum(power, 1e-30)))


def resolution(a: Array, b: Array, voxel_size: float = 10.0) -> float:
    """A, where the shell correlation first falls below 0.5 (the first shells hold the slab, not particles: skipped)."""
    curve = shell_correlation(a, b)
    below = np.flatnonzero(curve[2:] < 0.5)
    shell = (below[0] + 2) if len(below) else len(curve) - 1
    return float(voxel_size * min(a.shape) / shell)


def psnr(result: Array, clean: Array) -> float:
    """dB, after the best linear fit of grey values; the peak is the clean volume's range (percentiles 0.1 to 99.9)."""
    error = clean.var() * (1 - correlation(result, clean) ** 2)
    return float(10 * np.log10(np.ptp(np.percentile(clean, (0.1, 99.9))) ** 2 / error))


def explained(prediction: Array, target: Array) -> float:
    """Share of the target's variance in the rows held out that a linear fit on the other rows explains."""
    slope, offset = np.polyfit(prediction[:, :-HELD_OUT].ravel(), target[:, :-HELD_OUT].ravel(), 1)
    held = target[:, -HELD_OUT:]
    return float(1 - np.mean((slope * prediction[:, -HELD_OUT:] + offset - held) ** 2) / held.var())


def best_gaussian(volume: Array, score: Callable[[Array], float]) -> tuple[Array, float]:
    """The low-passed volume of the highest score, and its width."""
    candidates = [gaussian_filter(volume, sigma) for sigma in SIGMAS]
    best = int(np.argmax([score(candidate) for candidate in candidates]))
    return candidates[best], SIGMAS[best]


def on_simulated(out: Path) -> dict[str, object]:
    """Figures by method, and a picture."""
    model = simulate(out)
    even, odd, whole = (model / f"{name}.mrc" for name in ("even", "odd", "reconstruction"))
    clean, noisy = -np.asarray(read_mrc(model / "clean.mrc")[0], dtype="f4"), bright(whole, "dark")
    noise = -np.asarray(read_mrc(whole)[0], dtype="f4") - clean
    told = {str(reach): told_by_neighbours(noise, clean, reach) for reach in ((0, 0, 0), (4, 2, 2), (4, 2, 4))}
    print(f"noise told by the voxels around a hidden block: {told}", flush=True)
    density = np.asarray(read_mrc(model / "grandmodel.mrc")[0], dtype="f4")
    near = binary_dilation(np.asarray(read_mrc(model / "occupancy_mask.mrc")[0]) > 0, iterations=2)
    results: dict[str, Array] = {}
    rows: dict[str, dict[str, float]] = {}

    def add(name: str, result: Array) -> None:
        results[name] = result
        rows[name] = {
            "r": correlation(result, clean),
            "r_held_out": correlation(result[:, -HELD_OUT:], clean[:, -HELD_OUT:]),
            "r_particles": correlation(result[near], clean[near]),
            "r_density": correlation(result, density),
            "psnr_db": psnr(result, clean),
            "fsc_half_A": resolution(result, clean),
        }
        print(name, {key: round(value, 3) for key, value in rows[name].items()}, flush=True)

    add("input", noisy)
    smooth, sigma = best_gaussian(noisy, lambda volume: correlation(volume, clean))
    add(f"Gaussian, s.d. {sigma:g} voxels (best on truth)", smooth)
    add("supervised voxel_small", denoised(out / "denoised" / "supervised", "voxel_small", "dark", whole))
    weights, pair_s = trained(out, "noise2noise_simulated", "noise2noise", f"halves=[{{even: {even}, odd: {odd}}}]")
    add("Noise2Noise, halves averaged", denoised(out / "denoised" / "halves", weights, "dark", even, odd))
    add("Noise2Noise on the whole", denoised(out / "denoised" / "whole", weights, "dark", whole))
    picture({"clean": clean, **results}, out / "simulated.png")
    weights, blind_s = trained(out, "blind_spot_simulated", "blind_spot", f"tomograms=[{whole}]")
    add("blind spot", denoised(out / "denoised" / "blind", weights, "dark", whole))
    picture({"clean": clean, **results}, out / "simulated.png")
    cpu_s = {"noise2noise": pair_s, "blind_spot": blind_s}
    return {"methods": rows, "noise_told_by_neighbours": told, "cpu_s": cpu_s}


def on_recorded(folder: Path, out: Path) -> dict[str, object]:
    """Share of the noisy odd half that each method predicts from the even half, and a picture."""
    even, odd = record(folder, out)
    noisy, target = bright(even, "dark"), bright(odd, "dark")
    curve = shell_correlation(noisy, target)[:12]
    print(f"shell correlation of the noisy halves, shells of 1 / 640 A: {curve.round(2).tolist()}", flush=True)
    shares: dict[str, float] = {}

    def add(name: str, result: Array) -> Array:
        shares[name] = explained(result, target)
        print(f"{name}: {100 * shares[name]:.2f} % of the odd half's variance", flush=True)
        return result

    add("input", noisy)
    smooth, sigma = best_gaussian(noisy, lambda volume: correlation(volume[:, :-HELD_OUT], target[:, :-HELD_OUT]))
    add(f"Gaussian, s.d. {sigma:g} voxels (best on the other rows)", smooth)
    supervised = denoised(out / "denoised" / "recorded_supervised", "voxel_small", "dark", even)
    add("supervised voxel_small", supervised)
    weights, seconds = trained(out, "noise2noise_recorded", "noise2noise", f"halves=[{{even: {even}, odd: {odd}}}]")
    first = add("Noise2Noise", denoised(out / "denoised" / "recorded_even", weights, "dark", even))
    both = first + denoised(out / "denoised" / "recorded_odd", weights, "dark", odd)
    shown = {"both halves": noisy + target, "Noise2Noise, averaged": both, "supervised, even half": supervised}
    picture(shown, out / "recorded.png")
    return {"explained_share_of_odd": shares, "cpu_s": {"noise2noise": seconds}}


def picture(volumes: dict[str, Array], path: Path) -> None:
    """Central slices through z, in the order given, three to a row."""
    slices = [to_grey(volume[volume.shape[0] // 2]) for volume in volumes.values()]
    Image.fromarray(tile_images(slices, columns=3)).save(path)
    print(f"{path}: {', '.join(volumes)} (rows of three)", flush=True)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with 00254_stack_f16.mrc and its side files")
    parser.add_argument("--out", type=Path, required=True, help="folder for data, weights, pictures and figures.json")
    parser.add_argument("--only", choices=("simulated", "recorded"))
    settings = parser.parse_args()
    parts = {
        "simulated": lambda: on_simulated(settings.out),
        "recorded": lambda: on_recorded(settings.folder, settings.out),
    }
    figures = {name: part() for name, part in parts.items() if settings.only in (None, name)}
    (settings.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
