"""Do mass and physical potential tell the same scale, and do maps come out alike: ``python -m tests.benchmark.calibration``.

Prints for each structure in ../shared/data its mass, the volts over ice of density 1.0 (integral of the potential over
mass x DENSITY_PER_KDA), and the seconds it took; then for each map its raw integral per kDa, and its template's interior.
"""

import logging
import time
from pathlib import Path

import numpy as np

from cryoembed.io.mrc import read_tomogram
from cryoembed.simulate.density.atoms import sigma_of_resolution
from cryoembed.simulate.density.library import known
from cryoembed.simulate.density.maps import body, template_from_map
from cryoembed.simulate.density.materials import PROTEIN_POTENTIAL, absorption, mean_free_path
from cryoembed.simulate.density.molecule import read_molecule
from cryoembed.simulate.density.potential import potential
from cryoembed.simulate.density.template import DENSITY_PER_KDA

DATA = Path(__file__).resolve().parents[2] / "../shared/data"
NUCLEIC = {"1xnr": "RNA", "4v4r_30S": "RNA + protein", "4UPY": "RNA"}
LIPID = {"dppc128": "lipid"}
MASSES = {"4v4r_30S": 771.0, "4v4r_50S": 1216.0, "4v94": 1710.0}


def main() -> None:
    logging.disable()
    structures()
    maps()
    print("\nmaterial   inelastic mean free path, nm   V_ab, V  (300 kV)")
    for material in ("ice", "protein", "nucleic", "membrane", "gold"):
        print(f"{material:9s}  {mean_free_path(material) / 10:27.0f}  {absorption(material):8.3f}")


def structures() -> None:
    print("structure        atoms     kDa  kDa of the sequence  volts per unit  of PROTEIN_POTENTIAL  seconds  kind")
    volts: dict[str, list[float]] = {}
    for path in sorted((DATA / "structures").iterdir()):
        name = path.name.split(".")[0]
        start = time.perf_counter()
        molecule = read_molecule(path)
        made = potential(molecule, 10.0, sigma=sigma_of_resolution(12.0, 10.0))
        seconds = time.perf_counter() - start
        kind = NUCLEIC.get(name) or LIPID.get(name) or "protein"
        unit = made.integral / (molecule.mass_kda * DENSITY_PER_KDA)
        volts.setdefault("nucleic" if name in NUCLEIC else kind, []).append(unit)
        whole = "-" if molecule.sequence_kda is None else f"{molecule.sequence_kda:.0f}"
        print(
            f"{name:14s} {len(molecule):7d} {molecule.mass_kda:7.1f} {whole:>20s} {unit:15.3f} "
            f"{unit / PROTEIN_POTENTIAL:21.3f} {seconds:8.2f}  {kind}"
        )
    for kind, values in volts.items():
        print(f"{kind}: {np.mean(values):.3f} V (s.d. {np.std(values):.3f}, {len(values)} structures)")
    molecules = np.array(volts["protein"] + volts["nucleic"])
    print(f"largest deviation of proteins and nucleic acids: {np.abs(molecules / PROTEIN_POTENTIAL - 1).max():.1%}")


def maps() -> None:
    print(
        "\nmap                                    voxel    kDa   raw integral / kDa  integral / (mass x constant)  interior"
    )
    interiors = []
    for folder in ("10A", "5A", "10A_membrane"):
        for path in sorted((DATA / "maps" / folder).iterdir()):
            name = path.name.split(".")[0]
            species = known(name)
            if species is None:
                continue
            mass = MASSES.get(name, species.mass_kda)
            loaded = read_tomogram(path)
            raw = body(name, loaded.data, loaded.voxel_size, component="all").sum() * loaded.voxel_size**3 / mass
            made = template_from_map(name, loaded.data, loaded.voxel_size, mass, 10.0, component="all")
            interiors.append(made.interior)
            print(
                f"{folder + '/' + name:37s} {loaded.voxel_size:6.1f} {mass:6.0f} {raw:20.1f} "
                f"{made.integral / (mass * DENSITY_PER_KDA):29.4f} {made.interior:9.2f}"
            )
    print(f"interior densities: {min(interiors):.2f} to {max(interiors):.2f}, median {np.median(interiors):.2f}")


if __name__ == "__main__":
    main()
