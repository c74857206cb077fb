"""simulate as a command: many processes write what one writes, and kills cost only what was not finished."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cryoembed.config import parse_config
from cryoembed.errors import InputError
from cryoembed.recipes.simulate import SimulateConfig, simulate
from tests.simulate.test_dataset import SMALL, fingerprints

SETTINGS = {**SMALL, "models": 6, "shape": [64, 96, 96], "write_halves": True}


@pytest.fixture(scope="module")
def serial(tmp_path_factory) -> dict[str, str]:
    """Fingerprints of the data set made by one process, but for the record of where it went."""
    out = tmp_path_factory.mktemp("serial") / "set"
    simulate(parse_config(SimulateConfig, {**SETTINGS, "out": out}))
    return files_of(out)


def files_of(out: Path) -> dict[str, str]:
    return {name: digest for name, digest in fingerprints(out).items() if name != "config.yaml"}


def start(folder: Path, **changes: int) -> subprocess.Popen[str]:
    config = folder / "config.yaml"
    config.write_text(parse_config(SimulateConfig, {**SETTINGS, **changes, "out": folder / "set"}).to_yaml())
    command = [sys.executable, "-m", "cryoembed", "simulate", str(config), "--workers", "2"]
    # a session of its own: Ctrl-C in a terminal reaches the workers, too, and here it can be sent to all of them
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stderr=pipe, stdout=pipe, text=True, start_new_session=True, preexec_fn=listen_to_ctrl_c
    )


def listen_to_ctrl_c() -> None:
    """What runs in the background of a script ignores Ctrl-C, and passes that on to its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(what: Callable[[], bool], run: subprocess.Popen[str]) -> None:
    while not what():
        assert run.poll() is None, run.communicate()
        time.sleep(0.002)


def unfinished(folder: Path) -> list[Path]:
    return list((folder / "set").glob(".*"))


def complete(folder: Path) -> int:
    return len(list((folder / "set").glob("model_*/model.json")))


def test_two_workers_write_the_files_of_one(tmp_path, serial):
    simulate(parse_config(SimulateConfig, {**SETTINGS, "out": tmp_path / "set", "parallel": {"workers": 2}}))
    assert files_of(tmp_path / "set") == serial


def test_a_worker_killed_while_writing_costs_one_more_try(tmp_path, serial):
    run = start(tmp_path)
    writers: set[int] = set()

    def someone_writes() -> bool:
        named = (re.search(r"-(\d+)-", path.name) for path in unfinished(tmp_path))
        writers.update({int(match[1]) for match in named if match} - {run.pid})
        return bool(writers)

    wait_for(someone_writes, run)  # its folder may be complete, and the name gone, a moment later
    for pid in writers:
        os.kill(pid, signal.SIGKILL)
    output, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors
    assert "simulated 6 models" in output
    assert files_of(tmp_path / "set") == serial


def test_after_a_kill_complete_models_are_kept_and_the_rest_is_made(tmp_path, serial):
    run = start(tmp_path)
    wait_for(lambda: complete(tmp_path) > 0, run)
    run.kill()
    run.communicate()
    for left in unfinished(tmp_path):  # the workers follow within a moment
        until_dead(int(re.search(r"-(\d+)-", left.name)[1]))
    kept = complete(tmp_path)
    assert 0 < kept < 6
    message = simulate(parse_config(SimulateConfig, {**SETTINGS, "out": tmp_path / "set"}))
    assert f"simulated {6 - kept} models" in message
    assert f"kept {kept} " in message
    assert files_of(tmp_path / "set") == serial


def test_ctrl_c_keeps_what_is_complete_and_leaves_nothing_else(tmp_path):
    run = start(tmp_path, models=500)  # more than can be made before the signal comes
    wait_for(lambda: complete(tmp_path) > 0, run)
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 130, errors
    assert "run the same command to go on" in errors
    assert "Traceback" not in errors
    assert not unfinished(tmp_path)
    assert 0 < complete(tmp_path) < 500


def until_dead(pid: int) -> None:
    for _ in range(3000):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} lives on after its parent was killed")


def test_the_model_that_cannot_be_made_is_named_by_its_worker(tmp_path):
    impossible = {**SETTINGS, "counts": None, "crowding": 0.8, "out": tmp_path / "set", "parallel": {"workers": 2}}
    with pytest.raises(InputError, match=r"^model_\d: crowding 0\.800 can't be reached"):
        simulate(parse_config(SimulateConfig, impossible))
    assert not list(tmp_path.rglob("*.mrc"))


def test_what_it_will_take_is_said_before_for_the_workers_asked_for(tmp_path, caplog):
    caplog.set_level("INFO", logger="cryoembed")
    simulate(parse_config(SimulateConfig, {**SMALL, "out": tmp_path / "set", "parallel": {"workers": 2}}))
    assert re.search(
        r"2 models to make, 0 complete; about \d+ s, [\d.]+ GB memory \(2 processes\), [\d.]+ GB", caplog.text
    )
