"""How long a SHREC-style data set takes, in what memory, and how noisy it is: the SNR of each model's own draws.

    python -m tests.benchmark.shrec_style ../shared/data --mini                # ten models of 96 x 192 x 192
    python -m tests.benchmark.shrec_style ../shared/data --models 2            # of 180 x 512 x 512
    python -m tests.benchmark.shrec_style ../shared/data --models 1 --set imaging.model=weak_phase

``snr_volume`` is the variance of the noise-free reconstruction over that of the noise, over all of it; SHREC 2021 states
0.12 to 0.58 for its ten models (section 2.1). The paper does not say whether theirs is of tomograms before or after the
amplitudes of a real series were put on, nor over which part of the 512^3 voxels; ours are before, over the sample's 180
slices. Gold holds a third of the signal's variance. Each model is made in a process of its own.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cryoembed.evaluate.table import as_text
from tests.benchmark.datasets import CONFIGS, measured

PUBLISHED = (0.12, 0.58)


def main() -> None:
    """Print a row per model, then the range of the SNR."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of structures and maps")
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--mini", action="store_true")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    chosen = parser.parse_args()
    path = CONFIGS / f"simulate_{'mini_' if chosen.mini else ''}shrec.yaml"
    rows = []
    for index in range(chosen.first, chosen.first + chosen.models):
        row = {"model": index, **measured(path, chosen.folder.absolute(), index, ("models=100", *chosen.settings))}
        rows.append({name: str(value) for name, value in row.items() if name != "config"})
        print(as_text(rows).splitlines()[-1], flush=True)
    found = [float(row["snr_volume"]) for row in rows]
    inside = sum(PUBLISHED[0] <= snr <= PUBLISHED[1] for snr in found)
    print(f"\n{as_text(rows)}\n")
    print(f"snr_volume {min(found):.2f} to {max(found):.2f}; {inside} of {len(found)} inside {PUBLISHED}")


if __name__ == "__main__":
    main()
