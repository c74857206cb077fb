"""The part of a training that pretrain and train share: run the loop with a bar, then write weights and records."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from torch import nn

from cryoembed.config import Config
from cryoembed.models.checkpoint import save_weights
from cryoembed.models.config import ModelCard
from cryoembed.recipes.progress import progress_bar
from cryoembed.recipes.records import write_records
from cryoembed.training.config import TrainConfig
from cryoembed.training.draws import Draw
from cryoembed.training.fit import fit
from cryoembed.training.loop import FitResult
from cryoembed.training.processes import is_writer

WEIGHTS = "weights.safetensors"


def run_training(objective: nn.Module, draw: Draw, config: Config, train: TrainConfig, out: Path) -> FitResult:
    """Run the loop in ``out`` with a progress bar; a checkpoint made with the same settings is resumed.

    Of several processes only the first has a bar and tells what it does; all of them warn.
    """
    settings = config.model_dump(mode="json", exclude={"out", "train", "name", "half"})
    if not is_writer():
        logging.getLogger("cryoembed").setLevel(logging.WARNING)
        return fit(objective, draw, train, folder=out, settings=settings)
    with progress_bar("training", train.steps) as advance:
        return fit(objective, draw, train, folder=out, settings=settings, advance=advance)


def finish(
    result: FitResult,
    network: nn.Module,
    config: Config,
    train: TrainConfig,
    out: Path,
    card: ModelCard,
    *,
    half: bool,
    inputs: Iterable[Path],
) -> str:
    """Write records, and the weights unless the training was interrupted; return the closing line.

    Of several processes the first does so, and the others have nothing to say.

    Parameters
    ----------
    inputs
        Files that the training read, for the provenance.
    """
    if not result.writes:
        return ""
    if result.stopped:
        write_records(out, config, inputs=inputs)
        return f"stopped at step {result.steps} of {train.steps}; run the same command to go on ({out})"
    card = card.model_copy(update={"steps": result.steps, "seed": train.seed, "metrics": _rounded(result.metrics)})
    model_hash = save_weights(out / WEIGHTS, network, card, half=half)
    write_records(out, config, inputs=inputs, models={card.name: model_hash})
    loss = f"loss {result.metrics['loss']:.4g}" if "loss" in result.metrics else "no loss logged"
    skipped = (
        f"{result.skipped_steps} steps skipped for a loss or gradients that were not finite"
        if result.skipped_steps
        else "no step skipped"
    )
    return f"trained {card.name} ({model_hash}) for {result.steps} steps, {loss}, {skipped}: {out / WEIGHTS}"


def _rounded(metrics: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.6g}") for name, value in metrics.items()}
