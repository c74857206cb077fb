"""Two processes on the CPU, started in each of the ways there are: one training, one set of files."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from cryoembed.errors import InputError
from cryoembed.training.config import TrainConfig
from cryoembed.training.processes import is_writer, launched
from tests.recipes.test_pretrain import CONFIGS, TINY_BOXES, TINY_NETWORK, TINY_TRAIN

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = [sys.executable, "-m", "tests.training.two"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port"]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "PYTEST_XDIST"))}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def run(command: list[str], **more: str) -> str:
    started = subprocess.Popen(
        command, env=environment(**more), cwd=ROOT, stdout=-1, stderr=-1, text=True, start_new_session=True
    )
    try:
        told, complained = started.communicate(timeout=240)
    finally:  # with all that it started, which would hold the pipes
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
    assert started.returncode == 0, complained
    return told


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def result(folder: Path, rank: int) -> dict:
    return json.loads((folder / f"rank_{rank}.json").read_text())


def test_processes_draw_their_own_batches_and_end_with_the_same_weights(tmp_path: Path) -> None:
    run([*SCRIPT, str(tmp_path), "devices=2", "steps=4", "share=2"])
    first, second = result(tmp_path, 0), result(tmp_path, 1)
    assert first["weights"] == second["weights"]
    assert not set(first["drawn"]) & set(second["drawn"])
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1


def test_two_processes_that_accumulate_equal_one_large_batch(tmp_path: Path) -> None:
    common = ["steps=3", "norm=0", "optimizer=sgd", "learning_rate=0.05"]
    run([*SCRIPT, str(tmp_path / "two"), "devices=2", "accumulate=2", "share=4", *common])
    run([*SCRIPT, str(tmp_path / "one"), "share=1", *common])
    two, one = result(tmp_path / "two", 0)["weights"], result(tmp_path / "one", 0)["weights"]
    for name, values in one.items():
        assert two[name] == pytest.approx(values, rel=1e-4, abs=1e-6)


def test_training_of_two_that_was_killed_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    settings = ["devices=2", "steps=8", "share=2", "ema_decay=0.9"]
    run([*SCRIPT, str(tmp_path / "whole"), *settings])
    slow = [*SCRIPT, str(tmp_path / "killed"), *settings, "slow=0.3"]
    started = subprocess.Popen(slow, env=environment(), cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "killed" / "checkpoint.safetensors"
    try:
        while started.poll() is None and not checkpoint.exists():
            time.sleep(0.02)
    finally:
        os.killpg(started.pid, signal.SIGKILL)
    assert started.wait() == -signal.SIGKILL
    run([*SCRIPT, str(tmp_path / "killed"), *settings])
    assert result(tmp_path / "killed", 1)["weights"] == result(tmp_path / "whole", 1)["weights"]
    assert checkpoint.read_bytes() == (tmp_path / "whole" / "checkpoint.safetensors").read_bytes()


@pytest.mark.parametrize("started_by", ["devices", "torchrun", "slurm"])
def test_pretrain_in_two_processes_writes_once_however_it_is_started(tmp_path: Path, started_by: str) -> None:
    settings = [*TINY_NETWORK, *TINY_TRAIN, *TINY_BOXES, "batch=3", "half=false"]
    config = str(CONFIGS / "pretrain_contrastive_small.yaml")
    verb = ["-m", "cryoembed", "pretrain", config, "--out", str(tmp_path / "run")]
    verb += [part for setting in settings for part in ("--set", setting)]
    if started_by == "devices":
        told = run([sys.executable, *verb, "--set", "train.devices=2"])
    elif started_by == "torchrun":
        told = run([*TORCHRUN, free_port(), *verb])
    else:
        port = free_port()
        tasks = [subprocess.Popen([sys.executable, *verb], env=slurm(rank, port), cwd=ROOT, stdout=-1) for rank in "01"]
        told = "".join(task.communicate(timeout=300)[0].decode() for task in tasks)
        assert [task.returncode for task in tasks] == [0, 0]
    assert told.count("trained") == 1
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 3
    assert load_file(tmp_path / "run" / "checkpoint.safetensors").keys() >= {"random.torch.0", "random.torch.1"}
    assert (tmp_path / "run" / "weights.safetensors").exists()


def slurm(rank: str, port: str) -> dict[str, str]:
    """What ``srun --nodes 1 --ntasks-per-node 2`` tells each task."""
    given = {"NTASKS": "2", "NTASKS_PER_NODE": "2", "NNODES": "1", "PROCID": rank, "LOCALID": rank, "NODEID": "0"}
    given |= {"JOB_ID": "1", "JOB_NAME": "train", "NODELIST": "127.0.0.1"}
    return environment(MASTER_PORT=port, MASTER_ADDR="127.0.0.1", **{f"SLURM_{k}": v for k, v in given.items()})


def test_other_numbers_of_processes_than_were_started_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_PROCID": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    assert not is_writer()
    with pytest.raises(InputError, match="devices is 3, but Slurm started 2"):
        launched(TrainConfig(devices=3, device="cpu"))
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(InputError, match="use --ntasks-per-node"):
        launched(TrainConfig(device="cpu"))
