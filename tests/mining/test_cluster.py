from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from cryoembed.errors import InputError
from cryoembed.mining.cluster import ClusterConfig, by_size, cluster, kmeans, medoids
from cryoembed.mining.spectral import eigengap, landmark_embedding, mixtures
from tests.store.planted import blobs


@pytest.mark.parametrize("spectral", ["centroids", "off"])
@pytest.mark.parametrize("sizes", [[60, 50, 40, 30, 20], [200, 30, 12], [12, 12]])
def test_planted_blobs_are_recovered(spectral: str, sizes: list[int]) -> None:
    vectors, classes, _ = blobs(sizes, dim=16)
    found = cluster(vectors, ClusterConfig(n_clusters=len(sizes), spectral=spectral))  # type: ignore[arg-type]
    assert adjusted_rand_score(classes, found.labels) == 1
    assert found.sizes.tolist() == sorted(sizes, reverse=True)


@pytest.mark.parametrize("sizes", [[60, 50, 40, 30, 20], [200, 100, 50], [80, 80]])
def test_the_eigengap_finds_the_number_of_blobs(sizes: list[int]) -> None:
    vectors, classes, _ = blobs(sizes, dim=16)
    found = cluster(vectors, ClusterConfig())
    assert len(found) == len(sizes)
    assert adjusted_rand_score(classes, found.labels) == 1


def test_parts_are_split_by_spectral_clustering() -> None:
    vectors, classes, _ = blobs([80, 70, 60, 50], dim=16)
    found = cluster(vectors, ClusterConfig(k=1, n_clusters=4, spectral="parts"))
    assert adjusted_rand_score(classes, found.labels) == 1
    found = cluster(vectors, ClusterConfig(k=4, n_clusters=2, spectral="parts"))
    assert len(found) == 8
    assert all(len(set(classes[found.labels == label])) == 1 for label in range(8))


def test_spectral_joins_a_ring_that_kmeans_would_cut() -> None:
    """Two rings side by side: not compact, but each hangs together."""
    angle = np.linspace(0, 2 * np.pi, 300, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(300)], axis=1)
    inner = ring * 0.35
    points = np.concatenate([ring, inner]).astype(np.float32)
    truth = np.repeat([0, 1], 300)
    found = cluster(points, ClusterConfig(k=60, n_clusters=2))
    assert adjusted_rand_score(truth, found.labels) == 1
    assert adjusted_rand_score(truth, cluster(points, ClusterConfig(n_clusters=2, spectral="off")).labels) < 0.5


@pytest.mark.parametrize("spectral", ["centroids", "parts", "off"])
def test_a_fixed_seed_gives_the_same_labels(spectral: str) -> None:
    vectors = blobs([40, 40, 40], spread=0.5)[0]
    config = ClusterConfig(k=20, spectral=spectral, n_clusters=4, seed=3)  # type: ignore[arg-type]
    first, again = cluster(vectors, config), cluster(vectors, config)
    np.testing.assert_array_equal(first.labels, again.labels)
    np.testing.assert_array_equal(first.medoids, again.medoids)


def test_fewer_particles_than_clusters_are_refused() -> None:
    vectors = blobs([4])[0]
    with pytest.raises(InputError, match="4 particles cannot make 5 clusters"):
        cluster(vectors, ClusterConfig(n_clusters=5))
    with pytest.raises(InputError, match="1 particles cannot make"):
        cluster(vectors[:1])
    with pytest.raises(InputError, match="4 vectors cannot make 9"):
        kmeans(vectors, 9)


@pytest.mark.parametrize("n", [2, 3, 5, 11])
@pytest.mark.parametrize("spectral", ["centroids", "parts", "off"])
def test_a_handful_of_particles_still_makes_clusters(n: int, spectral: str) -> None:
    found = cluster(blobs([n], spread=0.3)[0], ClusterConfig(spectral=spectral))  # type: ignore[arg-type]
    assert found.sizes.sum() == n
    assert (found.sizes > 0).all()


def test_identical_particles_are_refused_or_clustered_but_never_crash() -> None:
    same = np.repeat(blobs([1])[0], 30, axis=0)
    assert cluster(same, ClusterConfig(k=1, n_clusters=1)).sizes.tolist() == [30]


def test_a_medoid_has_the_least_summed_squared_distance() -> None:
    vectors, classes, _ = blobs([15, 25], spread=0.3)
    for label, row in enumerate(medoids(vectors, classes)):
        members = np.flatnonzero(classes == label)
        distances = np.square(vectors[members][:, None] - vectors[members][None]).sum((1, 2))
        assert row == members[distances.argmin()]


def test_kmeans_is_as_good_as_scikit_learn() -> None:
    from sklearn.cluster import KMeans

    vectors = blobs([50] * 8, dim=16, spread=0.25)[0]
    _, _, inertia = kmeans(vectors, 8)
    assert inertia <= 1.005 * KMeans(8, n_init=4, random_state=0).fit(vectors).inertia_


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=40))
def test_renumbering_by_size_keeps_the_partition(values: list[int]) -> None:
    labels = np.array(values)
    renamed = by_size(labels)
    assert adjusted_rand_score(labels, renamed) == 1
    sizes = np.bincount(renamed)
    assert (np.diff(sizes) <= 0).all()
    assert (sizes > 0).all()


def test_noisy_blobs_are_found_with_their_number() -> None:
    """Noise 1.6 times longer than the blobs are apart from the origin, in 64 dimensions; sizes from 30 to 400."""
    generator = np.random.default_rng(6)
    sizes = generator.integers(30, 400, 6)
    directions = np.linalg.qr(generator.normal(size=(64, 6)))[0].T
    classes = np.repeat(np.arange(6), sizes)
    points = directions[classes] + generator.normal(size=(len(classes), 64)) * 0.2
    vectors = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    found = cluster(vectors)
    assert len(found) == 6
    assert adjusted_rand_score(classes, found.labels) > 0.95


def test_a_point_is_a_mixture_of_its_nearest_landmarks() -> None:
    vectors, _, directions = blobs([20, 20, 20, 20])
    landmarks = directions.astype(np.float32)
    weights = mixtures(vectors, landmarks).toarray()
    distances = np.linalg.norm(vectors[:, None] - landmarks[None], axis=2)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_array_equal((weights > 0).sum(axis=1), 3)
    np.testing.assert_array_equal(weights.argmax(axis=1), distances.argmin(axis=1))
    np.testing.assert_array_equal(weights.argmin(axis=1), distances.argmax(axis=1))


def test_landmark_coordinates_are_eigenvectors_of_the_full_graph() -> None:
    vectors, _, _ = blobs([15, 15, 15], spread=0.2)
    landmarks = vectors[::5]
    values, coordinates = landmark_embedding(vectors, landmarks, 3)
    weights = mixtures(vectors, landmarks).toarray()
    graph = weights @ np.diag(1 / weights.sum(axis=0)) @ weights.T  # (n, n), rows sum to 1
    np.testing.assert_allclose(graph.sum(axis=1), 1)
    np.testing.assert_allclose(graph @ coordinates, coordinates * values, atol=1e-10)
    assert values[0] == pytest.approx(1)


def test_the_eigengap_is_the_largest_step_after_the_first() -> None:
    assert eigengap(np.array([1.0, 0.99, 0.98, 0.3, 0.2]), 30) == 3
    assert eigengap(np.array([1.0, 0.3, 0.1, 0.05, 0.01]), 30) == 2
    assert eigengap(np.array([1.0, 0.99, 0.98, 0.97, 0.3]), 3) in (2, 3)
    assert eigengap(np.array([1.0]), 30) == 1
