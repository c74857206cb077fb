"""The same splat and gather as sparse matrices in torch: one row of weights per image column, for GPUs.

A block of y rows is a dense matrix (z x, y); the projections are (t u, z x) @ (z x, y), the back-projection its
transpose. Sparse products are deterministic, unlike scattered atomic additions. Tested on torch's CPU against the
compiled kernels; not yet run on a GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Centre = tuple[float, float, float]  # z, x, u


def resolved(device: str) -> str:
    """``cpu`` for the compiled kernels, which need no torch, else the name of a torch device.

    ``auto`` is the first GPU, or ``cpu``; ``cpu:0`` is torch on the CPU (for tests).

    Raises
    ------
    InputError
        If a GPU is asked for that torch can't use, or the name is no device.
    """
    if device in ("cpu", "cpu:0"):
        return device
    from cryoembed.device import choose_device

    return str(choose_device(device))


def project_rows(
    volume: npt.NDArray[Any],
    cosines: npt.NDArray[np.float32],
    sines: npt.NDArray[np.float32],
    centre: Centre,
    width: int,
    device: str,
) -> npt.NDArray[np.float32]:
    """(z, y, x) -> (t, y, u), as `splat.splat` does."""
    import torch

    depth, height, length = volume.shape
    dense = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32)).to(device)
    dense = dense.permute(0, 2, 1).reshape(depth * length, height)
    images = torch.empty((len(cosines), height, width), device=device)
    for t, (cosine, sine) in enumerate(zip(cosines, sines, strict=True)):
        columns, voxels, weights = _entries((depth, length), float(cosine), float(sine), centre, width, device)
        images[t] = _product(columns, voxels, weights, width, dense).T
    return images.cpu().numpy()


def back_project_rows(
    images: npt.NDArray[Any],
    cosines: npt.NDArray[np.float32],
    sines: npt.NDArray[np.float32],
    centre: Centre,
    depth: int,
    length: int,
    device: str,
) -> npt.NDArray[np.float32]:
    """(t, y, u) -> (z, y, x), as `splat.gather` does."""
    import torch

    _, height, width = images.shape
    volume = torch.zeros((depth * length, height), device=device)
    for t, (cosine, sine) in enumerate(zip(cosines, sines, strict=True)):
        columns, voxels, weights = _entries((depth, length), float(cosine), float(sine), centre, width, device)
        image = torch.from_numpy(np.ascontiguousarray(images[t].T, dtype=np.float32)).to(device)
        volume += _product(voxels, columns, weights, depth * length, image)
    return volume.reshape(depth, length, height).permute(0, 2, 1).contiguous().cpu().numpy()


def _product(rows: Any, columns: Any, weights: Any, count: int, dense: Any) -> Any:
    """(count, n) product of the sparse matrix of these entries and a dense one."""
    import torch

    indices, size = torch.stack([rows, columns]), (count, len(dense))
    matrix = torch.sparse_coo_tensor(indices, weights, size, check_invariants=False)
    return torch.sparse.mm(matrix.coalesce(), dense)


def _entries(
    shape_zx: tuple[int, int], cosine: float, sine: float, centre: Centre, width: int, device: str
) -> tuple[Any, Any, Any]:
    """Image columns, voxels and weights of all pairs that share density, each (n,)."""
    import torch

    z = torch.arange(shape_zx[0], device=device, dtype=torch.float64)[:, None] - centre[0]
    x = torch.arange(shape_zx[1], device=device, dtype=torch.float64)[None] - centre[1]
    u = (centre[2] + x * cosine - z * sine).reshape(-1)
    below = u.floor()
    share = u - below
    columns = torch.cat([below, below + 1]).long()
    weights = torch.cat([1 - share, share]).float()
    voxels = torch.arange(u.numel(), device=device).repeat(2)
    inside = (columns >= 0) & (columns < width)
    return columns[inside], voxels[inside], weights[inside]
