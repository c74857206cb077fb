"""Flags to recipes, by name. ``--help`` imports nothing heavy; a wrong input ends with one line and exit code 2."""

from __future__ import annotations

import errno
import importlib
import logging
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cryoembed.errors import InputError

app = typer.Typer(
    name="cryoembed",
    help="Embedding-first particle mining for cryo-electron tomography. "
    "Two commands take you from raw tomograms and five examples to RELION picks: index, then query. Start with: demo.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

# what a full, read-only or failing disk says, wherever it is noticed; any other is a bug to be seen whole
DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})

ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML of settings; flags and --set win over it.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting, dots inside.")]
Tomograms = Annotated[list[Path], typer.Argument(metavar="TOMOGRAM...", help="MRC files (.mrc .rec .map .st, .gz).")]
Contrast = Annotated[str | None, typer.Option(help="Particles are: auto | dark | bright.")]
VoxelSize = Annotated[float | None, typer.Option(help="A; overrides the header.")]
Origin = Annotated[str | None, typer.Option(metavar="Z,Y,X", help="A; where voxel 0 lies in the parent frame.")]
Device = Annotated[str | None, typer.Option(help="auto | cpu | cuda[:N].")]
Precision = Annotated[str | None, typer.Option(help="auto | fp32 | bf16.")]
Stream = Annotated[
    Path | None, typer.Option(help="YAML of simulate: endless samples of its kind, made while training, none on disk.")
]
Seed = Annotated[int | None, typer.Option(help="Same seed, same files.")]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path("demo"),
    seed: Seed = None,
    device: Device = None,
    overrides: Overrides = None,
) -> None:
    """The whole walk on a small simulated data set with the bundled weights: CPU, minutes."""
    _run("demo", "DemoConfig", {"out": out, "seed": seed, "device": device}, None, overrides)


@app.command()
def simulate(
    config: Annotated[Path | None, typer.Argument(help="YAML, for example configs/simulate_demo.yaml.")] = None,
    out: Annotated[Path | None, typer.Option(help="Data set folder; complete models in it are kept.")] = None,
    seed: Seed = None,
    workers: Annotated[int | None, typer.Option(help="Tomograms made at a time, one process each.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a running Dask scheduler to work on.")] = None,
    slurm: Annotated[bool, typer.Option("--slurm", help="Submit Slurm jobs as parallel.slurm describes them.")] = False,
    device: Device = None,
    overrides: Overrides = None,
) -> None:
    """Make tomograms with full ground truth (SHREC 2021's folder layout)."""
    values = {"out": out, "seed": seed, "parallel.workers": workers, "parallel.scheduler": scheduler, "device": device}
    _run("simulate", "SimulateConfig", values | {"parallel.slurm.enabled": slurm or None}, config, overrides)


@app.command()
def pretrain(
    config: Annotated[Path, typer.Argument(help="YAML, for example configs/pretrain_contrastive_small.yaml.")],
    out: Annotated[Path | None, typer.Option(help="Experiment folder; a checkpoint in it is resumed.")] = None,
    stream: Stream = None,
    device: Device = None,
    overrides: Overrides = None,
) -> None:
    """Train a network without labels: dense_simsiam | simsiam | contrastive | mae."""
    _run("pretrain", "PretrainConfig", {"out": out, "stream": stream, "train.device": device}, config, overrides)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="YAML, for example configs/train_voxel_small.yaml.")],
    out: Annotated[Path | None, typer.Option(help="Experiment folder; a checkpoint in it is resumed.")] = None,
    stream: Stream = None,
    device: Device = None,
    overrides: Overrides = None,
) -> None:
    """Train heads on simulated truth: denoise, instance, semantic, lamella; with a `method`: denoise, without truth."""
    from cryoembed.config import sets

    recipe = ("self_denoise", "SelfDenoiseConfig") if sets(config, "method") else ("train", "TrainRecipeConfig")
    _run(*recipe, {"out": out, "stream": stream, "train.device": device}, config, overrides)


@app.command()
def denoise(
    out: Annotated[Path, typer.Option(help="Folder for the denoised MRC files.")],
    tomograms: Annotated[
        list[Path] | None, typer.Argument(metavar="[TOMOGRAM...]", help="MRC files (.mrc .rec .map .st, .gz).")
    ] = None,
    even: Annotated[Path | None, typer.Option(help="Instead of tomograms: from even tilts or frames, ...")] = None,
    odd: Annotated[Path | None, typer.Option(help="... and from odd; their denoised volumes are averaged.")] = None,
    weights: Annotated[str | None, typer.Option(help="Bundled name or .safetensors file.")] = None,
    contrast: Contrast = None,
    voxel_size: VoxelSize = None,
    device: Device = None,
    precision: Precision = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Denoise tomograms with the voxel network."""
    values = {"out": out, "weights": weights, "contrast": contrast, "voxel_size": voxel_size, "even": even, "odd": odd}
    volumes = {"tomograms": tomograms or None, "device": device, "precision": precision}
    _run("denoise", "DenoiseConfig", values | volumes, config, overrides)


@app.command()
def segment(
    tomograms: Tomograms,
    out: Annotated[Path, typer.Option(help="Folder for label volumes and picks.")],
    tasks: Annotated[str | None, typer.Option(help="Any of: instance,semantic,lamella; default instance.")] = None,
    weights: Annotated[str | None, typer.Option(help="Bundled name or .safetensors file.")] = None,
    contrast: Contrast = None,
    voxel_size: VoxelSize = None,
    device: Device = None,
    precision: Precision = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Find every particle, whatever it is: label volumes and class-blind picks; classes and the lamella, if asked."""
    values = {"tomograms": tomograms, "out": out, "weights": weights, "contrast": contrast, "voxel_size": voxel_size}
    values["tasks"] = None if tasks is None else tuple(task.strip() for task in tasks.split(","))
    _run("segment", "SegmentConfig", values | {"device": device, "precision": precision}, config, overrides)


@app.command()
def index(
    tomograms: Tomograms,
    out: Annotated[Path, typer.Option(help="The store; tomograms already in it are skipped.")],
    contrast: Contrast = None,
    voxel_size: VoxelSize = None,
    origin: Origin = None,
    name: Annotated[str | None, typer.Option(help="What picks call the tomogram (one tomogram only).")] = None,
    voxel_weights: Annotated[str | None, typer.Option(help="Bundled name or file of the voxel network.")] = None,
    subtomogram_weights: Annotated[str | None, typer.Option(help="Bundled name or file of the encoder.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Index again what is in the store already.")] = False,
    device: Device = None,
    precision: Precision = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Turn tomograms into a searchable store: instances, subtomograms, vectors, FAISS index."""
    values = {
        "tomograms": tomograms,
        "out": out,
        "contrast": contrast,
        "voxel_size": voxel_size,
        "origin": _numbers(origin, "--origin"),
        "name": name,
        "voxel_weights": voxel_weights,
        "subtomogram_weights": subtomogram_weights,
        "replace": replace or None,
        "device": device,
        "precision": precision,
    }
    _run("index", "IndexConfig", values, config, overrides)


@app.command()
def query(
    store: Annotated[Path, typer.Argument(help="A store made by `cryoembed index`.")],
    examples: Annotated[
        Path, typer.Option(help="Picks of what you look for; a label column asks for several classes.")
    ],
    out: Annotated[Path, typer.Option(help="Hits, best first: .star (RELION 5) | .csv | .parquet.")],
    negatives: Annotated[Path | None, typer.Option(help="Picks of what you do not want.")] = None,
    top: Annotated[int | None, typer.Option(help="Keep the best N hits of each class.")] = None,
    min_score: Annotated[float | None, typer.Option(help="Keep hits with at least this score.")] = None,
    radius: Annotated[float | None, typer.Option(help="A; one hit per place, best about half a particle.")] = None,
    expand: Annotated[
        int | None, typer.Option(help="Ask again with the N best hits joined; fewer than copies.")
    ] = None,
    voxel_size: Annotated[float | None, typer.Option(help="A per voxel of picks given in voxels (.coords).")] = None,
    tomograms_star: Annotated[Path | None, typer.Option(help="RELION 5 tomograms.star for sizes and optics.")] = None,
    device: Device = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Rank every particle of the store by likeness to a few examples."""
    values = {
        "store": store,
        "examples": examples,
        "out": out,
        "negatives": negatives,
        "top": top,
        "min_score": min_score,
        "radius": radius,
        "scoring.expand": expand,
        "voxel_size": voxel_size,
        "tomograms_star": tomograms_star,
        "device": device,
    }
    _run("query", "QueryRecipeConfig", values, config, overrides)


@app.command()
def cluster(
    store: Annotated[Path, typer.Argument(help="A store made by `cryoembed index`.")],
    out: Annotated[Path, typer.Option(help="Folder for clusters, medoids and the page.")],
    clusters: Annotated[int | None, typer.Option(help="Number of final clusters.")] = None,
    seed: Seed = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Group the particles of a store: k-means, then spectral."""
    values = {"store": store, "out": out, "clusters.n_clusters": clusters, "clusters.seed": seed}
    _run("cluster", "ClusterRecipeConfig", values, config, overrides)


@app.command()
def convert(
    picks: Annotated[Path, typer.Argument(help="Picks in any readable format.")],
    out: Annotated[Path, typer.Argument(help="The new file.")],
    to: Annotated[
        str | None, typer.Option(help="relion5 | relion4 | warp | csv | coords | parquet; else by suffix.")
    ] = None,
    tomograms_star: Annotated[Path | None, typer.Option(help="RELION 5 tomograms.star for sizes and optics.")] = None,
    store: Annotated[Path | None, typer.Option(help="A store that knows the tomograms' sizes and frames.")] = None,
    tomogram: Annotated[
        str | None, typer.Option(help="The tomogram's file, or its name where the picks name none.")
    ] = None,
    origin: Origin = None,
    voxel_size: Annotated[float | None, typer.Option(help="A per voxel of picks given in voxels.")] = None,
    relion_centre: Annotated[str | None, typer.Option(help="n/2 | n/2-1: what RELION's centre means.")] = None,
    overrides: Overrides = None,
) -> None:
    """Convert picks between formats."""
    values = {
        "picks": picks,
        "out": out,
        "to": to,
        "tomograms_star": tomograms_star,
        "store": store,
        "tomogram": tomogram,
        "origin": _numbers(origin, "--origin"),
        "voxel_size": voxel_size,
        "relion_centre": relion_centre,
    }
    _run("convert", "ConvertConfig", values, None, overrides)


@app.command()
def evaluate(
    picks: Annotated[Path, typer.Argument(help="Picks in any readable format.")],
    truth: Annotated[Path, typer.Option(help="Picks, a SHREC model_N folder, or a data set folder.")],
    rule: Annotated[str | None, typer.Option(help="distance | shrec21.")] = None,
    radius: Annotated[float | None, typer.Option(help="A; how near a pick must be (distance rule).")] = None,
    store: Annotated[Path | None, typer.Option(help="A store that knows the tomograms' sizes and frames.")] = None,
    tomograms_star: Annotated[
        Path | None, typer.Option(help="RELION 5 tomograms.star, for picks in RELION's frame.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON with all figures.")] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Score picks against truth."""
    values = {"picks": picks, "truth": truth, "rule": rule, "radius": radius, "out": out}
    values |= {"store": store, "tomograms_star": tomograms_star}
    _run("evaluate", "EvaluateConfig", values, config, overrides)


@app.command()
def info(file: Annotated[Path, typer.Argument(help="Tomogram, picks, store or weights.")]) -> None:
    """What is this file? Reads headers only."""
    from cryoembed.recipes.info import info as describe

    print(_guarded(describe, file))


def main() -> None:
    """Entry point of the ``cryoembed`` command."""
    app()


def _run(
    recipe: str, config_class: str, values: dict[str, Any], path: Path | None, overrides: list[str] | None
) -> None:
    """Resolve the config (YAML < --set < flags), run the recipe and print its closing line."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)  # libraries: warnings only
    logging.getLogger("cryoembed").setLevel(logging.INFO)

    def resolve_and_run() -> str:
        from cryoembed.config import load_config

        module = importlib.import_module(f"cryoembed.recipes.{recipe}")
        config = load_config(getattr(module, config_class), path, overrides or (), flags=values)
        return str(getattr(module, recipe)(config))

    if line := _guarded(resolve_and_run):  # of several processes that train together one speaks
        print(line)


def _guarded(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        print("stopped; what was finished is kept: run the same command to go on", file=sys.stderr)
        raise typer.Exit(130) from None
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror}; choose another --out or free some space", file=sys.stderr)
        raise typer.Exit(2) from None
    except (MemoryError, RuntimeError) as error:
        # torch's own: OutOfMemoryError on a GPU, a RuntimeError that says so on a CPU
        if not (isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate" in str(error)):
            raise
        print("error: out of memory; lower --set tile_memory_gb or free some memory", file=sys.stderr)
        raise typer.Exit(2) from None


def _numbers(text: str | None, flag: str) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        z, y, x = (float(part) for part in text.split(","))
        if not all(map(math.isfinite, (z, y, x))):
            raise ValueError(text)
    except ValueError:
        print(f"error: {flag} {text!r}: expected three numbers z,y,x in A, such as 720,960,960", file=sys.stderr)
        raise typer.Exit(2) from None
    return (z, y, x)


if __name__ == "__main__":
    main()
