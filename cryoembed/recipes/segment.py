"""``cryoembed segment TOMOGRAM... --out DIR``: all particles, as label volumes and class-blind picks."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field

from cryoembed.instances.config import InstanceConfig
from cryoembed.io import TomogramInfo, read_tomogram, write_mrc, write_particles
from cryoembed.io.atomic import replacing
from cryoembed.io.scratch import scratch_folder
from cryoembed.io.sniff import tomogram_name
from cryoembed.plot.image import write_png
from cryoembed.plot.voxel_embedding import embedding_picture
from cryoembed.recipes.progress import progress_bar
from cryoembed.recipes.records import write_records
from cryoembed.recipes.volumes import VolumesConfig, is_current, output_key, refuse_equal_names

ENDINGS = ("_instances.mrc", "_particles.star", "_particles.csv")
PICTURE = "_embedding.png"


class SegmentConfig(VolumesConfig):
    """What to segment, with which network, into which folder."""

    weights: str = Field("voxel_small", description="bundled name or .safetensors file, with an instance head")
    instances: InstanceConfig = InstanceConfig()
    picture: bool = Field(
        False, description="also NAME_embedding.png: the middle slice, and its voxel embeddings as colours"
    )


def segment(config: SegmentConfig) -> str:
    """Write ``NAME_instances.mrc``, ``NAME_particles.star`` (RELION 5) and ``.csv`` for every tomogram.

    The label volume is at the network's voxel size; picks are in A of the tomogram's parent frame, best score first.
    With ``picture`` also ``NAME_embedding.png``: the middle slice of the prepared tomogram, and beside it the voxel
    embeddings there as colours (their first three principal components); until it is written the embeddings of the
    whole volume need scratch space of 2 bytes per voxel and dimension. A tomogram whose outputs are there, made from
    the same file by the same model and settings, is skipped.

    Returns
    -------
    What was kept, what was skipped, where it is.

    Raises
    ------
    InputError
        If a tomogram cannot be read or used, two have one name, or the folder cannot be written to. What was finished
        before stays.
    """
    from cryoembed.recipes.find_instances import find_instances, load_voxel_model

    names = [tomogram_name(path) for path in config.tomograms]
    refuse_equal_names(names, "rename them, or segment them into several folders")
    model = load_voxel_model(config.weights)
    counts, already = {}, []
    for path in config.tomograms:
        tomogram = read_tomogram(path, voxel_size=config.voxel_size, origin=config.origin)
        stem = config.out / tomogram.name
        record = _output(stem, "_segment.json")
        # a picture asked for is part of the key: one left by a run with other settings must not pass for new
        asked = ("instances", "picture") if config.picture else ("instances",)
        key = output_key(path, model.model_hash, config, *asked)
        endings = (*ENDINGS, PICTURE) if config.picture else ENDINGS
        if is_current(record, key, [_output(stem, ending) for ending in endings]):
            already.append(tomogram.name)
            continue
        with scratch_folder(config.out) as scratch, progress_bar(tomogram.name, 1.0) as advance:
            found = find_instances(
                tomogram,
                model,
                config.instances,
                contrast=config.contrast,
                device=config.device,
                precision=config.precision,
                tile_memory_gb=config.tile_memory_gb,
                further_maps=("embedding",) if config.picture else (),
                scratch=scratch,
                progress=advance,
            )
            frame = found.prepared.tomogram
            record.unlink(missing_ok=True)  # vouches for outputs that are now replaced
            if config.picture:
                image = embedding_picture(frame.data, found.maps["embedding"], frame.shape[0] // 2)
                write_png(_output(stem, PICTURE), image)
            write_mrc(_output(stem, "_instances.mrc"), found.labels, frame.voxel_size, origin=frame.origin)
        picks = found.particles.sorted_by_score()
        write_particles(_output(stem, "_particles.csv"), picks)
        info = TomogramInfo.of(tomogram)
        write_particles(_output(stem, "_particles.star"), picks, tomograms={tomogram.name: info})
        details = {"key": key, "count": len(picks), "input": found.prepared.record.model_dump(mode="json")}
        with replacing(record) as temporary:  # last
            temporary.write_text(json.dumps(details, indent=1) + "\n")
        counts[tomogram.name] = len(picks)
    write_records(config.out, config, inputs=config.tomograms, models={"voxel": model.model_hash})
    return _closing_line(config.out, counts, already)


def _output(stem: Path, ending: str) -> Path:
    return stem.with_name(stem.name + ending)


def _closing_line(out: Path, counts: dict[str, int], already: list[str]) -> str:
    kept = f"kept {sum(counts.values())} particles in {len(counts)} tomogram{'s' * (len(counts) != 1)}"
    empty = [name for name, count in counts.items() if not count]
    remarks = [f"none found in {', '.join(empty)}"] if empty else []
    if already:
        remarks.append(f"skipped {', '.join(already)}, done before with the same model and settings")
    return "; ".join([kept, *(remarks or ["skipped none"]), f"written to {out}"])
