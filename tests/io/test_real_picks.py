"""Picks that real programs wrote: read, written in every format, read again; or refused with one clear line."""

import contextlib
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryoembed.errors import InputError
from cryoembed.io import TomogramInfo, describe, read_particles, write_particles
from cryoembed.io.relion_read import is_particle_table
from cryoembed.io.star import read_blocks
from cryoembed.particles import Particles
from tests.io.test_relion import assert_same
from tests.test_rotations import relion_matrix

# file: what to pass, how many, the first tomogram, the first position (z, y, x; A) worked out from the first row
READABLE: dict[str, tuple[dict[str, Any], int, str, tuple[float, float, float]]] = {
    "cryocat/relion_4.0.star.gz": ({}, 1746, "TS_017", (1856.840704, 841.223824, 3349.439584)),
    "cryocat/run_it025_data.star.gz": ({}, 7488, "021", (2080.87067, 4546.081262, 7788.855742)),
    "cryocat/tutorial_data/add_obj_sub_id.star": ({}, 2, "1", (9.6, 18.24, 12.6)),
    "cryocat/tutorial_data/false_orig.star": ({}, 2, "1", (9.6, 18.24, 12.6)),
    "cryocat/tutorial_data/relion_test.star": ({}, 3, "1006", (943.18965, 1636.71965, 2293.45465)),
    "cryocat/tutorial_data/relion_test2.star": ({}, 1, "0002", (0, 0, 0)),
    "cryocat/tutorial_data/true_all_orig.star": ({}, 1, "micrograph_01", (9.6, 18.24, 12.6)),
    "cryocat/tutorial_data/true_orig.star": ({}, 1, "micrograph_01", (9.6, 18.24, 12.6)),
    "cryolo/3d_particle.cbox": ({"voxel_size": 10.0}, 3, "3d_particle", (500.0, 402.21405, 247.57084)),
    "cryolo/particles3d.cbox.gz": ({"voxel_size": 10.0}, 34414, "particles3d", (1145.625, 6835.0, 7330.0)),
    "portal/points_with_header.csv": ({"tomogram": "A"}, 3, "A", (3, 2, 1)),
    "portal/points_with_header_pipe_delim.csv": ({"tomogram": "A"}, 3, "A", (3, 2, 1)),
    "portal/relion_3_star.star": ({}, 6, "tomo_1", (12 * 1.7005 + 3.2 * 1.7005, 17.6852, 8.8426)),
    "portal/relion_4_star.star": ({}, 6, "TS_001", (15.2, 10.4, 5.2)),
    "portal/tomoman_relion_star.star": ({}, 6, "grid_1_lamella1_pos1", (29.792, 20.384, 10.192)),
    "relion/CCDC147C_026_14.00Apx_particles.star.gz": ({}, 2500, "CCDC147C_026_14.00Apx", (2156, 6076, 5124)),
    "relion/clathrin.star.gz": ({"voxel_size": 1.96}, 5999, "tomo_0404", (2744.00196, 6538.56, 2924.31804)),
    "relion/example_starfile.star": ({}, 74, "20211007_tomo10", (9075.545002, 5057.351442, 14470.048782)),
    "relion/ps2.star.gz": ({"voxel_size": 1.96}, 3111, "tomo_0024", (0, 0, 0)),
    "relion/pyto_relion3.star.gz": ({"voxel_size": 8.0}, 441, "syn_m13_ctrl_108_bin2", (0, 0, 0)),
    "relion/pyto_relion4.star.gz": ({}, 1024, "tomo_1-2-002", (449.029265, 4733.23921, 2662.88721)),
    "relion/relion3.1.star": ({}, 57, "TS_01", (1747.147573, 4594.247573, 1570.697573)),
    "relion/subtomo_format.star.gz": ({}, 1037, "tomo200528_100", (1434.368, 2744.608, 5558.176)),
    "relion5_real/R5_tutorial_run_data.star.gz": (
        {"tomograms_star": "relion5_real/R5_tutorial_run_tomograms.star"},
        9053, "TS_01", (2477.275474, 1747.588175, 4474.199328),
    ),
    "relion5_cylindra/Class3D/run_it025_data.star": (
        {"tomograms_star": "relion5_cylindra/Tomograms/tomograms.star"},
        10, "TS_01", (365.361964, -169.64586, 1195.969868),
    ),
    "relion5_cylindra/Picks/particles.star": (
        {"tomograms_star": "relion5_cylindra/Tomograms/tomograms.star"}, 5, "TS_01", (242.6, 1480.84005, 264.9),
    ),
    "relion5_real/warp2_particles_matching.star.gz": ({}, 1218, "TS_17", (303.312, 1588.528, 1416.968)),
    "star_edge/one_loop.star": ({}, 16, "tomo_ts01.mrc_15.00Apx", (4822.5, 5422.5, 7862.22)),
    "warp/warp2dynamo_example.star.gz": ({}, 1399, "tomo_ts01.mrc_15.00Apx", (4867.5, 5632.5, 7561.765)),
    "warp/warptools_test_4-tomos_10-ptcls_box-32_angpix-12.star": ({}, 40, "Unt_083", (337.752, 6768.78, 5934.252)),
    "warp/warptools_test_4-tomos_10-ptcls_box-32_angpix-12_optimisation_set.star": (
        {}, 40, "Unt_083", (337.752, 6768.78, 5934.252),
    ),
}  # fmt: skip

REFUSED = {
    "cryolo/valid.tloc": "Python pickle",
    "cryolo/ActLifeact_02885.cbox": "2D micrographs",
    "cryolo/2d_corrupt_has_string.box": "no reader for '.box'",
    "csv/TS_037_fas.csv": "order of its axes",
    "csv/TS_037_cyto_ribosomes.csv": "order of its axes",
    "csv/train_labels.csv": "expected the columns tomogram,z,y,x",
    "portal/points.csv": "order of its axes",
    "portal/points_tab_delim.csv": "order of its axes",
    "portal/tardis.csv": "missing z, y, x among the columns",
    "portal/copick.json": "no reader for '.json'",
    "portal/stopgap_star.star": "stopgap_motivelist",
    "relion/relion_with_optics_group.star": "2D micrographs",
    "relion/clathrin.star.gz": "pass --voxel-size",
    "relion/tilt_series.star": "rlnCenteredCoordinate",
    "relion5_real/R5_tutorial_run_data.star.gz": "--tomograms-star",
    "relion5_real/warp2_matching_optimisation_set.star": "matching.star is not found",
    "star_edge/empty_loop.star": "rlnCenteredCoordinate",
    "star_edge/rln3.1_data_style.star": "several blocks",
    "star_edge/two_basic_blocks.star": "rlnCenteredCoordinate",
    "aretomo/TiltSeries_Metrics.csv": "expected the columns tomogram,z,y,x",
}


@functools.cache
def read(shared_data: Path, name: str) -> Particles:
    arguments = dict(READABLE[name][0])
    if "tomograms_star" in arguments:
        arguments["tomograms_star"] = shared_data / "picks" / arguments["tomograms_star"]
    return read_particles(shared_data / "picks" / name, **arguments)


@pytest.mark.parametrize("name", READABLE)
def test_real_picks_are_where_their_program_put_them(shared_data: Path, name: str) -> None:
    _, count, tomogram, first = READABLE[name]
    particles = read(shared_data, name)
    assert len(particles) == count
    assert particles.table["tomogram"][0] == tomogram
    if any(first):
        np.testing.assert_allclose(particles.positions_zyx[0], first, atol=2e-6)


@pytest.mark.parametrize("name", READABLE)
def test_real_picks_survive_every_format(shared_data: Path, tmp_path: Path, name: str) -> None:
    particles = read(shared_data, name)
    if len(particles) > 500:
        particles = particles.select(np.arange(0, len(particles), len(particles) // 250))
    infos = {
        tomogram: TomogramInfo(name=tomogram, size_zyx_px=(1000, 4400, 6001), pixel_size=1.35, star_name=tomogram)
        for tomogram in particles.tomograms
    }
    for chosen in ("relion5", "relion4", "warp", "csv", "parquet"):
        path = tmp_path / f"again.{chosen if chosen in ('csv', 'parquet') else 'star'}"
        write_particles(path, particles, tomograms=infos, format=chosen)
        again = read_particles(path, tomograms=infos)
        assert_same(again, particles, *[column for column in ("score",) if column in particles.table])


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(shared_data: Path, name: str) -> None:
    with pytest.raises(InputError, match=REFUSED[name]) as refusal:
        read_particles(shared_data / "picks" / name)
    assert "\n" not in str(refusal.value)
    assert Path(name).name in str(refusal.value)


def test_every_real_star_file_is_read_or_refused(shared_data: Path) -> None:
    for path in sorted((shared_data / "picks").rglob("*.star*")):
        assert describe(path)["kind"]
        if path.stat().st_size < 50_000:
            with contextlib.suppress(InputError):  # anything else is a failure
                read_particles(path, voxel_size=1.0, tomogram="A")


def test_the_relion_5_tutorial_run_by_relions_own_arithmetic(shared_data: Path) -> None:
    folder = shared_data / "picks" / "relion5_real"
    table = read_blocks(folder / "R5_tutorial_run_data.star.gz")["particles"].iloc[::500]
    assert is_particle_table(table)
    particles = read(shared_data, "relion5_real/R5_tutorial_run_data.star.gz").select(np.arange(0, 9053, 500))
    assert particles.rotations is not None
    for (_, row), position, matrix in zip(
        table.iterrows(), particles.positions_zyx, particles.rotations.as_matrix(), strict=True
    ):
        subtomogram = relion_matrix(*(row[f"rlnTomoSubtomogram{angle}"] for angle in ("Rot", "Tilt", "Psi")))
        particle = relion_matrix(*(row[f"rlnAngle{angle}"] for angle in ("Rot", "Tilt", "Psi")))
        centred = np.array([row[f"rlnCenteredCoordinate{axis}Angst"] for axis in "XYZ"])
        shift = np.array([row[f"rlnOrigin{axis}Angst"] for axis in "XYZ"])
        corner = centred + 1.35 * np.array([2000, 2000, 1000]) - subtomogram @ shift
        np.testing.assert_allclose(position, corner[::-1], atol=1e-6)
        np.testing.assert_allclose(matrix, subtomogram @ particle, atol=1e-5)


def test_the_pseudo_labels_say_which_columns_are_wanted(shared_data: Path) -> None:
    path = shared_data / "tomograms" / "emp10499" / "00254_ribosome_pseudolabels_y_below_180.csv"
    with pytest.raises(
        InputError, match=r"missing z, y, x among the columns x_20A.*expected the columns tomogram,z,y,x"
    ):
        read_particles(path)
