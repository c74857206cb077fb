"""Where the truth of a data set lies: picks, a SHREC ``model_N`` folder, or a folder of those with a table."""

from __future__ import annotations

from pathlib import Path

from cryoembed.errors import InputError
from cryoembed.io.formats import read_particles
from cryoembed.io.shrec import is_model
from cryoembed.io.tomogram_info import TomogramInfo, read_infos, read_tomogram_info
from cryoembed.particles import Particles
from cryoembed.recipes.sources import tomogram_infos
from cryoembed.store import EmbeddingStore

PARTICLES = "particles.parquet"


def read_truth(
    path: Path, *, label_column: str = "label", voxel_size: float | None = None, tomogram: str | None = None
) -> Particles:
    """Read true particles; from a data set the exact positions of its particle table, else its lists' rounded ones.

    Parameters
    ----------
    path
        Picks in any readable format, a ``model_N`` folder, or a folder of them.
    label_column
        The column that holds the labels.
    voxel_size, tomogram
        For formats in voxels, and for those that name no tomogram.

    Raises
    ------
    InputError
        If nothing is there, it holds no particles, or it lacks the column.
    """
    folders = model_folders(path)
    if path.is_dir():
        truth = _of_folders(path, folders, voxel_size)
    else:
        truth = read_particles(path, voxel_size=voxel_size, tomogram=tomogram)
    if not len(truth):
        raise InputError(f"{path} holds no particles; there is no truth to score against")
    if label_column == "label":
        return truth
    if label_column not in truth.table.columns:
        raise InputError(f"{path} has no column {label_column!r}; it has {', '.join(truth.table.columns)}")
    return truth.with_columns(label=truth.table[label_column])


def model_folders(path: Path) -> list[Path]:
    """The ``model_N`` folders at or in ``path``, in order of number; none if it is a file.

    Raises
    ------
    InputError
        If the path does not exist.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; give picks, a SHREC model folder or a folder of them")
    if not path.is_dir():
        return []
    if is_model(path):
        return [path.resolve()]
    folders = [folder for folder in path.iterdir() if is_model(folder)]
    return sorted(folders, key=lambda folder: (len(folder.name), folder.name))  # model_2 before model_10


def truth_infos(path: Path, tomograms_star: Path | None = None, store: Path | None = None) -> dict[str, TomogramInfo]:
    """Sizes by tomogram, which RELION 5's centred coordinates need: of SHREC models, a store, a tomograms.star."""
    volumes = [(folder.name, folder / "reconstruction.mrc") for folder in model_folders(path)]
    infos = {name: read_tomogram_info(volume, name=name) for name, volume in volumes if volume.is_file()}
    if store is not None:
        infos |= tomogram_infos(EmbeddingStore.open(store))
    return infos | (read_infos([tomograms_star]) if tomograms_star else {})


def _of_folders(path: Path, folders: list[Path], voxel_size: float | None) -> Particles:
    if not folders:
        if (path / PARTICLES).is_file():
            return read_particles(path / PARTICLES)
        raise InputError(f"{path} holds neither model_N folders nor {PARTICLES}; give a data set or a picks file")
    return Particles.concatenate([_of_model(folder, voxel_size) for folder in folders])


def _of_model(folder: Path, voxel_size: float | None) -> Particles:
    """The exact positions in the model's table or in the data set's, else the list's, which are rounded to voxels."""
    for table in (folder / PARTICLES, folder.parent / PARTICLES):
        exact = read_particles(table).of(folder.name) if table.is_file() else Particles.empty()
        if len(exact):
            return exact
    return read_particles(folder, voxel_size=voxel_size)
