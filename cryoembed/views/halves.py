"""What training without clean truth sees: crops of two halves of a tomogram, or of one with some voxels hidden.

Crops for training and for validation come from different rows (y, the tilt axis): a row is reconstructed from pixels
that, beyond the reach of one interpolation, no other row uses, so that nothing validated was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, model_validator
from torch import Tensor

from cryoembed.config import Config
from cryoembed.errors import InputError

Batch = dict[str, Tensor]
Volume = npt.NDArray[np.float32]  # (z, y, x), prepared; often a memory map

GAP_VOX = 4  # rows between the two regions: noise is correlated over about two
NEARBY_VOX = 3  # how far beyond the hidden block a stand-in is taken from


class SelfDenoiseData(Config):
    """Which crops are cut, which rows are held out, what a blind spot is."""

    crop_vox: int = Field(48, ge=16, multiple_of=8, description="edge of the cubic crops")
    held_out: float = Field(0.2, gt=0, lt=0.5, description="share of the rows (last y) that is only validated on")
    hidden_share: float = Field(0.0005, gt=0, le=0.01, description="blind_spot: voxels predicted, of all of a crop")
    hidden_reach_vox: tuple[int, int, int] = Field(
        (4, 2, 4), description="blind_spot: voxels hidden on either side of each, zyx; (0, 0, 0) is plain Noise2Void"
    )

    @model_validator(mode="after")
    def _blind(self) -> SelfDenoiseData:
        most = (self.crop_vox - NEARBY_VOX - 1) // 4
        if not all(0 <= reach <= most for reach in self.hidden_reach_vox):
            raise ValueError(
                f"hidden_reach_vox {self.hidden_reach_vox}: expected 0 to {most} each, or stand-ins come from the hidden "
                f"block itself in crops of {self.crop_vox} voxels"
            )
        return self


def check_crops_fit(shape_zyx: tuple[int, int, int], config: SelfDenoiseData, name: str) -> None:
    """Refuse a volume that does not hold one crop for training and one for validation (`InputError`)."""
    crop, (z, y, x) = config.crop_vox, shape_zyx
    validated = max(round(config.held_out * y), crop)
    if min(z, x) < crop or y - validated - GAP_VOX < crop:
        raise InputError(
            f"{name}: {z} x {y} x {x} voxels (z, y, x) after resampling; {validated} rows of y are held out for "
            f"validation and {GAP_VOX} beside them, the rest does not hold crops of {crop} voxels: lower data.crop_vox "
            "or data.held_out"
        )


def draw_halves(
    pairs: Sequence[tuple[Volume, Volume]], config: SelfDenoiseData, generator: np.random.Generator, *, batch: int
) -> Batch:
    """Draw crops of one half as input and of the other as target (Noise2Noise: Lehtinen et al. 2018; cryoCARE).

    Which half is the input is drawn for each crop, so that both directions are learnt. Every axis is reversed with
    probability 1/2, in both halves alike: half turns about z, y and x, and their mirror images, leave the missing wedge
    where it is (quarter turns would not).

    Returns
    -------
    dict
        ``input``, ``target``: (batch, 1, z, y, x); ``held_out_input``, ``held_out_target``: one crop of the rows held
        out.
    """
    parts: Batch = {}
    for prefix, count in (("", batch), ("held_out_", 1)):
        crops = [_crop(pairs, config, generator, held_out=bool(prefix)) for _ in range(count)]
        swapped = [pair[:: 1 - 2 * int(generator.integers(2))] for pair in crops]
        parts[f"{prefix}input"] = _tensor([pair[0] for pair in swapped])
        parts[f"{prefix}target"] = _tensor([pair[1] for pair in swapped])
    return parts


def draw_hidden(
    volumes: Sequence[Volume], config: SelfDenoiseData, generator: np.random.Generator, *, batch: int
) -> Batch:
    """Draw crops in which some voxels have given way to others from nearby, and which those are (Noise2Void).

    Noise2Void (Krull et al. 2019) takes noise for independent from voxel to voxel, so that what surrounds a voxel tells
    its signal and not its noise. In a reconstructed tomogram that is not so: every tilt smears its noise along its own
    beam, near z, and the ramp with its soft fall-off and the resampling spread it over neighbours in y and x. At 10 A
    the voxels around a single hidden one tell 99 % of its noise: plain Noise2Void learns to change nothing. As in
    structured Noise2Void (Broaddus et al. 2020) a block about each predicted voxel is hidden, (4, 2, 4) voxels to
    either side: 6 % are left (`tests.benchmark.denoise` prints both). The signal's own neighbours are hidden with it,
    so halves are to be preferred wherever there are any.

    Returns
    -------
    dict
        As `draw_halves`, and ``weight``, ``held_out_weight``: 1 at the voxels to be predicted, else 0.
    """
    parts: Batch = {}
    for prefix, count in (("", batch), ("held_out_", 1)):
        crops = [
            _crop([(volume,) for volume in volumes], config, generator, held_out=bool(prefix))[0] for _ in range(count)
        ]
        hidden = [hide_voxels(crop, config, generator) for crop in crops]
        parts[f"{prefix}input"] = _tensor([crop for crop, _ in hidden])
        parts[f"{prefix}target"] = _tensor(crops)
        parts[f"{prefix}weight"] = _tensor([predicted for _, predicted in hidden])
    return parts


def hide_voxels(crop: Volume, config: SelfDenoiseData, generator: np.random.Generator) -> tuple[Volume, Volume]:
    """(z, y, x) with blocks about randomly chosen voxels replaced, and 1 at the chosen voxels themselves, else 0.

    Each hidden voxel takes the value of another one that lies beyond its own block along every axis (beyond a face of
    the crop: counted on from the opposite face).
    """
    size, reach = np.array(crop.shape), np.array(config.hidden_reach_vox)
    count = max(1, round(config.hidden_share * crop.size))
    centres = generator.integers(0, size, size=(count, 3))
    block = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    places = (centres[:, None] + block).reshape(-1, 3)
    places = places[np.all((places >= 0) & (places < size), axis=1)]
    steps = 2 * reach + generator.integers(1, NEARBY_VOX + 1, size=places.shape)
    others = (places + np.where(generator.random(places.shape) < 0.5, steps, -steps)) % size
    blinded = crop.copy()
    blinded[tuple(places.T)] = crop[tuple(others.T)]
    predicted = np.zeros_like(crop)
    predicted[tuple(centres.T)] = 1
    return blinded, predicted


def _crop(
    recordings: Sequence[tuple[Volume, ...]], config: SelfDenoiseData, generator: np.random.Generator, *, held_out: bool
) -> list[Volume]:
    """The same random place of all volumes of a random recording, turned alike."""
    volumes = recordings[int(generator.integers(len(recordings)))]
    crop, (z, y, x) = config.crop_vox, volumes[0].shape
    validated = max(round(config.held_out * y), crop)
    first, last = (y - validated, y) if held_out else (0, y - validated - GAP_VOX)
    room = np.array([z, last - first, x]) - crop
    start = np.array([0, first, 0]) + generator.integers(0, room + 1)
    steps = 1 - 2 * generator.integers(2, size=3)
    place = tuple(slice(int(s), int(s) + crop) for s in start)
    turn = tuple(slice(None, None, int(step)) for step in steps)
    return [np.array(volume[place][turn], dtype=np.float32) for volume in volumes]


def _tensor(crops: Sequence[Volume]) -> Tensor:
    return torch.from_numpy(np.stack(crops)[:, None])
