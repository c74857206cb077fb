from __future__ import annotations

import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.mining.reduce import UmapConfig, pca, umap
from tests.store.planted import blobs


def test_pca_equals_the_singular_values() -> None:
    vectors = blobs([40, 20], spread=0.3)[0]
    found = pca(vectors, 3)
    centred = vectors - vectors.mean(axis=0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(found.coordinates), np.abs(centred @ axes[:3].T), atol=1e-4)
    share = (values[:3] ** 2).sum() / (values**2).sum()
    assert found.note == f"PCA of all 60 particles, {share:.0%} of the variance"


def test_pca_does_not_depend_on_the_order_of_rows() -> None:
    vectors = blobs([40, 20], spread=0.3)[0]
    np.testing.assert_allclose(pca(vectors[::-1]).coordinates[::-1], pca(vectors).coordinates, atol=1e-5)


@pytest.mark.slow
def test_umap_keeps_blobs_apart_repeats_itself_and_says_what_it_sampled() -> None:
    vectors, classes, _ = blobs([60, 60])
    config = UmapConfig(max_rows=100, n_neighbours=10)
    found, again = umap(vectors, config), umap(vectors, config)
    np.testing.assert_array_equal(found.coordinates, again.coordinates)
    assert found.note == "UMAP fitted on 100 of 120 particles (random), the others placed by their neighbours"
    assert len(found.fitted) == 100
    centres = np.stack([found.coordinates[classes == label].mean(axis=0) for label in (0, 1)])
    nearest = np.linalg.norm(found.coordinates[:, None] - centres[None], axis=2).argmin(axis=1)
    assert (nearest == classes).mean() > 0.98


def test_too_few_particles_are_refused() -> None:
    with pytest.raises(InputError, match="at least 5"):
        umap(blobs([4])[0])
    with pytest.raises(InputError, match="at least 2"):
        pca(blobs([1])[0])
