"""A Dask cluster on this machine for one study: nobody else can reach it. Importing this module imports Dask."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import Any

import dask
from distributed import Client, Nanny, Scheduler, SpecCluster, Worker
from distributed.security import Security

from stabzoo.errors import ConfigError

__all__ = ["QUIET", "private_cluster"]

QUIET = logging.CRITICAL  # a death is told by who reads the future
DEATHS = 3  # of the processes that were at a call, after which Dask here starts it no more


class _Scheduler(Scheduler):
    def start_http_server(self, *_: Any, **__: Any) -> None:
        """No page, and no port for one: what it shows is anybody's on this machine."""


class _Worker(Worker):
    start_http_server = _Scheduler.start_http_server


@contextmanager
def private_cluster(workers: int, gpus: Sequence[str] = ()) -> Iterator[Client]:
    """A client of a new cluster of ``workers`` processes on this machine, which end with this process.

    It answers on the loopback interface only, encrypted, and only to who has its key, which is made here, is kept in
    memory and goes to the processes started here: what a cluster is sent is executed, with the rights of this user.
    Process number i sees the GPU ``gpus``[i modulo their number], where there are some.

    Raises:
        ImportError: cryptography is not installed.
        ConfigError: a process ends while it is started.
    """
    settings = {
        "distributed.worker.daemon": False,  # a daemon may have no children, which decode images
        "distributed.scheduler.allowed-failures": DEATHS - 1,
        # a process that died is started again, which takes a busy machine longer than the 15 s after which Dask would
        # take it for lost for good, and wait for others that never come
        "distributed.deploy.lost-worker-timeout": "10 days",
    }
    security = Security.temporary()
    private = {"host": "127.0.0.1", "protocol": "tls://", "security": security, "dashboard": False}
    with dask.config.set(settings), ExitStack() as stack:
        one = {
            **private,
            "nthreads": 1,
            "memory_limit": 0,  # no limit, none is killed
            "silence_logs": QUIET,
            "worker_class": _Worker,
            "local_directory": stack.enter_context(TemporaryDirectory(prefix="stabzoo-", ignore_cleanup_errors=True)),
        }
        specs = [{**one, **_of_gpu(gpus[i % len(gpus)])} if gpus else one for i in range(workers)]
        try:
            cluster = SpecCluster(
                scheduler={"cls": _Scheduler, "options": {**private, "port": 0}},
                workers={i: {"cls": Nanny, "options": options} for i, options in enumerate(specs)},
                security=security,
                silence_logs=QUIET,  # pyright: ignore[reportArgumentType] of its default, False
            )
        except RuntimeError as error:  # of which none is left: the processes of a cluster end with this one
            raise ConfigError(
                f"engine dask: a process of the cluster has ended while it was started ({error}); is there too little "
                "memory? run the same command again, with fewer --workers"
            ) from error
        stack.callback(_end, cluster)
        yield stack.enter_context(Client(cluster, security=security, set_as_default=False))


def _of_gpu(device: str) -> dict[str, Any]:
    """Options of a worker that sees this GPU only."""
    return {"env": {"CUDA_VISIBLE_DEVICES": device}, "resources": {"GPU": 1}}


def _end(cluster: SpecCluster) -> None:
    """End a cluster without waiting for what its workers are at."""
    for nanny in cluster.workers.values():
        nanny.auto_restart = False
        if nanny.pid:
            with suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGKILL)
    cluster.close()
