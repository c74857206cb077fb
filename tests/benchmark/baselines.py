"""Hand-made features of boxes, for benchmarks to compare learnt vectors with: (n, box, box, box) to (n, d), no torch.

- ``voxels``: low-passed voxels, every other one; turning a particle changes them;
- ``radial``: mean and s.d. by radius, and the logarithm of the radial power spectrum; turning changes nothing;
- ``harmonics``: amplitude of every degree l <= 8 of spherical harmonics on every shell; turning changes nothing either
  (Kazhdan, Funkhouser and Rusinkiewicz 2003, "Rotation invariant spherical harmonic representation of 3D shape
  descriptors"), and it sees shape where ``radial`` sees a ball.

`fitted` standardises and rotates them by PCA learnt on training boxes only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy import fft, ndimage, sparse
from scipy.special import sph_harm_y

Array = np.ndarray
MAX_DEGREE = 8
_THETAS, _PHIS = 24, 48  # well above degree 8, so that higher degrees of the density do not fold back


def voxels(boxes: Array, *, sigma_vox: float = 1.5) -> Array:
    """(n, (box // 2) ** 3) Gaussian low-pass within the sphere that fits the box, every other voxel of each axis."""
    inside = _ball(boxes.shape[1])
    smooth = [ndimage.gaussian_filter(box, sigma_vox) * inside for box in boxes.astype(np.float32)]
    return np.stack([box[1::2, 1::2, 1::2].ravel() for box in smooth])


def radial(boxes: Array) -> Array:
    """(n, d): mean and s.d. of each shell of radius, then the logarithm of the power of each shell of frequency."""
    count, size = boxes.shape[:2]
    shell = np.round(np.sqrt(_squared_radius(size))).astype(np.int64).ravel()
    flat = boxes.reshape(count, -1).astype(np.float64)
    mean = _by_shell(flat, shell, size // 2)
    spread = np.sqrt(np.maximum(_by_shell(flat**2, shell, size // 2) - mean**2, 0))
    power = np.abs(fft.rfftn(boxes * _ball(size), axes=(1, 2, 3))) ** 2
    fz, fx = fft.fftfreq(size) * size, fft.rfftfreq(size) * size
    frequency = np.sqrt(fz[:, None, None] ** 2 + fz[:, None] ** 2 + fx**2)
    spectrum = _by_shell(power.reshape(count, -1), np.round(frequency).astype(np.int64).ravel(), size // 2)
    return np.concatenate([mean, spread, np.log(spectrum + 1e-6)], axis=1)


def harmonics(boxes: Array) -> Array:
    """(n, shells * 9): root mean square on each shell of the part of each degree l = 0..8, shell by shell."""
    sampled, expanded = _sampler(boxes.shape[1]), _expander()
    count = len(boxes)
    values = (sampled @ boxes.reshape(count, -1).T.astype(np.float64)).T.reshape(count, -1, _THETAS * _PHIS)
    parts = np.abs(values @ expanded) ** 2  # (n, shells, degrees and orders m >= 0)
    degrees, orders = _pairs()
    parts *= np.where(orders == 0, 1, 2)  # order -m of a real density has the power of order m
    power = np.stack([parts[..., degrees == degree].sum(axis=-1) for degree in range(MAX_DEGREE + 1)], axis=-1)
    return np.sqrt(power / (4 * np.pi)).reshape(count, -1)


FEATURES: dict[str, Callable[[Array], Array]] = {"voxels": voxels, "radial": radial, "harmonics": harmonics}


def fitted(name: str, train: Array, *, components: int = 64) -> Callable[[Array], Array]:
    """A function from boxes to (n, components) unit vectors: standardised features in the axes of ``train``'s PCA.

    Parameters
    ----------
    name
        Of `FEATURES`.
    train
        (n, box, box, box): all that is learnt from. Fewer components are given where there are fewer boxes or features.
    """
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = FEATURES[name](train)
    kept = min(components, *features.shape)
    learnt = make_pipeline(StandardScaler(), PCA(kept, random_state=0)).fit(features)

    def vectors(boxes: Array) -> Array:
        given = learnt.transform(FEATURES[name](boxes))
        return np.asarray(given / np.maximum(np.linalg.norm(given, axis=1, keepdims=True), 1e-12), dtype=np.float32)

    return vectors


def _by_shell(flat: Array, shell: Array, count: int) -> Array:
    """(n, count) means of (n, voxels) over each of the first shells."""
    inside = np.flatnonzero(shell < count)
    table = sparse.csr_matrix((np.ones(len(inside)), (shell[inside], inside)), shape=(count, len(shell)))
    return (table @ flat.T).T / np.asarray(table.sum(axis=1)).T


def _squared_radius(size: int) -> Array:
    along = np.arange(size) - size // 2
    return along[:, None, None] ** 2 + along[:, None] ** 2 + along**2


def _ball(size: int) -> Array:
    return (_squared_radius(size) < (size // 2) ** 2).astype(np.float32)


def _nodes() -> tuple[Array, Array, Array]:
    """Polar angle, azimuth and weight of points on the sphere: Gauss and Legendre's by regular."""
    cosines, weights = np.polynomial.legendre.leggauss(_THETAS)
    theta, phi = np.meshgrid(np.arccos(cosines), 2 * np.pi * np.arange(_PHIS) / _PHIS, indexing="ij")
    return theta.ravel(), phi.ravel(), np.repeat(weights * 2 * np.pi / _PHIS, _PHIS)


def _pairs() -> tuple[Array, Array]:
    pairs = [(degree, order) for degree in range(MAX_DEGREE + 1) for order in range(degree + 1)]
    degrees, orders = np.array(pairs).T
    return degrees, orders


@lru_cache(maxsize=1)
def _expander() -> Array:
    """(points, degrees and orders m >= 0): weighted conjugate harmonics."""
    theta, phi, weight = _nodes()
    degrees, orders = _pairs()
    return np.conj(sph_harm_y(degrees, orders, theta[:, None], phi[:, None])) * weight[:, None]


@lru_cache(maxsize=4)
def _sampler(size: int) -> sparse.csr_matrix:
    """(shells * points, voxels): linear interpolation on shells of radius 1, 2, ... about the box's centre."""
    theta, phi, _ = _nodes()
    direction = np.stack([np.cos(theta), np.sin(theta) * np.sin(phi), np.sin(theta) * np.cos(phi)])  # zyx
    radii = np.arange(1, size // 2)
    points = (size // 2 + radii[:, None, None] * direction).transpose(0, 2, 1).reshape(-1, 3)
    low = np.minimum(np.floor(points).astype(np.int64), size - 2)
    fraction = points - low
    rows, columns, values = [], [], []
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, fraction, 1 - fraction), axis=1)
        rows.append(np.arange(len(points)))
        columns.append(np.ravel_multi_index(tuple((low + corner).T), (size, size, size)))
        values.append(weight)
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_matrix(entries, shape=(len(points), size**3))
