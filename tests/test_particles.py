"""The particle table: checked columns, selection, order, ids."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from cryoembed.errors import InputError
from cryoembed.particles import Particles, is_molecule, is_particle, particle_ids


def three() -> Particles:
    positions = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]
    return Particles.from_arrays(["a", "b", "a"], positions, label=["x", None, "y"], score=[0.1, 0.9, 0.9])


def test_missing_column_is_named() -> None:
    with pytest.raises(InputError, match="missing x"):
        Particles(pd.DataFrame({"tomogram": ["a"], "z": [1.0], "y": [1.0]}))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_position_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(InputError, match="not a finite number"):
        Particles.from_arrays("a", [[0.0, bad, 0.0]])


def test_text_among_numbers_is_refused() -> None:
    with pytest.raises(InputError, match="'z' holds values that are not numbers"):
        Particles(pd.DataFrame({"tomogram": ["a"], "z": ["here"], "y": [1.0], "x": [1.0]}))


def test_positions_stay_float64_and_zyx() -> None:
    positions = three().positions_zyx
    assert positions.dtype == np.float64
    np.testing.assert_array_equal(positions[1], [4, 5, 6])


def test_missing_label_is_the_empty_string() -> None:
    assert list(three().labels) == ["x", "", "y"]
    assert list(Particles.from_arrays("a", [[0, 0, 0]]).labels) == [""]


def test_rotations_come_back_and_are_absent_where_not_given() -> None:
    assert three().rotations is None
    rotation = Rotation.from_euler("xyz", [[10, 20, 30]], degrees=True)
    again = Particles.from_arrays("a", [[0, 0, 0]], rotations=rotation).rotations
    assert again is not None
    assert (again * rotation.inv()).magnitude()[0] < 1e-6


def test_a_row_without_orientation_reads_as_the_identity() -> None:
    table = Particles.from_arrays("a", np.zeros((2, 3)), rotations=Rotation.identity(2)).table
    table.loc[1, ["qx", "qy", "qz", "qw"]] = np.nan
    rotations = Particles(table).rotations
    assert rotations is not None
    assert rotations.magnitude()[1] == 0


def test_sorting_puts_the_best_first_and_keeps_ties_in_order() -> None:
    np.testing.assert_array_equal(three().sorted_by_score().positions_zyx[:, 0], [4, 7, 1])


def test_selecting_by_tomogram_mask_and_index() -> None:
    particles = three()
    assert len(particles.of("a")) == 2
    assert list(particles.select(np.array([True, False, False])).labels) == ["x"]
    assert list(particles.select([2, 0]).labels) == ["y", "x"]
    assert particles.tomograms == ["a", "b"]


def test_concatenation_keeps_every_row() -> None:
    both = Particles.concatenate([three(), Particles.empty(), three()])
    assert len(both) == 6
    assert len(Particles.concatenate([])) == 0


def test_the_given_table_is_not_changed_and_cannot_change_ours() -> None:
    table = pd.DataFrame({"tomogram": ["a"], "z": [1], "y": [2], "x": [3]})
    particles = Particles(table)
    table.loc[0, "z"] = 99
    assert particles.positions_zyx[0, 0] == 1
    assert table["y"].dtype == np.int64


def test_ids_are_stable_and_tell_particles_apart() -> None:
    positions = [[1.0, 2.0, 3.0], [1.0, 2.0, 3.02]]
    first = particle_ids("a", positions, "model")
    assert first == particle_ids("a", positions, "model")
    assert len({*first, *particle_ids("b", positions, "model"), *particle_ids("a", positions, "other")}) == 6
    assert all(len(text) == 16 for text in first)


def test_minus_zero_is_zero_in_an_id() -> None:
    assert particle_ids("a", [[-0.0, 0.0, 0.0]], "m") == particle_ids("a", [[0.0, 0.0, 0.0]], "m")


def test_parts_with_and_without_instances_can_be_joined() -> None:
    first = Particles.from_arrays("a", [[1, 2, 3]], instance=[7])
    joined = Particles.concatenate([first, Particles.from_arrays("a", [[4, 5, 6]])])
    assert joined.column("instance", 0).tolist() == [7, 0]


def test_extended_objects_are_no_particles_and_gold_is_no_molecule():
    labels = np.array(["5MRC", "Vesicle", "dna", "fiducial", "nucleosome", ""], dtype=object)
    assert list(is_particle(labels)) == [True, False, False, True, True, True]
    assert list(is_molecule(labels)) == [True, False, False, False, True, True]
    assert len(is_molecule([])) == 0
