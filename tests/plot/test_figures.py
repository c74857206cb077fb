import base64
import io

import numpy as np
import pytest
from PIL import Image

from cryoembed.errors import InputError
from cryoembed.particles import Particles
from cryoembed.plot.embeddings import embedding_scatter, medoid_montage
from cryoembed.plot.planes import plane_image, richest_position
from cryoembed.plot.slices import Overlay, montage_figure, orthogonal_figure, slice_figure
from cryoembed.plot.training import training_figure
from cryoembed.tomogram import Tomogram

SHAPE, VOXEL, ORIGIN = (12, 20, 30), 10.0, (1000.0, 50.0, 0.0)
SPOT = (3, 4, 25)  # voxel; at 1030, 90, 250 A in the parent frame
PARTICLES = Particles.from_arrays(
    "a", [[1030.0, 90, 250], [1100, 150, 40]], label=["ribosome", "vault"], score=[0.9, 0.1]
)


@pytest.fixture
def tomogram():
    data = np.zeros(SHAPE, np.float32)
    data[SPOT] = 50.0
    return Tomogram(data, VOXEL, "a", ORIGIN)


def brightest(figure, number=0):
    """Where in axis units the brightest pixel of a figure's picture is drawn: (horizontal, vertical)."""
    image = figure.layout.images[number]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image.source.split(",")[1]))))
    row, column = np.unravel_index(pixels.argmax(), pixels.shape)
    return (
        image.x + (column + 0.5) / pixels.shape[1] * image.sizex,
        image.y - (row + 0.5) / pixels.shape[0] * image.sizey,
    )


def test_a_bright_voxel_lies_under_the_particle_drawn_at_its_position(tomogram):
    figure = slice_figure({"raw": tomogram}, position=1030.0, overlays={"raw": [Overlay("hits", PARTICLES, within=5)]})
    assert brightest(figure) == pytest.approx((25.0, 9.0))  # nm: x = 250 A, y = 90 A
    marked = next(trace for trace in figure.data if trace.text is not None)
    assert (list(marked.x), list(marked.y)) == ([25.0], [9.0])
    assert "ribosome" in marked.text[0]


def test_all_three_planes_agree_on_where_the_voxel_is(tomogram):
    figure = orthogonal_figure(tomogram, centre_zyx=[1030.0, 90.0, 250.0])
    assert brightest(figure, 0) == pytest.approx((25.0, 9.0))  # z plane: x, y
    assert brightest(figure, 1) == pytest.approx((103.0, 9.0))  # x plane: z, y
    assert brightest(figure, 2) == pytest.approx((25.0, 103.0))  # y plane: x, z


def test_particles_far_from_the_slice_are_not_drawn(tomogram):
    overlay = Overlay("hits", PARTICLES, within=20)
    figure = slice_figure({"raw": tomogram}, position=1050.0, overlays={"raw": [overlay]})
    drawn = [trace for trace in figure.data if trace.text is not None]
    assert [len(trace.x) for trace in drawn] == [1]


def test_the_richest_slice_is_chosen_when_none_is_given(tomogram):
    many = Particles.from_arrays("a", [[1080.0, 60, y] for y in range(5)] + [[1010.0, 60, 0]])
    assert richest_position(tomogram, many, within=10) == pytest.approx(1080, abs=10)
    assert richest_position(tomogram, Particles.empty()) == 1060.0
    figure = slice_figure({"raw": tomogram}, overlays={"raw": [Overlay("hits", many, within=10)]})
    assert "108.0 nm" in figure.layout.title.text


def test_a_position_outside_the_volume_is_refused(tomogram):
    with pytest.raises(InputError, match="outside the volume"):
        plane_image(tomogram, 900.0)
    with pytest.raises(InputError, match="at least one"):
        slice_figure({})


def test_thickness_averages_slices(tomogram):
    thick = plane_image(tomogram, 1030.0, thickness=40.0)
    assert thick[4, 25] == pytest.approx(10.0)  # one of five slices holds it


def test_scores_colour_rings_on_one_scale_for_all_slices(tomogram):
    figure = montage_figure(tomogram, count=4, overlays=[Overlay("hits", PARTICLES, within=30, colour_by="score")])
    scales = {(trace.marker.cmin, trace.marker.cmax) for trace in figure.data if trace.marker.colorscale}
    assert scales == {(float(np.float32(0.1)), float(np.float32(0.9)))}
    assert len(figure.layout.images) == 4


def test_a_slice_figure_of_a_large_volume_stays_small():
    data = np.random.default_rng(0).integers(0, 255, (1, 2000, 2000), dtype=np.uint8)
    figure = slice_figure({"raw": Tomogram(data, 10.0, "a")}, max_side=500)
    assert len(figure.to_json()) < 600_000


def test_each_label_has_its_colour_and_count():
    figure = embedding_scatter(np.eye(2)[[0, 1, 0]], colour=["a", "b", ""], hover={"score": [0.12345, 1.0, 2.0]})
    assert {trace.name for trace in figure.data} == {"a (1)", "b (1)", "unlabelled (1)"}
    assert len({trace.marker.color for trace in figure.data}) == 3
    assert figure.data[0].text[0] == "score: 0.123"


def test_clusters_are_listed_in_order_of_number():
    figure = embedding_scatter(np.zeros((4, 2)), colour=np.array([10, 2, -1, 0]))
    assert [trace.name.split()[0] for trace in figure.data] == ["-1", "0", "2", "10"]


def test_a_sample_is_drawn_above_the_limit_and_the_title_says_so():
    points = np.random.default_rng(0).random((500, 2))
    figures = [embedding_scatter(points, max_points=100, seed=3) for _ in range(2)]
    assert len(figures[0].data[0].x) == 100
    assert "100 of 500" in figures[0].layout.title.text
    assert figures[0] == figures[1]


def test_lengths_that_differ_are_refused():
    with pytest.raises(InputError, match="2 values for 3 points"):
        embedding_scatter(np.zeros((3, 2)), colour=["a", "b"])
    with pytest.raises(InputError, match="n > 0"):
        embedding_scatter(np.zeros((0, 2)))
    with pytest.raises(InputError, match="captions"):
        medoid_montage(np.zeros((2, 4, 4, 4)), ["one"])


def test_the_montage_shows_three_views_of_every_box():
    boxes = np.random.default_rng(0).random((5, 8, 8, 8))
    figure = medoid_montage(boxes, [f"{at}" for at in range(5)], columns=3)
    assert len(figure.layout.images) == 5
    pixels = Image.open(io.BytesIO(base64.b64decode(figure.layout.images[0].source.split(",")[1])))
    assert pixels.height > 2.9 * pixels.width


def test_training_curves_skip_what_is_no_number():
    records = [{"step": 1, "loss": 2.0, "note": "x"}, {"step": 2, "loss": float("nan"), "std": 0.1}, {"loss": 3.0}]
    figure = training_figure(records)
    assert {trace.name: list(trace.x) for trace in figure.data} == {"loss": [1], "std": [2]}
    with pytest.raises(InputError, match="nothing to draw"):
        training_figure([{"step": 1, "note": "x"}])
