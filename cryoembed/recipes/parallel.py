"""Independent jobs on many cores or machines with Dask: one process per job, results as they come, first error named.

With one worker nothing of Dask is imported and the jobs run here, one after the other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from pydantic import Field

from cryoembed.config import Config
from cryoembed.errors import InputError
from cryoembed.simulate.threads import usable_threads

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_CONNECT_S = 30
_NO_DASHBOARD = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}  # 8787 may be taken
# a terminal's Ctrl-C reaches all processes; the one that was started answers for them
_IGNORE_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
_DEATHS = 2  # of a job's process until the job counts as impossible


class SlurmConfig(Config):
    """What each Slurm job asks for; every core of it works on a job of its own."""

    enabled: bool = Field(False, description="--slurm turns it on")
    queue: str | None = Field(None, description="partition")
    account: str | None = None
    cores: int = Field(1, ge=1, description="processes of each Slurm job")
    memory: str = Field("8GB", pattern=r"^\d+(\.\d+)? ?[kMGT]i?B$", description="of each Slurm job")
    walltime: str = Field("04:00:00", pattern=r"^(\d+-)?\d+:\d\d:\d\d$", description="[days-]hours:minutes:seconds")
    jobs: int = Field(1, ge=1, description="Slurm jobs at a time")
    directives: tuple[str, ...] = Field((), description="further #SBATCH lines, such as --qos=long")
    prologue: tuple[str, ...] = Field((), description="shell lines before the work, such as module load python")
    interface: str | None = Field(None, description="network interface, such as ib0")


class ParallelConfig(Config):
    """Where independent jobs run; never what comes out of them."""

    workers: int = Field(1, ge=1, description="processes on this machine")
    scheduler: str | None = Field(None, description="address of a running Dask scheduler, such as tcp://node7:8786")
    slurm: SlurmConfig = SlurmConfig()

    @property
    def processes(self) -> int | None:
        """How many jobs run at a time; None where a scheduler decides."""
        if self.scheduler is not None:
            return None
        return self.slurm.jobs * self.slurm.cores if self.slurm.enabled else self.workers

    @property
    def threads(self) -> int | None:
        """How many threads each job may start; None: as many as there are cores, where it is the only one."""
        if self.scheduler is not None or self.slurm.enabled:
            return 1
        return None if self.workers == 1 else _cores_each(self.workers)


def each(
    function: Callable[[T], R], items: Sequence[T], parallel: ParallelConfig, *, name: Callable[[T], str] = str
) -> Iterator[R]:
    """Yield ``function(item)`` of all items, in the order in which they are done.

    Parameters
    ----------
    function
        Importable (no lambda); it writes its own results and returns something small.
    name
        What an error calls the job.

    Raises
    ------
    InputError
        Of the first job that fails, with its name; or if Dask is missing, unreachable, or a job's process keeps dying.
        Jobs that were done stay done. Ctrl-C drops what was not.
    """
    if not items:
        return
    if parallel.processes == 1 and not parallel.slurm.enabled:
        for item in items:
            with _named(name(item)):
                result = function(item)
            yield result
        return
    with _client(parallel, len(items)) as client:
        yield from _as_completed(client, function, items, name)


def slurm_cluster(slurm: SlurmConfig) -> Any:
    """A `dask_jobqueue.SLURMCluster` that has asked for no job yet; ``job_script()`` shows what it would submit."""
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise _missing("Slurm jobs") from None
    return SLURMCluster(
        queue=slurm.queue,
        account=slurm.account,
        cores=slurm.cores,
        processes=slurm.cores,
        memory=slurm.memory,
        walltime=slurm.walltime,
        job_extra_directives=list(slurm.directives),
        job_script_prologue=[*(f"export {key}={value}" for key, value in _one_thread(1).items()), *slurm.prologue],
        interface=slurm.interface,
        job_name="cryoembed",
        worker_extra_args=["--memory-limit", "0"],  # Slurm limits the memory; Dask would pause long before
        scheduler_options=_NO_DASHBOARD,
    )


def _as_completed(client: Any, function: Callable[[T], R], items: Sequence[T], name: Callable[[T], str]) -> Iterator[R]:
    from distributed import CancelledError, KilledWorker, as_completed

    futures = {client.submit(function, item, pure=False): item for item in items}
    try:
        for future in as_completed(list(futures)):
            with _named(name(futures[future])):
                try:
                    result = future.result()
                except KilledWorker:
                    raise InputError(
                        f"its process was killed {_DEATHS + 1} times, most likely for want of memory; use fewer --workers"
                    ) from None
                except CancelledError:
                    raise InputError("the scheduler has gone; run the same command to go on") from None
            yield result
            future.release()
    finally:
        with suppress(Exception):  # the scheduler may be the one that died
            client.cancel(list(futures))


@contextmanager
def _client(parallel: ParallelConfig, jobs: int) -> Iterator[Any]:
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError:
        raise _missing("more than one worker") from None
    workers = min(parallel.workers, jobs)
    settings = {
        "distributed.scheduler.allowed-failures": _DEATHS,
        "distributed.worker.preload": [_IGNORE_CTRL_C],
        "distributed.nanny.pre-spawn-environ": _one_thread(_cores_each(workers)),
    }
    with dask.config.set(settings):
        if parallel.scheduler is not None:
            try:
                client = Client(parallel.scheduler, timeout=_CONNECT_S)
            except (OSError, ValueError) as error:
                raise InputError(
                    f"no Dask scheduler answers at {parallel.scheduler} ({error}); start one with: dask scheduler"
                ) from None
            if not client.scheduler_info()["workers"]:
                logger.warning("%s has no workers yet; start some with: dask worker ADDRESS", parallel.scheduler)
            with client:
                yield client
        elif parallel.slurm.enabled:
            with slurm_cluster(parallel.slurm) as cluster, Client(cluster) as client:
                cluster.scale(jobs=parallel.slurm.jobs)
                yield client
        else:
            # LocalCluster gives the logger its level back before its last connections break
            logging.getLogger("distributed").setLevel(logging.CRITICAL)
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                scheduler_kwargs=_NO_DASHBOARD,
                memory_limit=0,  # Dask would pause a worker that holds much; the first line says what is needed
                silence_logs=logging.CRITICAL,
            )
            with cluster, Client(cluster) as client:
                yield client


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Put the job's name before what it complains about."""
    try:
        yield
    except InputError as error:
        if name in str(error):
            raise
        raise InputError(f"{name}: {error}") from error
    except Exception as error:
        error.add_note(name)
        raise


def _one_thread(numba: int) -> dict[str, str]:
    """Environment of a worker: the machine's cores are shared out among processes, not taken by each in full."""
    single = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**single, "NUMBA_NUM_THREADS": str(numba)}


def _cores_each(workers: int) -> int:
    return max(1, usable_threads() // workers)


def _missing(what: str) -> InputError:
    return InputError(f"{what} needs Dask: pip install 'cryoembed[slurm]', or use --workers 1")
