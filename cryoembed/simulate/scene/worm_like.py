"""Worm-like chains: stiff strings whose bends follow chance, as DNA's and actin's do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryoembed.errors import InputError
from cryoembed.simulate.compiled import compiled
from cryoembed.simulate.scene.paths import Points, unit


def worm_like_chain(
    steps: int,
    step: float,
    persistence: float,
    generator: np.random.Generator,
    *,
    start: npt.ArrayLike = (0.0, 0.0, 0.0),
    direction: npt.ArrayLike | None = None,
) -> Points:
    """(steps + 1, 3) nodes of a chain that forgets its direction as ``exp(-s / persistence)``.

    Bends follow the discrete chain's Boltzmann law, ``p(cos) ~ exp(k cos)`` (von Mises-Fisher), with ``k`` such that
    ``<cos> = coth k - 1 / k = exp(-step / persistence)`` exactly: the correlation of tangents holds at any step.

    Parameters
    ----------
    step, persistence
        A.
    direction
        Of the first step, zyx; None draws it uniformly.

    Raises
    ------
    InputError
        If steps, step or persistence are not positive.
    """
    if steps < 1 or not step > 0 or not persistence > 0:
        raise InputError(f"chain of {steps} steps of {step} A, persistence {persistence} A: all must be positive")
    first = generator.normal(size=3) if direction is None else np.asarray(direction, dtype=np.float64)
    stiffness = _stiffness(float(np.exp(-step / persistence)))
    uniform = generator.random(steps - 1)
    cosines = 1 + np.log(uniform + (1 - uniform) * np.exp(-2 * stiffness)) / stiffness
    tangents = _turning(unit(first), np.clip(cosines, -1, 1), generator.uniform(0, 2 * np.pi, steps - 1))
    nodes = np.vstack([np.zeros((1, 3)), np.cumsum(tangents * step, axis=0)])
    return np.asarray(nodes + np.asarray(start, dtype=np.float64), dtype=np.float64)


def _stiffness(cosine: float) -> float:
    """k with coth k - 1 / k = cosine, by Newton's method from the stiff and floppy limits."""
    if cosine > 1 - 1e-4:
        return 1 / (1 - cosine)  # coth k = 1 to machine precision
    k = max(3 * cosine, 1e-3) if cosine < 0.5 else 1 / (1 - cosine)
    for _ in range(50):
        value = 1 / np.tanh(k) - 1 / k - cosine
        k = max(k - value / (1 / k**2 - 1 / np.sinh(min(k, 300.0)) ** 2), 1e-3)
        if abs(value) < 1e-13:
            break
    return float(k)


@compiled()
def _turning(first: Points, cosines: Points, azimuths: Points) -> Points:
    tangents = np.empty((len(cosines) + 1, 3))
    tangents[0] = first
    for i in range(len(cosines)):
        t = tangents[i]
        helper = np.zeros(3)
        helper[np.argmin(np.abs(t))] = 1.0
        u = np.cross(t, helper)
        u /= np.sqrt((u * u).sum())
        v = np.cross(t, u)
        sine = np.sqrt(max(0.0, 1 - cosines[i] ** 2))
        new = cosines[i] * t + sine * (np.cos(azimuths[i]) * u + np.sin(azimuths[i]) * v)
        tangents[i + 1] = new / np.sqrt((new * new).sum())
    return tangents
