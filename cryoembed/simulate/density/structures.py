"""Structure files as templates: atomic models by their atoms, maps by the mass that the user states."""

from __future__ import annotations

import logging
from dataclasses import replace

from cryoembed.errors import InputError
from cryoembed.io.mrc import read_tomogram
from cryoembed.simulate.density.atoms import template_from_molecule
from cryoembed.simulate.density.cache import cached_template
from cryoembed.simulate.density.library import group_order
from cryoembed.simulate.density.maps import template_from_map
from cryoembed.simulate.density.molecule import read_molecule
from cryoembed.simulate.density.structure_spec import ATOMIC_SUFFIXES, MAP_SUFFIXES, StructureSpec, stem_of, suffix_of
from cryoembed.simulate.density.template import Template

logger = logging.getLogger(__name__)

_IDLE = {True: ("assembly", "b_factors"), False: ("component", "contrast", "map_voxel_size")}  # by whether it is a map
_UNMODELLED = 1.15  # mass of the sequence over mass of the atoms, beyond which a note is due


def structure_template(spec: StructureSpec, voxel_size: float, *, resolution: float = 12.0) -> Template:
    """The template of one structure file (a spec from `expand`), from the cache if it was made before.

    Atoms give their electrostatic potential over ice (`potential.potential`), scaled so that the integral is
    mass x DENSITY_PER_KDA as in every template.

    Raises
    ------
    InputError
        If the file is unreadable or of unknown type, holds no atoms or no positive mass, or is a map without a mass.
    """
    path = spec.file
    suffix = suffix_of(path)
    if suffix not in ATOMIC_SUFFIXES + MAP_SUFFIXES:
        expected = " ".join(ATOMIC_SUFFIXES + MAP_SUFFIXES)
        raise InputError(
            f"structure {path}: unknown type {suffix or '(no suffix)'}; expected {expected} (plain or .gz)"
        )
    if not path.is_file():
        raise InputError(f"structure {path}: no such file; mend the path")
    idle = _IDLE[suffix in MAP_SUFFIXES]
    if unfit := [field for field in idle if getattr(spec, field) != StructureSpec.model_fields[field].default]:
        other = "atomic models" if suffix in MAP_SUFFIXES else "maps"
        raise InputError(f"structure {path}: {', '.join(unfit)} is for {other}; leave it out")
    if suffix in MAP_SUFFIXES and spec.mass_kda is None:
        raise InputError(f"map {path}: give mass_kda, the mass of what it holds; maps have no scale of their own")
    make = _of_atoms if suffix in ATOMIC_SUFFIXES else _of_map
    settings = {"voxel_size": voxel_size, "resolution": resolution, "kind": make.__name__}
    settings |= spec.model_dump(mode="json", exclude={"path", "pdb", "name", "split"})
    template = cached_template(path, settings, lambda: make(spec, voxel_size, resolution))
    return replace(template, name=spec.name or stem_of(path), split=spec.split)


def _of_atoms(spec: StructureSpec, voxel_size: float, resolution: float) -> Template:
    name = spec.name or stem_of(spec.file)
    # the asymmetric unit of a cage is never meant; but that of a C2 dimer may well be the dimer
    cage = group_order(spec.symmetry) if spec.symmetry in ("T", "O", "I") else 1
    molecule = read_molecule(spec.file, assembly=spec.assembly, copies=cage)
    if molecule.sequence_kda is not None and molecule.sequence_kda > _UNMODELLED * molecule.mass_kda:
        logger.info(
            "structure %s: %.0f kDa are modelled of %.0f kDa in its sequences; the template holds what is modelled",
            spec.file,
            molecule.mass_kda,
            molecule.sequence_kda,
        )
    return template_from_molecule(
        name,
        molecule,
        voxel_size,
        resolution=resolution,
        mass_kda=spec.mass_kda,
        symmetry=spec.symmetry,
        split=spec.split,
        membrane=spec.membrane,
        b_factors=spec.b_factors,
    )


def _of_map(spec: StructureSpec, voxel_size: float, resolution: float) -> Template:
    assert spec.mass_kda is not None  # checked by structure_template
    name = spec.name or stem_of(spec.file)
    try:
        loaded = read_tomogram(spec.file, voxel_size=spec.map_voxel_size)
    except InputError as error:
        raise InputError(str(error).replace("pass --voxel-size", "give map_voxel_size")) from None
    return template_from_map(
        name,
        loaded.data,
        loaded.voxel_size,
        spec.mass_kda,
        voxel_size,
        symmetry=spec.symmetry,
        split=spec.split,
        contrast=spec.contrast,
        component=spec.component,
        membrane=spec.membrane,
    )
