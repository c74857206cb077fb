"""``cryoembed simulate``: a config becomes a data set of tomograms with full truth."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from cryoembed.recipes.parallel import ParallelConfig, each
from cryoembed.recipes.progress import progress_bar
from cryoembed.recipes.records import write_records
from cryoembed.simulate.dataset import DatasetConfig
from cryoembed.simulate.density.structure_spec import expand
from cryoembed.simulate.folders import simulate_dataset


class SimulateConfig(DatasetConfig):
    """Settings of a data set, where it goes and where it is made."""

    out: Path = Path("dataset")
    parallel: ParallelConfig = ParallelConfig()
    # of the imaging. No part of what a model is: another device rounds otherwise, but the sample, its truth and the
    # clean tomogram are the same, so a data set begun on one machine may be finished on another
    device: str = Field(default="cpu", pattern=r"^(auto|cpu|cuda(:\d+)?)$")


def simulate(config: SimulateConfig) -> str:
    """Make the models that the folder lacks, one process per model; return the closing line."""
    out = config.out
    # workers of other machines may start elsewhere
    settings = config.model_copy(update={"structure_folder": config.structure_folder.absolute()})
    with progress_bar("simulate", config.models) as advance:
        written = simulate_dataset(
            settings,
            out.absolute(),
            progress=advance,
            each=lambda make, indices: each(make, indices, config.parallel, name=lambda index: f"model_{index}"),
            processes=config.parallel.processes,
            threads=config.parallel.threads,
            device=config.device,
        )
    inputs = [single.file for spec in config.structures for single in expand(spec, config.structure_folder)]
    # where it was made is left out: the same files whatever the number of workers
    write_records(out, config.model_copy(update={"parallel": ParallelConfig()}), inputs=inputs)
    return (
        f"simulated {len(written.made)} models with {written.particles} particles, kept {len(written.kept)} that were "
        f"complete: {out}"
    )
