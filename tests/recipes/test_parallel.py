"""Jobs in many processes: the same results as one after the other, errors with the job's name, survivable kills."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cryoembed.config import parse_config
from cryoembed.errors import InputError
from cryoembed.recipes.parallel import ParallelConfig, SlurmConfig, each, slurm_cluster
from tests.recipes.jobs import break_at_three, die_always, die_once, refuse_three, square

TWO = ParallelConfig(workers=2)


def test_two_workers_give_what_one_gives():
    numbers = range(7)
    assert (
        sorted(each(square, numbers, TWO)) == list(each(square, numbers, ParallelConfig())) == [n * n for n in numbers]
    )


def test_one_worker_needs_no_dask():
    code = (
        "import sys; from cryoembed.recipes.parallel import *; "
        "assert list(each(abs, [-1, 2], ParallelConfig())) == [1, 2]; "
        "assert not {'dask', 'distributed'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("parallel", [ParallelConfig(), TWO], ids=["one", "two"])
def test_the_job_that_fails_is_named(parallel):
    with pytest.raises(InputError, match=r"^job 3: this number is no good$"):
        list(each(refuse_three, range(5), parallel, name=lambda n: f"job {n}"))
    with pytest.raises(ZeroDivisionError) as caught:
        list(each(break_at_three, range(5), parallel, name=lambda n: f"job {n}"))
    assert caught.value.__notes__ == ["job 3"]


def test_what_was_done_before_an_error_is_given_out():
    results = each(refuse_three, range(2, 5), ParallelConfig())
    assert next(results) == 2
    with pytest.raises(InputError):
        next(results)


def test_a_killed_process_costs_its_job_one_more_try(tmp_path):
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    assert list(each(die_once, [str(folder) for folder in folders], TWO)) == ["done", "done"]
    assert all((folder / "died").exists() for folder in folders)


def test_a_job_that_always_kills_its_process_is_named():
    with pytest.raises(InputError, match=r"job 1: its process was killed 3 times.*fewer --workers"):
        list(each(die_always, [1], TWO, name=lambda n: f"job {n}"))


def test_jobs_go_to_a_running_scheduler():
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
        there = ParallelConfig(scheduler=cluster.scheduler_address)
        assert there.processes is None
        assert sorted(each(square, [1, 2, 3], there)) == [1, 4, 9]


def test_a_scheduler_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr("cryoembed.recipes.parallel._CONNECT_S", 1)
    with pytest.raises(InputError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        list(each(square, [1], ParallelConfig(scheduler="tcp://127.0.0.1:9")))


@pytest.mark.parametrize(
    ("settings", "module"),
    [({"workers": 2}, "distributed"), ({"slurm": {"enabled": True}}, "dask_jobqueue")],
)
def test_missing_dask_tells_how_to_install_it(monkeypatch, settings, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"pip install 'cryoembed\[slurm\]'"):
        list(each(square, [1], parse_config(ParallelConfig, settings)))


def test_the_slurm_script_asks_for_what_the_settings_say():
    slurm = SlurmConfig(
        enabled=True,
        queue="long",
        account="group",
        cores=4,
        memory="32GB",
        walltime="1-02:00:00",
        directives=("--qos=low",),
        prologue=("module load python",),
    )
    with slurm_cluster(slurm) as cluster:
        script = cluster.job_script()
    for line in (
        "#SBATCH -J cryoembed",
        "#SBATCH -p long",
        "#SBATCH -A group",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --mem=30G",  # 32e9 bytes are 29.8 GiB, rounded up by dask-jobqueue
        "#SBATCH -t 1-02:00:00",
        "#SBATCH --qos=low",
        "export NUMBA_NUM_THREADS=1",
        "module load python",
    ):
        assert line in script.splitlines()
    assert "--nworkers 4 " in script
    assert "--nthreads 1 " in script
    assert script.rstrip().endswith("--memory-limit 0")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"workers": 0}, "workers"),
        ({"slurm": {"memory": "lots"}}, "slurm.memory"),
        ({"slurm": {"walltime": "4 hours"}}, "slurm.walltime"),
        ({"slurm": {"partition": "long"}}, "partition"),
    ],
)
def test_wrong_settings_are_explained(changes, key):
    with pytest.raises(InputError, match=key):
        parse_config(ParallelConfig, changes)
