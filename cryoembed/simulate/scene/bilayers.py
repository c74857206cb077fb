"""What membranes are: their kinds and sizes in settings, and a lipid bilayer across."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from cryoembed.config import Config
from cryoembed.simulate.density.template import Mask
from cryoembed.simulate.scene.objects import HEAD_SIGMA, bilayer
from cryoembed.simulate.scene.surfaces import Array, Surface

MembraneKind = Literal["sphere", "ellipsoid", "torus", "flat"]
Range = tuple[float, float]


class MembraneSpec(Config):
    """Membranes of one kind; lengths in A, each drawn uniformly from its range.

    PolNet's membranes have the same shapes and thickness (25 to 35 A between the head groups).
    """

    kind: MembraneKind = "ellipsoid"
    count: tuple[int, int] = (1, 1)
    radius: Range = Field((150.0, 500.0), description="mean radius; of a torus the radius of the ring")
    minor_radius: Range = Field((80.0, 160.0), description="of a torus: of the tube")
    thickness: Range = Field((25.0, 35.0), description="between the middles of the two layers of head groups")
    head_sigma: float = Field(HEAD_SIGMA, gt=0, description="s.d. of a layer of head groups")
    undulation: Range = Field((0.0, 15.0), description="amplitude")
    wavelength: Range = Field((400.0, 1500.0), description="of undulations")
    double: float = Field(0.0, ge=0, le=1, description="share that has a second membrane inside")
    spacing: Range = Field((120.0, 250.0), description="between the middles of a double membrane")
    stick_out: bool = Field(True, description="whether the volume's faces may cut closed ones (they always cut sheets)")

    @model_validator(mode="after")
    def _rising(self) -> MembraneSpec:
        for name in ("count", "radius", "minor_radius", "thickness", "undulation", "wavelength", "spacing"):
            low, high = getattr(self, name)
            least = 0 if name in ("count", "undulation") else 1e-6
            if not least <= low <= high:
                raise ValueError(f"{name} {low, high}: expected a rising range, none negative")
        if self.kind == "torus" and self.minor_radius[0] >= self.radius[1]:
            raise ValueError(f"minor_radius {self.minor_radius}: a torus has a tube thinner than its ring's radius")
        return self

    @property
    def label(self) -> str:
        """Closed round ones are vesicles, as in SHREC 2021; all else is membrane."""
        return "vesicle" if self.kind in ("sphere", "ellipsoid") else "membrane"


@dataclass(frozen=True)
class Profile:
    """A bilayer across: half the distance of the head groups, their s.d., and how far inside a second one lies (A)."""

    leaflet: float
    head_sigma: float
    spacing: float | None = None

    @property
    def half(self) -> float:
        """A from the middle to the end of what counts as occupied."""
        return self.leaflet + self.head_sigma

    def within(self, surface: Surface) -> Profile:
        """This profile, single where a second membrane would have no room inside."""
        if self.spacing is None or self.spacing + 2 * self.half < surface.depth:
            return self
        return replace(self, spacing=None)

    def density(self, distance: Array, voxel_size: float) -> npt.NDArray[np.float32]:
        total = bilayer(distance, voxel_size, leaflet=self.leaflet, head_sigma=self.head_sigma)
        if self.spacing is not None:
            total = total + bilayer(
                distance + np.float32(self.spacing), voxel_size, leaflet=self.leaflet, head_sigma=self.head_sigma
            )
        return np.asarray(total, dtype=np.float32)

    def near(self, distance: Array, reach: float = 0.0) -> Mask:
        """Voxels of the membrane, or not farther than ``reach`` from it."""
        inside = np.abs(distance) < self.half + reach
        if self.spacing is not None:
            inside |= np.abs(distance + self.spacing) < self.half + reach
        return np.asarray(inside, dtype=np.bool_)


def draw_profile(spec: MembraneSpec, generator: np.random.Generator) -> Profile:
    """Thickness, and a second membrane now and then."""
    leaflet = generator.uniform(*spec.thickness) / 2
    double = generator.random() < spec.double
    return Profile(leaflet, spec.head_sigma, generator.uniform(*spec.spacing) if double else None)
