"""How many processes train together, who started them, and which of them writes: lightning-fabric with our words."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

from cryoembed.errors import InputError
from cryoembed.training.config import TrainConfig


def is_writer() -> bool:
    """Whether this process is the first of its training, or the only one: the one that writes, and talks.

    Known from the environment, before any process group is there.
    """
    number = next((os.environ[name] for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK") if name in os.environ), "0")
    return number == "0"


def launched(config: TrainConfig) -> Any:
    """Return a lightning-fabric whose processes all run.

    ``torchrun --nproc-per-node N`` and ``srun --ntasks-per-node N`` have started them already; otherwise
    ``config.devices`` of them are started as copies of this command. Each draws batches of its own, gradients are
    averaged. Losses see the batch of their process: contrastive negatives are per process, and so are the statistics
    of batch normalisation, unless ``config.sync_batchnorm``.

    Raises
    ------
    InputError
        If a GPU is asked for where there is none, or the number of processes is another than was started.
    """
    from lightning_fabric import Fabric  # 1.3 s: only who trains pays
    from lightning_fabric.strategies import DDPStrategy

    accelerator = {"cpu": "cpu", "auto": "cuda" if torch.cuda.is_available() else "cpu"}.get(config.device, "cuda")
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise InputError(f"train.device is {config.device!r} but torch sees no CUDA device; use --device cpu")
    per_node, nodes = _started(config)
    index = config.device.partition(":")[2]
    devices: Any = [int(index)] if index.isdigit() and per_node * nodes == 1 else per_node
    # parts that an objective leaves out (a predictor in a contrastive training) get no gradient on any process
    strategy = DDPStrategy(find_unused_parameters=True) if per_node * nodes > 1 else "auto"
    fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=nodes, strategy=strategy, precision="32-true")
    fabric.launch()
    return fabric


def anywhere(fabric: Any, holds: bool) -> bool:
    """Whether a statement holds on any process; all have to ask."""
    if fabric.world_size == 1:
        return holds
    return bool(fabric.all_reduce(torch.tensor(float(holds), device=fabric.device), reduce_op="sum") > 0)


def from_all(fabric: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of all processes together; names end with ``.`` and the process's number, shapes are equal."""
    if fabric.world_size == 1:
        return tensors
    gathered: dict[str, Tensor] = {}
    for name, values in tensors.items():
        kind = name.rpartition(".")[0]
        gathered |= {f"{kind}.{rank}": value.cpu() for rank, value in enumerate(fabric.all_gather(values))}
    return gathered


def on_this_machine(fabric: Any) -> int:
    """Processes of this training that share this machine's memory."""
    return max(1, int(fabric.world_size) // int(getattr(fabric.strategy, "num_nodes", 1)))


def close() -> None:
    """Leave the process group, where there is one: another training may follow."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _started(config: TrainConfig) -> tuple[int, int]:
    """Processes per machine, and machines."""
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        total, per_node, starter = environment["WORLD_SIZE"], environment["LOCAL_WORLD_SIZE"], "torchrun"
    elif "SLURM_NTASKS" in environment and environment.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        total, starter = environment["SLURM_NTASKS"], "Slurm"
        per_node = environment.get("SLURM_NTASKS_PER_NODE", total if total == "1" else "")
        if not per_node:
            raise InputError("Slurm started this training with --ntasks; use --ntasks-per-node and --nodes instead")
    else:
        return config.devices, 1
    if config.devices not in (1, int(total)):
        raise InputError(
            f"train.devices is {config.devices}, but {starter} started {total} processes; leave it out, or start "
            f"{config.devices} (torchrun --nproc-per-node, srun --ntasks-per-node)"
        )
    return int(per_node), int(total) // int(per_node)
