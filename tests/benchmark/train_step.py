"""Training steps of the small networks as we take them against plain float32, and the encoder's inference.

    OMP_NUM_THREADS=1 python -m tests.benchmark.train_step --repeats 5

"Ours" is what the loop does (bfloat16 autocast, channels_last_3d), "plain" float32 in NCDHW; the same objective,
optimizer and batch, interleaved in one process on one thread. Figures are medians of process CPU seconds, wall time
beside them; the ratio is the median of the ratios of neighbours. Fractions are of a matrix product measured in the same
run, FLOPs are counted by torch. "kept" is what the backward pass needs (activations), without and with
checkpoint_gradients; `--peak NETWORK` measures the resident memory of a few steps instead. Freed memory stays with
the process, as in the loop (both rows have it, so the ratio is without its gain); `--give-back` leaves glibc's ways.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cryoembed.config import load_config
from cryoembed.infer.vectors import embed_boxes
from cryoembed.models.build import build
from cryoembed.models.config import SubtomogramNetworkConfig
from cryoembed.recipes.pretrain import PretrainConfig
from cryoembed.recipes.train import TrainRecipeConfig
from cryoembed.semantic import SEMANTIC_CLASSES
from cryoembed.training import numerics
from cryoembed.training.allocator import keep_freed_memory
from cryoembed.training.objectives.contrastive import Contrastive
from cryoembed.training.objectives.heads import Heads
from tests.recipes.test_pretrain import CONFIGS

Batch = dict[str, Tensor]
NETWORKS = ("subtomogram", "voxel")
PEAK_STEPS = 6


def subtomogram_training(classes: int, views: int) -> tuple[nn.Module, Batch]:
    """The shipped encoder's objective, proxies left out, and a batch of noise."""
    config = load_config(PretrainConfig, CONFIGS / "pretrain_subtomogram_small.yaml")
    assert isinstance(config.network, SubtomogramNetworkConfig)
    boxes = torch.randn(classes * views, 1, *(config.network.box_vox,) * 3)
    objective = Contrastive(build(config.network), temperature=config.temperature)
    return objective, {"input": boxes, "label": torch.arange(classes).repeat_interleave(views)}


def voxel_training(crops: int, side: int) -> tuple[nn.Module, Batch]:
    """The shipped voxel network's objective and a batch of noise."""
    config = load_config(TrainRecipeConfig, CONFIGS / "train_voxel_small.yaml")
    shape = (crops, 1, side, side, side)
    masks = {name: (torch.rand(shape) > 0.8).float() for name in ("boundary", "foreground", "inside")}
    numbers = {name: torch.rand(shape) for name in ("clean", "distance", "semantic_distance")}
    classes = torch.randint(len(SEMANTIC_CLASSES), shape).float()
    batch = {"input": torch.randn(shape), "classes": classes, **numbers, **masks}
    return Heads(build(config.network), config.tasks), batch


def step_of(objective: nn.Module, batch: Batch, name: numerics.Format) -> Callable[[], None]:
    """One optimizer step in a number format, as the loop takes it."""
    objective.train()
    numerics.lay_out(objective, name)
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=1e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with numerics.autocast(name, torch.device("cpu")):
            loss = objective(batch)["loss"]
        loss.backward()
        gradients = [p.grad for p in objective.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        torch.nn.utils.clip_grads_with_norm_(objective.parameters(), 5.0, norm)
        optimizer.step()

    return step


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.process_time() - cpu, time.perf_counter() - wall


def matrix_peak(dtype: torch.dtype, size: int) -> Callable[[], object]:
    """A product of two square matrices: 2 size^3 FLOPs."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    return lambda: a @ b


def measure(*, repeats: int, classes: int, crops: int, side: int, matrix: int) -> list[dict[str, float | str]]:
    """A row for each network's training step and one for the encoder's inference."""
    torch.manual_seed(0)
    products = {"bf16": matrix_peak(torch.bfloat16, matrix), "plain": matrix_peak(torch.float32, matrix)}
    rows = []
    for network in NETWORKS:
        sources = [
            subtomogram_training(classes, 4) if network == "subtomogram" else voxel_training(crops, side)
            for _ in range(2)
        ]
        batch = sources[0][1]
        steps = {name: step_of(o, batch, name) for (o, _), name in zip(sources, ("bf16", "plain"), strict=True)}
        with FlopCounterMode(display=False) as counter:
            steps["plain"]()
        steps["bf16"]()
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in (*steps, "gemm bf16", "gemm plain")}
        for _ in range(repeats):
            for name, step in steps.items():
                times[name].append(timed(step))
                times[f"gemm {name}"].append(timed(products[name]))
        cpu = {name: statistics.median(t[0] for t in pairs) for name, pairs in times.items()}
        pairs = list(zip(times["plain"], times["bf16"], strict=True))
        fraction = {n: counter.get_total_flops() / cpu[n] / (2 * matrix**3 / cpu[f"gemm {n}"]) for n in steps}
        kept = [_kept(sources[0][0], batch, recompute=recompute) for recompute in (False, True)]
        rows.append(
            {
                "what": f"{network} step, {len(batch['input'])} x {batch['input'].shape[-1]}^3",
                "ours_cpu_s": cpu["bf16"],
                "plain_cpu_s": cpu["plain"],
                "ours_wall_s": statistics.median(t[1] for t in times["bf16"]),
                "ratio": statistics.median(theirs[0] / ours[0] for theirs, ours in pairs),
                "samples_per_cpu_s": len(batch["input"]) / cpu["bf16"],
                "of_bf16_peak": fraction["bf16"],
                "plain_of_fp32_peak": fraction["plain"],
                "kept_mb": kept[0] / 1e6,
                "kept_recomputed_mb": kept[1] / 1e6,
            }
        )
    rows.append(_inference(sources_boxes=classes * 4, repeats=repeats, products=products, matrix=matrix))
    return rows


def _kept(objective: nn.Module, batch: Batch, *, recompute: bool) -> int:
    objective.network.backbone.recompute = recompute  # type: ignore[union-attr]
    return numerics.try_forward(objective, batch, "bf16").kept


def _inference(*, sources_boxes: int, repeats: int, products: dict, matrix: int) -> dict[str, float | str]:
    objective, batch = subtomogram_training(sources_boxes // 4, 4)
    network, boxes = objective.network.eval(), batch["input"][:, 0].numpy().astype(np.float32)
    ways = {
        "bf16": lambda: embed_boxes(network, boxes, device="cpu", precision="bf16"),
        "plain": lambda: _plainly(network, batch["input"]),
    }
    with FlopCounterMode(display=False) as counter:
        ways["plain"]()
    times: dict[str, list[float]] = {name: [] for name in (*ways, "gemm bf16", "gemm plain")}
    for _ in range(repeats):
        for name, way in ways.items():
            times[name].append(timed(way)[0])
            times[f"gemm {name}"].append(timed(products[name])[0])
    cpu = {name: statistics.median(values) for name, values in times.items()}
    fraction = {n: counter.get_total_flops() / cpu[n] / (2 * matrix**3 / cpu[f"gemm {n}"]) for n in ways}
    return {
        "what": f"embed_boxes, {len(boxes)} x {boxes.shape[-1]}^3",
        "ours_cpu_s": cpu["bf16"],
        "plain_cpu_s": cpu["plain"],
        "ratio": statistics.median(p / o for p, o in zip(times["plain"], times["bf16"], strict=True)),
        "samples_per_cpu_s": len(boxes) / cpu["bf16"],
        "of_bf16_peak": fraction["bf16"],
        "plain_of_fp32_peak": fraction["plain"],
    }


@torch.inference_mode()
def _plainly(network: nn.Module, boxes: Tensor) -> Tensor:
    return torch.cat([network.embed(part) for part in boxes.split(16)])  # type: ignore[operator]


def peak_of_step(network: str, *, recompute: bool) -> float:
    """MB by which steps raise this process's largest resident size; for a fresh process."""
    objective, batch = subtomogram_training(32, 4) if network == "subtomogram" else voxel_training(4, 64)
    objective.network.backbone.recompute = recompute  # type: ignore[union-attr]
    step = step_of(objective, batch, "bf16")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(PEAK_STEPS):
        step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peak", choices=NETWORKS, help="measure a step's memory instead")
    parser.add_argument("--checkpoint-gradients", action="store_true", help="with --peak")
    parser.add_argument("--give-back", action="store_true", help="freed memory goes back to the system, as by default")
    settings = parser.parse_args()
    torch.set_num_threads(1)
    if not settings.give_back:
        keep_freed_memory()
    if settings.peak:
        print(f"{peak_of_step(settings.peak, recompute=settings.checkpoint_gradients):.0f} MB more at the peak")
        return
    for row in measure(repeats=settings.repeats, classes=32, crops=4, side=64, matrix=2048):
        print(", ".join(f"{name} {value:.4g}" if isinstance(value, float) else value for name, value in row.items()))


if __name__ == "__main__":
    main()
