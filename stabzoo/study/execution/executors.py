"""What executes the runs of a study: processes on this machine, or Dask, here or on a cluster.

Importing this module imports neither torch nor Dask.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from stabzoo.errors import ConfigError
from stabzoo.study.execution.pool import ProcessExecutor, WorkerDied
from stabzoo.training.spec import software

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Device", "Engine", "open_executor", "worker_died"]

P = ParamSpec("P")
T = TypeVar("T")
Engine = Literal["local", "dask"]
Device = Literal["cpu", "cuda"]

SECONDS = 10  # to reach a scheduler


@contextmanager
def open_executor(
    engine: Engine, workers: int, *, scheduler: str | None = None, device: Device = "cpu"
) -> Iterator[Executor]:
    """An executor of ``engine``; leaving the context drops the calls that wait.

    ``local``: ``workers`` processes of one thread.  ``dask``: as many workers of one thread in a cluster on this
    machine, which nobody else can reach, or those of the cluster whose ``scheduler`` has that address (``workers``
    does not matter then).  Calls in progress end with the processes here; on an existing cluster they run to
    their end.

    With ``device="cuda"`` the process number i on this machine sees GPU i modulo their number, and no other; to a
    existing cluster, each call asks for one of the resource ``GPU`` of a worker.

    Raises:
        ConfigError: Dask is not installed; the scheduler cannot be reached, or has workers of other software or of
            several threads; there is no GPU here.
    """
    if engine == "local":
        if scheduler is not None:
            raise ConfigError(f"scheduler: goes with the engine dask, got {scheduler!r} with the engine local")
        executor: Executor = ProcessExecutor(workers, _gpus() if device == "cuda" else 0)
        try:
            yield executor
        finally:
            executor.shutdown(cancel_futures=True)
        return
    try:
        from stabzoo.study.execution.private_cluster import private_cluster

        gpus = _visible_gpus() if device == "cuda" and scheduler is None else []
        opened = ExitStack()
        client = opened.enter_context(private_cluster(workers, gpus) if scheduler is None else _joined(scheduler))
    except ImportError as error:
        raise ConfigError(f"engine dask: {error}; pip install 'stabzoo[dask]'") from None
    with opened:
        executor = DaskExecutor(client, {"GPU": 1} if device == "cuda" else {})
        try:
            yield executor
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def worker_died(error: BaseException) -> bool:
    """Whether a call failed because its process ended, not because it raised."""
    return isinstance(error, BrokenExecutor | WorkerDied)


class DaskExecutor(Executor):
    """Calls on the workers of a Dask cluster, each of which takes ``resources`` of its worker.

    A call whose worker dies, or is retired at the end of its job, is started again by Dask itself, on any worker.
    """

    def __init__(self, client: Client, resources: dict[str, float]) -> None:
        assert client.scheduler is not None
        self._address = client.scheduler.address
        # pure: two equal calls are two calls. No retries: they are for calls that raise, which would raise again
        self._executor = client.get_executor(pure=False, **({"resources": resources} if resources else {}))
        self._futures: set[Future[Any]] = set()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call ``fn``, which the workers must be able to import.

        The future raises WorkerDied when Dask gives the call up, and ConfigError when the scheduler is gone.
        """
        from distributed import KilledWorker

        asked: Future[Any] = self._executor.submit(fn, *args, **kwargs)
        future: Future[T] = Future()
        self._futures.add(future)

        def answer(asked: Future[Any]) -> None:
            if not future.set_running_or_notify_cancel():
                return
            if asked.cancelled():
                gone = f"{self._address}: the Dask scheduler has ended, or cannot be reached any more"
                future.set_exception(ConfigError(f"{gone}; start it, and run the same command again"))
            elif isinstance(error := asked.exception(), KilledWorker):
                where = f"{error.last_worker.name} at {error.last_worker.address}"
                future.set_exception(WorkerDied(f"ended {error.allowed_failures + 1} times, last worker {where}"))
            elif error:
                future.set_exception(error)
            else:
                future.set_result(asked.result())

        def forget(future: Future[Any]) -> None:
            self._futures.discard(future)
            if future.cancelled():
                asked.cancel()

        future.add_done_callback(forget)
        asked.add_done_callback(answer)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """With ``cancel_futures`` drop all calls that have no outcome; workers finish what they are at."""
        if cancel_futures:
            for future in list(self._futures):
                future.cancel()
        self._executor.shutdown(wait=wait)


@contextmanager
def _joined(address: str) -> Iterator[Client]:
    """A client of the cluster that has its scheduler at ``address`` and workers that can do what is asked here."""
    from distributed import Client
    from distributed.comm import resolve_address
    from distributed.utils import silence_logging_cmgr

    try:
        resolve_address(address)  # a client of what is no address would not end
        client = Client(address, timeout=SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"scheduler {address}: cannot be reached ({error}); expected the address that `dask scheduler` prints, "
            "e.g. tcp://node1:8786"
        ) from None
    # what becomes of the scheduler is told by who reads a future, and not also by Dask's log with a traceback
    with silence_logging_cmgr(logging.CRITICAL), client:
        try:
            client.run_on_scheduler(software)  # it passes on what it can import
        except Exception as error:
            raise ConfigError(
                f"scheduler {address}: has no stabzoo that works ({type(error).__name__}: {error}); start it from the "
                "environment that its workers have"
            ) from None
        threads_of: Any = client.nthreads()  # of a client that is not asynchronous
        for worker, threads in threads_of.items():
            if threads > 1:
                raise ConfigError(
                    f"scheduler {address}: its worker {worker} has {threads} threads, and a run wants a process for "
                    "itself; start workers with --nthreads 1"
                )
        software_of: Any = client.run(software, on_error="return")
        for worker, found in software_of.items():
            if found != software():
                raise ConfigError(
                    f"scheduler {address}: its worker {worker} has {_other(found)}; the numbers of a run depend on "
                    "these, so install the same there as here"
                )
        yield client


def _other(found: dict[str, str] | BaseException) -> str:
    """What a worker has that this process has not."""
    if isinstance(found, BaseException):
        return f"no stabzoo that works ({type(found).__name__}: {found})"
    here = software()
    names = [name for name in here if found.get(name) != here[name]]
    return ", ".join(f"{name} {found.get(name, 'of no version')} instead of {here[name]}" for name in names)


def _gpus() -> int:
    """GPUs that torch sees here."""
    import torch

    if count := torch.cuda.device_count():
        return count
    raise ConfigError("device cuda: torch sees no GPU on this machine; take the device cpu, or workers that have one")


def _visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES would be for each of them."""
    count = _gpus()
    return os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))).split(",")[:count]
