"""`index`: tomograms become a searchable store: normalise, find instances, cut subtomograms, embed, store, FAISS index."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cryoembed.errors import InputError
from cryoembed.geometry import ORIGIN
from cryoembed.instances.config import InstanceConfig
from cryoembed.io.mrc import read_tomogram
from cryoembed.io.scratch import scratch_folder
from cryoembed.io.sniff import tomogram_name
from cryoembed.recipes.progress import progress_bar
from cryoembed.recipes.records import write_records
from cryoembed.recipes.volumes import VolumesConfig, output_key, refuse_equal_names
from cryoembed.store import EmbeddingStore
from cryoembed.store.index import EmbeddingIndex
from cryoembed.store.manifest import describe_source

if TYPE_CHECKING:  # torch takes seconds to import: only when there is something to embed
    from cryoembed.models.checkpoint import LoadedModel

_log = logging.getLogger(__name__)


class IndexConfig(VolumesConfig):
    """What to index, with which networks, into which store."""

    out: Path = Field(description="the store; tomograms it holds already are skipped")
    name: str | None = Field(None, description="of a single tomogram; None: the file's stem")
    voxel_weights: str = Field("voxel_small", description="bundled name or .safetensors file, with an instance head")
    subtomogram_weights: str = Field("subtomogram_small", description="bundled name or .safetensors file")
    instances: InstanceConfig = InstanceConfig()
    copies: Literal[1, 4] = Field(4, description="half turns averaged into one vector; they keep the missing wedge")
    replace: bool = False
    batch: int = Field(64, ge=1)


def index(config: IndexConfig) -> str:
    """Index every tomogram that the store does not hold yet; return the closing line.

    Raises
    ------
    InputError
        If the store was made by another model, the networks do not go together, or tomograms could not be used; the others
        are kept all the same.
    """
    from cryoembed.recipes.embedding import load_encoder, store_key
    from cryoembed.recipes.find_instances import load_voxel_model, needed_heads

    names = _names(config)
    finder = load_voxel_model(config.voxel_weights, needed_heads(config.instances))
    encoder = load_encoder(config.subtomogram_weights)
    key = store_key(encoder.card, encoder.model_hash, copies=config.copies)
    if key.mask != "none" and encoder.card.input.voxel_size != finder.card.input.voxel_size:
        raise InputError(
            f"{encoder.card.name} masks boxes by instances but reads voxels of {encoder.card.input.voxel_size:g} A, "
            f"{finder.card.name} of {finder.card.input.voxel_size:g} A; choose weights with the same input.voxel_size"
        )
    store = EmbeddingStore.open_or_create(config.out, key, weights=_weights_reference(config.subtomogram_weights))
    kept, already, refused = [], [], []
    for path, name in zip(config.tomograms, names, strict=True):
        try:
            made_from = output_key(path, finder.model_hash, config, "instances") if path.is_file() else ""
            if not config.replace and _holds(store, name, made_from):
                already.append(name)
                continue
            start = time.monotonic()
            count = _index_one(store, path, name, config, finder, encoder, made_from)
            _log.info("%s: %d particles, %.0f s", name, count, time.monotonic() - start)
            kept.append(f"{name} ({count})")
        except InputError as error:
            if len(config.tomograms) == 1:
                raise
            _log.warning("refused: %s", error)
            refused.append(str(error))
    if len(store):
        EmbeddingIndex.load(store)  # built anew where the saved one is of other content
    if kept:
        models = {finder.card.name: finder.model_hash, encoder.card.name: encoder.model_hash}
        write_records(config.out / "records", config, inputs=config.tomograms, models=models)
    done = f"indexed {', '.join(kept) or 'nothing new'}"
    if already:
        done += f"; skipped {', '.join(already)}: in the store already (--replace indexes again)"
    if refused:
        raise InputError(f"{len(refused)} of {len(config.tomograms)} tomograms refused: {'; '.join(refused)}. {done}")
    if not len(store):
        raise InputError(
            f"{done}; no particle was found: look at the tomograms with `cryoembed denoise`, check --contrast and "
            "--voxel-size, or lower --set instances.foreground_threshold"
        )
    return f"{done}; {len(store)} particles of {len(store.tomograms)} tomograms in {config.out}"


def _index_one(
    store: EmbeddingStore,
    path: Path,
    name: str,
    config: IndexConfig,
    finder: LoadedModel,
    encoder: LoadedModel,
    made_from: str,
) -> int:
    """Put one tomogram into the store; returns the number of its particles."""
    from cryoembed.preprocess.prepare import prepare
    from cryoembed.recipes.embedding import embed_positions
    from cryoembed.recipes.find_instances import find_instances

    tomogram = read_tomogram(path, voxel_size=config.voxel_size, name=name, origin=config.origin)
    with scratch_folder(config.out) as scratch, progress_bar(name, 1.0) as advance:
        found = find_instances(
            tomogram,
            finder,
            config.instances,
            contrast=config.contrast,
            device=config.device,
            precision=config.precision,
            tile_memory_gb=config.tile_memory_gb,
            scratch=scratch,
            progress=advance,
        )
        contrast, volume, read = found.prepared.record.contrast, found.prepared.tomogram, found.prepared.record
        if encoder.card.input != finder.card.input:  # the encoder wants another voxel size, scale or spectrum
            encoder_input = prepare(tomogram, encoder.card.input, contrast=contrast, scratch=scratch / "encoder")
            volume, read = encoder_input.tomogram, encoder_input.record
        masked = store.key.mask != "none"
        vectors = embed_positions(
            encoder.module,
            store.key,
            volume,
            found.particles.positions_zyx,
            instances=found.labels if masked else None,
            ids=found.particles.column("instance", 0) if masked else None,
            device=config.device,
            precision=config.precision,
            batch=config.batch,
        )
        reason = found.prepared.record.contrast_reason
        store.replace(
            name,
            vectors,
            found.particles,
            source=describe_source(tomogram, path, contrast=contrast, contrast_reason=reason),
            record={
                "key": made_from,
                "input": found.prepared.record.model_dump(mode="json"),
                "encoder_input": read.model_dump(mode="json"),
            },
            instances=found.labels if masked else None,
        )
    return len(found.particles)


def _names(config: IndexConfig) -> list[str]:
    if len(config.tomograms) > 1 and (config.name is not None or config.origin != ORIGIN):
        raise InputError("--name and --origin belong to one tomogram; index such tomograms one by one")
    names = [config.name or tomogram_name(path) for path in config.tomograms]
    refuse_equal_names(names, "index them one by one with --name")
    return names


def _holds(store: EmbeddingStore, name: str, key: str) -> bool:
    """Whether the store has this tomogram, made so; anything else under its name is an error, not a skip."""
    if name not in store:
        return False
    if store.record(name).get("key") == key:
        return True
    raise InputError(
        f"the store's {name!r} is of another file, or was indexed with another network or other settings; "
        "pass --replace to index it again, or --name for another one"
    )


def _weights_reference(weights: str) -> str:
    """A bundled name as it is; a file by its absolute path, so that a query from another folder finds it."""
    path = Path(weights)
    return str(path.resolve()) if path.suffix == ".safetensors" or path.exists() else weights
