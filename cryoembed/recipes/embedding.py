"""How a position becomes a vector: the same for `index` and `query`, so that what is compared was made alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.models.config import ModelCard, SubtomogramEncoderConfig
from cryoembed.store import StoreKey
from cryoembed.subtomograms import iterate_boxes
from cryoembed.tomogram import Tomogram

if TYPE_CHECKING:  # torch takes seconds to import: only when there is something to embed
    from cryoembed.models.checkpoint import LoadedModel


def load_encoder(weights: str) -> LoadedModel:
    """Load a subtomogram network from a file or by its bundled name; `InputError` if it is another kind of network."""
    from cryoembed.models.checkpoint import find_weights, load_weights

    loaded = load_weights(find_weights(weights))
    if not isinstance(loaded.card.network, SubtomogramEncoderConfig):
        raise InputError(
            f"weights {weights} are a {loaded.card.network.kind}; expected a subtomogram network (simsiam or vit)"
        )
    return loaded


def store_key(card: ModelCard, model_hash: str, *, copies: int = 1) -> StoreKey:
    """The key of a store whose vectors this encoder makes, averaged over so many test-time copies."""
    network = card.network
    if not isinstance(network, SubtomogramEncoderConfig):
        raise InputError(f"{card.name}: a {network.kind} makes no vectors of particles; expected simsiam or vit")
    return StoreKey(
        model_hash=model_hash,
        model_name=card.name,
        box_angstrom=network.box_vox * card.input.voxel_size,
        box_vox=network.box_vox,
        mask=network.mask,
        input=card.input,
        voxel_size=card.input.voxel_size,
        copies=copies,
        dim=network.embedding_dim,
    )


def embed_positions(
    module: Any,
    key: StoreKey,
    prepared: Tomogram,
    positions_zyx: npt.ArrayLike,
    *,
    instances: npt.NDArray[Any] | None = None,
    ids: npt.ArrayLike | None = None,
    device: str = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    batch: int = 64,
) -> npt.NDArray[np.float32]:
    """Cut the boxes at (n, 3) positions in A out of a prepared tomogram, mask them as the key says, embed them.

    Parameters
    ----------
    module
        The encoder.
    prepared
        From `preprocess.prepare` with ``key.input``.
    instances, ids
        Label volume on the prepared grid and the label of each position, for keys with a mask; without ``ids`` the
        label at the position counts. A position on no instance is embedded without a mask.

    Returns
    -------
    (n, key.dim) float32 of length 1.
    """
    from cryoembed.infer.vectors import embed_boxes

    positions = np.asarray(positions_zyx, dtype=np.float64).reshape(-1, 3)
    if len(positions) == 0:
        return np.zeros((0, key.dim), dtype=np.float32)
    boxes = iterate_boxes(
        prepared.data,
        prepared.to_voxel(positions),
        key.box_vox,
        batch=batch,
        instances=instances,
        ids=ids,
        mask=key.mask if instances is not None else "none",
        dilate_vox=key.dilate_vox,
    )
    if key.copies not in (1, 4):
        raise InputError(f"vectors averaged over {key.copies} copies: this cryoembed makes 1 or 4")
    return embed_boxes(module, boxes, device=device, precision=precision, copies=1 if key.copies == 1 else 4)
