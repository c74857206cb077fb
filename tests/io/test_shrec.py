"""SHREC 2021 folders: line numbers, class numbers, angles that are NaN, shapes that must agree."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryoembed.errors import InputError
from cryoembed.io import read_model, read_particles, write_model, write_mrc
from cryoembed.io.shrec import SHREC_2021, VOLUMES
from cryoembed.particles import Particles
from tests.test_rotations import zxz_matrix

SHAPE = (6, 7, 8)
LINES = "1bxn 5 4 3 10 20 30\nvesicle 1 2 3 NaN NaN NaN\n4cr2 7 6 5 -40.5 50 60\nfiducial 0 0 0 NaN NaN NaN\n"


def folder_with(tmp_path: Path, lines: str = LINES) -> Path:
    folder = tmp_path / "model_3"
    for name in VOLUMES:
        write_mrc(folder / f"{name}.mrc", np.zeros(SHAPE, np.float32), 10.0)
    (folder / "particle_locations.txt").write_text(lines)
    return folder


def truth() -> Particles:
    rotations = Rotation.random(3, rng=np.random.default_rng(0))
    positions = [[10.0, 20.0, 30.0], [14.0, 26.0, 35.0], [0.0, 0.0, 0.0]]
    return Particles.from_arrays("model_0", positions, rotations=rotations, label=["b", "a", "b"])


def test_columns_are_name_x_y_z_and_fixed_axis_zxz(tmp_path: Path) -> None:
    particles = read_model(folder_with(tmp_path)).particles
    np.testing.assert_array_equal(particles.positions_zyx[0], [30, 40, 50])
    assert particles.rotations is not None
    np.testing.assert_allclose(particles.rotations.as_matrix()[0], zxz_matrix(10, 20, 30), atol=1e-6)
    assert list(particles.labels) == ["1bxn", "vesicle", "4cr2", "fiducial"]
    assert particles.tomograms == ["model_3"]


def test_occupancy_id_is_the_line_number_from_one(tmp_path: Path) -> None:
    assert list(read_model(folder_with(tmp_path)).particles.table["instance"]) == [1, 2, 3, 4]


def test_vesicles_and_fiducials_have_no_rotation(tmp_path: Path) -> None:
    table = read_model(folder_with(tmp_path)).particles.table
    assert list(table["qw"].isna()) == [False, True, False, True]


def test_classes_follow_shrecs_order_where_they_are_shrecs(tmp_path: Path) -> None:
    assert read_model(folder_with(tmp_path)).classes == (
        "1bxn",
        "vesicle",
        "4cr2",
        "fiducial",
    )  # lower case: not theirs
    official = folder_with(tmp_path / "b", LINES.replace("1bxn", "1BXN").replace("4cr2", "4CR2"))
    assert read_model(official).classes == SHREC_2021


def test_a_written_model_reads_back(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    density = generator.normal(size=SHAPE).astype(np.float32)
    occupancy = np.zeros(SHAPE, np.int32)
    occupancy[1, 2, 3], occupancy[1, 3, 4], occupancy[0, 0, 0] = 1, 2, 3
    write_model(
        tmp_path / "model_0",
        reconstruction=density,
        grandmodel=-density,
        class_mask=(occupancy > 0).astype(np.int32),
        occupancy_mask=occupancy,
        particles=truth(),
        voxel_size=10.0,
        classes=["a", "b"],
    )
    model = read_model(tmp_path / "model_0")
    np.testing.assert_array_equal(model.reconstruction.data, density)
    np.testing.assert_array_equal(model.occupancy_mask.data, occupancy)
    assert isinstance(model.reconstruction.data, np.memmap)
    assert model.classes == ("a", "b")
    assert model.reconstruction.name == "model_0"
    np.testing.assert_array_equal(model.particles.positions_zyx, [[10, 20, 30], [10, 30, 40], [0, 0, 0]])
    voxels = np.round(model.particles.positions_zyx / 10).astype(int)
    np.testing.assert_array_equal(model.occupancy_mask.data[tuple(voxels.T)], model.particles.table["instance"])
    expected = truth().rotations
    assert expected is not None
    assert model.particles.rotations is not None
    assert (model.particles.rotations * expected.inv()).magnitude().max() < 1e-4


def test_a_cropped_model_keeps_the_parents_frame(tmp_path: Path) -> None:
    origin = (1650.0, 0.0, 0.0)
    volume = np.zeros(SHAPE, np.float32)
    particles = Particles.from_arrays("m", [[1670.0, 30.0, 40.0]], label=["a"])
    volumes = dict.fromkeys(VOLUMES, volume)
    write_model(tmp_path / "m", **volumes, particles=particles, voxel_size=10.0, origin=origin)
    assert (tmp_path / "m" / "particle_locations.txt").read_text() == "a 4 3 2 NaN NaN NaN\n"
    model = read_model(tmp_path / "m", origin=origin)
    np.testing.assert_array_equal(model.particles.positions_zyx, particles.positions_zyx)
    np.testing.assert_array_equal(model.reconstruction.to_voxel(model.particles.positions_zyx), [[2, 3, 4]])


def test_missing_files_are_named(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    (folder / "class_mask.mrc").unlink()
    with pytest.raises(InputError, match=r"missing class_mask\.mrc"):
        read_model(folder)


def test_volumes_of_different_shape_are_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    write_mrc(folder / "class_mask.mrc", np.zeros((5, 7, 8), np.float32), 10.0)
    with pytest.raises(InputError, match="differ in shape"):
        read_model(folder)


@pytest.mark.parametrize("line", ["a 1 2", "a 1 2 3 4", "a x y z 1 2 3", "\na 1 2 3"])
def test_a_bad_line_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError, match=r"particle_locations\.txt.*expected 'name x y z"):
        read_model(folder_with(tmp_path, line + "\n"))


def test_the_list_is_read_as_picks_too(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    for path in (folder, folder / "particle_locations.txt"):
        np.testing.assert_array_equal(read_particles(path).positions_zyx[0], [30, 40, 50])
