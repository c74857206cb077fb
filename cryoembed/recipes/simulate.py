"""``cryoembed simulate``: a config becomes a data set of tomograms with full truth."""

from __future__ import annotations

from pathlib import Path

from cryoembed.recipes.progress import progress_bar
from cryoembed.recipes.records import write_records
from cryoembed.simulate.dataset import DatasetConfig, simulate_dataset
from cryoembed.simulate.density.structures import expand


class SimulateConfig(DatasetConfig):
    """Settings of a data set and where it goes."""

    out: Path = Path("dataset")


def simulate(config: SimulateConfig) -> str:
    """Make the models that the folder lacks; return the closing line."""
    with progress_bar("simulate", config.models) as advance:
        written = simulate_dataset(config, config.out, progress=advance)
    inputs = [single.file for spec in config.structures for single in expand(spec, config.structure_folder)]
    write_records(config.out, config, inputs=inputs)
    return (
        f"simulated {len(written.made)} models with {written.particles} particles, kept {len(written.kept)} that were "
        f"complete: {config.out}"
    )
