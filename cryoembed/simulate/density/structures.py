"""Species from files: atomic models (PDB, mmCIF) by their atoms' scattering, and MRC maps calibrated to their mass."""

from __future__ import annotations

import glob
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.io.mrc import read_tomogram
from cryoembed.simulate.density.atoms import template_from_atoms
from cryoembed.simulate.density.template import Split, Template, calibrated, check_mass

ATOMIC_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif")
MAP_SUFFIXES = (".mrc", ".map", ".ccp4")
_COMPRESSED = (".gz", ".bz2")


class StructureSpec(Config):
    """A structure file, or a glob of several, and what the file doesn't say.

    ``name`` defaults to the file's stem; ``mass_kda`` is required for maps (the mass of *what the map holds*, which may
    be half of the complex) and else comes from the atoms; ``assembly`` names a biological assembly of the file ("1").
    """

    path: Path
    name: str | None = None
    mass_kda: float | None = Field(default=None, gt=0)
    symmetry: str = "C1"
    split: Split = "train"
    assembly: str | None = None


def expand(spec: StructureSpec, folder: Path = Path()) -> list[StructureSpec]:
    """Specs with one existing file each, names filled in; relative paths start at ``folder``, globs are sorted.

    Raises
    ------
    InputError
        If nothing matches, or one name or mass is given for several files.
    """
    paths = sorted(Path(found) for found in glob.glob(str(folder / spec.path)))
    if not paths:
        raise InputError(f"structure {folder / spec.path}: no such file; mend the path or set structure_folder")
    if len(paths) > 1 and (spec.name is not None or spec.mass_kda is not None):
        raise InputError(f"structure {spec.path} matches {len(paths)} files, but name or mass_kda is for one")
    return [spec.model_copy(update={"path": path, "name": spec.name or _stem(path)}) for path in paths]


def structure_template(spec: StructureSpec, voxel_size: float, *, resolution: float = 12.0) -> Template:
    """The template of one structure file (a spec from `expand`).

    Raises
    ------
    InputError
        If the file is unreadable or of unknown type, holds no atoms or no positive mass, or is a map without a mass.
    """
    name = spec.name or _stem(spec.path)
    suffix = _suffix(spec.path)
    if suffix in ATOMIC_SUFFIXES:
        positions, weights, mass = read_atoms(spec.path, assembly=spec.assembly)
        return template_from_atoms(
            name,
            positions,
            weights,
            voxel_size,
            spec.mass_kda or mass,
            resolution=resolution,
            symmetry=spec.symmetry,
            split=spec.split,
        )
    if suffix in MAP_SUFFIXES:
        if spec.mass_kda is None:
            raise InputError(
                f"map {spec.path}: give mass_kda, the mass of what it holds; maps have no scale of their own"
            )
        loaded = read_tomogram(spec.path)
        return template_from_map(
            name, loaded.data, loaded.voxel_size, spec.mass_kda, voxel_size, symmetry=spec.symmetry, split=spec.split
        )
    known = " ".join(ATOMIC_SUFFIXES + MAP_SUFFIXES)
    raise InputError(f"structure {spec.path}: unknown type {suffix or '(no suffix)'}; expected {known} (plain or .gz)")


def template_from_map(
    name: str,
    density: npt.NDArray[np.floating],
    map_voxel_size: float,
    mass_kda: float,
    voxel_size: float,
    *,
    symmetry: str = "C1",
    split: Split = "train",
    box_vox: int | None = None,
) -> Template:
    """A template from a (z, y, x) map with bright density at any scale, mass-calibrated and recentred.

    A map of another voxel size is carried over as one Gaussian per voxel, which keeps mass and centre exactly and
    limits the band to the coarser of the two grids.
    """
    check_mass(name, mass_kda)
    density = np.asarray(density, dtype=np.float64)
    if abs(map_voxel_size - voxel_size) < 1e-3 * voxel_size:
        return calibrated(name, density, voxel_size, mass_kda, symmetry=symmetry, split=split, box_vox=box_vox)
    if not density.max() > 0:
        raise InputError(f"template {name}: the density has no positive mass; expected bright particles on zero")
    index = np.argwhere(density > 0.02 * density.max())
    return template_from_atoms(
        name,
        index * map_voxel_size,
        density[tuple(index.T)],
        voxel_size,
        mass_kda,
        resolution=2.5 * max(map_voxel_size, voxel_size),
        symmetry=symmetry,
        split=split,
        box_vox=box_vox,
    )


def read_atoms(
    path: Path, *, assembly: str | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Atoms of the first model, without water: positions, scattering weights and total mass.

    Returns
    -------
    (n, 3) zyx in A; (n,) electron scattering at zero angle times occupancy (Peng et al. 1996, by gemmi); mass in kDa,
    with the hydrogens that the file leaves out.
    """
    import gemmi

    try:
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, OSError, IndexError) as error:
        raise InputError(f"structure {path} is not readable: {str(error).splitlines()[0]}") from None
    if len(structure) == 0:
        raise InputError(f"structure {path}: no atoms; expected a PDB or mmCIF file with coordinates")
    if assembly is not None:
        known = [item.name for item in structure.assemblies]
        if assembly not in known:
            raise InputError(f"structure {path}: no assembly {assembly!r}; it has {', '.join(known) or 'none'}")
        structure.transform_to_assembly(assembly, gemmi.HowToNameCopiedChain.AddNumber)
    positions, weights, mass = [], [], 0.0
    for residue in (residue for chain in structure[0] for residue in chain if not residue.is_water()):
        hydrogens = False
        for atom in residue:
            element = atom.element
            hydrogens |= atom.is_hydrogen()
            mass += element.weight * atom.occ
            positions.append((atom.pos.z, atom.pos.y, atom.pos.x))
            coefficients = element.c4322
            weights.append(
                (sum(coefficients.a) if coefficients is not None else element.atomic_number / 2.4) * atom.occ
            )
        if not hydrogens:
            # free residue less the water lost to its neighbour; a truncated residue gains a little too much
            mass += max(gemmi.find_tabulated_residue(residue.name).hydrogen_count - 2, 0) * 1.008
    if not positions:
        raise InputError(f"structure {path}: no atoms; expected a PDB or mmCIF file with coordinates")
    return np.array(positions), np.array(weights), mass / 1000


def _suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in _COMPRESSED]
    return suffixes[-1] if suffixes else ""


def _stem(path: Path) -> str:
    name = path.name
    while (suffix := Path(name).suffix.lower()) in (*_COMPRESSED, *ATOMIC_SUFFIXES, *MAP_SUFFIXES):
        name = name[: -len(suffix)]
    return name
