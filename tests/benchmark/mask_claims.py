"""What the thesis' figures 16 to 18 claim of masks, classifiers and refinement, and whether F1 of ours says the same.

The thesis prints no numbers there, only orderings (section 4.3.4). Each is compared by our difference and its s.d. over
resampled boxes, not over trainings: every network is one training. Within two s.d. nothing is claimed; "hardly a
difference" agrees only where two s.d. about ours stay within `ALIKE`. Claims of found masks are judged on the boxes with one.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from cryoembed.evaluate.classification import score_classes
from cryoembed.evaluate.table import as_text
from tests.benchmark.few_shot import MASS_GROUPS_KDA

MASKS, IMAGES, CLASSIFIERS = ("none", "hull", "strict"), ("clean", "noisy", "denoised"), ("k-NN", "MLP")
SMALL, MEDIUM, LARGE = MASS_GROUPS_KDA
ALIKE = 0.05  # F1


class View(NamedTuple):
    """How a box is seen: tomogram, mask, and where the mask is from."""

    image: str
    mask: str = "none"
    source: str = "-"


MASKED = [("clean", "true"), ("noisy", "true"), ("noisy", "found"), ("denoised", "true"), ("denoised", "found")]
VIEWS = [*map(View, IMAGES), *(View(image, mask, source) for mask in MASKS[1:] for image, source in MASKED)]
Called = dict[str, np.ndarray]  # what each of CLASSIFIERS named the scored boxes
Results = dict[tuple[str, View], Called]  # by network, without its mask: simsiam_hull is "simsiam" in views of hulls


class Cell(NamedTuple):
    """One F1: of all species or of a group of masses."""

    network: str
    view: View
    classifier: str
    group: str | None = None


class Claim(NamedTuple):
    """An ordering that the thesis prints; ``equal`` where it sees hardly a difference."""

    figure: str
    better: Cell
    worse: Cell
    equal: bool = False


def claims() -> list[Claim]:
    """All of them, figure by figure; those on masks for true and found ones (the thesis: found)."""
    cell, whole = partial(Cell, "simsiam"), View("noisy")
    made = [Claim("16a", cell(View(image), "MLP"), cell(View(image), "k-NN")) for image in IMAGES]
    for name in CLASSIFIERS:
        made += [Claim("16a", cell(View("clean"), name), cell(View(image), name)) for image in IMAGES[1:]]
        large, medium, small = (cell(whole, name, group) for group in (LARGE, MEDIUM, SMALL))
        made += [Claim("16b", large, medium), Claim("16b", medium, small)]
    masked = {source: [View("noisy", mask, source) for mask in MASKS[1:]] for source in ("true", "found")}
    for hull, strict in masked.values():
        for name in CLASSIFIERS:
            made += [Claim("17b", cell(strict, name), cell(hull, name))]
            made += [Claim("17b", cell(hull, name), cell(whole, name))]
            made += [Claim("17c", cell(strict, name, SMALL), cell(whole, name, SMALL))]
    made += [Claim("18a", Cell("refine", whole, "k-NN"), cell(whole, "k-NN"), equal=True)]
    for view in (view for pair in masked.values() for view in pair):
        made += [Claim("18a", Cell("refine", view, "k-NN"), cell(view, "k-NN"))]
        for group in (SMALL, MEDIUM):
            made += [Claim("18b", Cell("refine", view, "k-NN", group), cell(view, "k-NN", group))]
    return made


def f1(called: np.ndarray, labels: np.ndarray, masses: dict[str, float], group: str | None = None) -> float:
    """Macro F1 of all species or of a group of `MASS_GROUPS_KDA`; NaN for a group without any."""
    low, high = MASS_GROUPS_KDA[group] if group else (-np.inf, np.inf)
    scores = score_classes(called, labels).per_class
    kept = [score.f1 for name, score in scores.items() if low <= masses[name] < high]
    return float(np.mean(kept)) if kept else float("nan")


def judged(
    claim: Claim,
    results: Results,
    labels: np.ndarray,
    masses: dict[str, float],
    found: np.ndarray | None = None,
    draws: int = 100,
) -> str:
    """Our difference, its s.d. over resampled boxes, and whether it is the thesis' ordering.

    ``found`` (n,) says which boxes have a found mask.
    """
    generator = np.random.default_rng(0)
    cells = (claim.better, claim.worse)
    boxes = np.arange(len(labels))
    if found is not None and any(cell.view.source == "found" for cell in cells):
        boxes = boxes[found]

    def difference(rows: np.ndarray) -> float:
        better, worse = (
            f1(results[cell.network, cell.view][cell.classifier][rows], labels[rows], masses, cell.group)
            for cell in cells
        )
        return better - worse

    ours = difference(boxes)
    spread = np.std([difference(generator.choice(boxes, size=len(boxes))) for _ in range(draws)])
    if not np.isfinite(ours + spread):
        return "-"  # no species of this mass
    verdict = "undecided"
    if abs(ours) > 2 * spread:
        verdict = "agrees" if ours > 0 and not claim.equal else "DISAGREES"
    if claim.equal and abs(ours) + 2 * spread < ALIKE:
        verdict = "agrees"
    return f"{ours:+.3f} ± {spread:.3f} {verdict}"


def f1_table(results: Results, labels: np.ndarray, masses: dict[str, float]) -> str:
    """F1 of every network in every view, by classifier and mass (kDa)."""
    rows = []
    for (network, view), called in sorted(results.items(), key=lambda item: VIEWS.index(item[0][1])):
        row = {"boxes": view.image, "mask": view.mask, "of": view.source, "network": network}
        for name in CLASSIFIERS:
            for group in (None, *MASS_GROUPS_KDA):
                row[f"{name} {group or 'all'}"] = f"{f1(called[name], labels, masses, group):.3f}"
        rows.append(row)
    return as_text(rows)


def claims_table(
    results: Results, labels: np.ndarray, masses: dict[str, float], found: np.ndarray | None = None
) -> str:
    """The claims whose two F1 are both there, beside ours; see `judged`."""
    rows = []
    for claim in claims():
        if all((cell.network, cell.view) in results for cell in (claim.better, claim.worse)):
            better, worse = (
                " ".join(filter(None, (cell.network, *cell.view, cell.classifier, cell.group)))
                for cell in (claim.better, claim.worse)
            )
            said = f"{better} {'~' if claim.equal else '>'} {worse}"
            rows.append({"figure": claim.figure, "thesis": said, "ours": judged(claim, results, labels, masses, found)})
    return as_text(rows) if rows else "none: they need rows simsiam and refine"
