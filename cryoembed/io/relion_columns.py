"""STAR columns that reading and writing of RELION's and Warp's files share."""

from __future__ import annotations

_XYZ = ("X", "Y", "Z")
CENTRED = tuple(f"rlnCenteredCoordinate{axis}Angst" for axis in _XYZ)
PIXELS = tuple(f"rlnCoordinate{axis}" for axis in _XYZ)
SHIFT_ANGSTROM = tuple(f"rlnOrigin{axis}Angst" for axis in _XYZ)
SHIFT_PIXELS = tuple(f"rlnOrigin{axis}" for axis in _XYZ)
SUBTOMOGRAM_ANGLES = ("rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi")
PARTICLE_ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
SCORES = ("rlnAutopickFigureOfMerit", "rlnLCCmax")
UNSET = -999.0  # RELION's "no value"
# columns of ours that RELION has no name for; it keeps what it does not know
OWN = {
    "label": "cryoembedLabel",
    "probability": "cryoembedProbability",
    "instance": "cryoembedInstance",
    "volume": "cryoembedVolume",
    "particle_id": "cryoembedParticleId",
}
