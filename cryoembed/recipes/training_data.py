"""Files that trainings read: structures that join the phantoms, and simulated data sets in SHREC's layout."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cryoembed.errors import InputError
from cryoembed.preprocess.config import InputConfig
from cryoembed.simulate.density.structures import StructureSpec, expand, structure_template
from cryoembed.simulate.density.template import Template
from cryoembed.simulate.folders import RECORD
from cryoembed.views.scenes import CleanScene, SceneConfig, build_scenes, clean_scene

logger = logging.getLogger(__name__)

NOT_INSTANCES = frozenset({"vesicle", "fiducial"})


def load_structures(specs: Sequence[StructureSpec], voxel_size: float, *, resolution: float = 12.0) -> list[Template]:
    """Templates at ``voxel_size`` A of maps and atomic models; `InputError` if one is not of the training split."""
    expanded = [one for spec in specs for one in expand(spec)]
    for spec in expanded:
        if spec.split != "train":
            raise InputError(f"structure {spec.name} is of the {spec.split} split; trainings may see train only")
    return [structure_template(spec, voxel_size, resolution=resolution) for spec in expanded]


def load_scenes(
    config: SceneConfig, dataset: Path | None, structures: Sequence[Template], inputs: InputConfig
) -> list[CleanScene]:
    """Scenes of a data set folder, or newly packed ones where there is none.

    Raises
    ------
    InputError
        If the folder holds no ``model_N``, or a model has another voxel size than the network.
    """
    if dataset is None:
        logger.info("packing %d scenes of %s voxels", config.scenes, " x ".join(map(str, config.shape_zyx)))
        return build_scenes(config, structures)
    found = sorted(path for path in Path(dataset).glob("model_*") if path.is_dir())
    if not found:
        raise InputError(f"data set {dataset} holds no folder model_N; make one with cryoembed simulate")
    folders = [folder for folder in found if _split(folder) == "train"]
    if not folders:
        raise InputError(f"data set {dataset}: all models are held back for validation or test; simulate more models")
    logger.info("%d models of %s; %d held back", len(folders), dataset, len(found) - len(folders))
    return [_recorded_scene(folder, config, inputs) for folder in folders]


def _split(folder: Path) -> str:
    """The split a simulated model says it belongs to; data sets of others are for training."""
    record = folder / RECORD
    return str(json.loads(record.read_text()).get("split", "train")) if record.is_file() else "train"


def _recorded_scene(folder: Path, config: SceneConfig, inputs: InputConfig) -> CleanScene:
    from cryoembed.io.shrec import read_model
    from cryoembed.preprocess.prepare import prepare

    model = read_model(folder)
    if not np.isclose(model.grandmodel.voxel_size, config.voxel_size, rtol=1e-3):
        raise InputError(
            f"{folder}: voxel size {model.grandmodel.voxel_size} A, but data.voxel_size is {config.voxel_size}; "
            "simulate at the network's voxel size"
        )
    labels = np.concatenate([[""], model.particles.labels])
    keep = np.array([label not in NOT_INSTANCES for label in labels])
    keep[0] = False
    ids = np.asarray(model.occupancy_mask.data, dtype=np.int32)
    density = np.asarray(model.grandmodel.data, dtype=np.float32)
    # the truth says which sign particles have; no need to guess
    agreement = np.vdot(density - density.mean(), np.asarray(model.reconstruction.data, dtype=np.float32))
    recorded = prepare(model.reconstruction, inputs, contrast="bright" if agreement > 0 else "dark").tomogram.data
    return clean_scene(density, np.where(keep[ids], ids, 0).astype(np.int32), config, recorded=recorded)
