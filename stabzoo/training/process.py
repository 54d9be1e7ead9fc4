"""The process a training runs in: alone, or one of several that `torchrun` started."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from timm.utils.distributed import init_distributed_device_so, is_distributed_env
from torch import Tensor

from stabzoo.errors import ConfigError

__all__ = ["ALONE", "Process", "processor", "this_process", "workers_of"]


@dataclass(frozen=True)
class Process:
    """Which of ``world`` processes this is, and its device."""

    device: torch.device
    rank: int = 0
    world: int = 1

    def total(self, value: Tensor) -> Tensor:
        """The sum of ``value`` over all processes."""
        if self.world > 1:
            torch.distributed.all_reduce(value)
        return value

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            torch.distributed.barrier()

    def leave(self) -> None:
        """Part from the other processes; without it their threads may abort the interpreter's exit."""
        if self.world > 1:
            torch.distributed.destroy_process_group()

    def share(self, batch: Tensor) -> Tensor:
        """This process' part of the indices of a batch."""
        return batch.tensor_split(self.world)[self.rank]


def processor(device: str = "cpu") -> str:
    """What rounds: the instruction set that torch uses, ``"AVX2"``, or the name of the GPU."""
    return torch.backends.cpu.get_cpu_capability() if device == "cpu" else torch.cuda.get_device_name()


ALONE = Process(torch.device("cpu"))


def this_process(device: str) -> Process:
    """Join the processes that `torchrun` or Slurm has started; alone where there are none.

    Raises:
        ConfigError: there is no such device.
    """
    try:
        kind = torch.device(device)
        if kind.type == "cuda" and not torch.cuda.is_available():
            raise ConfigError(
                f"device: expected one that this machine has, got {device!r}: torch finds no GPU; use cpu"
            )
    except RuntimeError as error:
        raise ConfigError(f"device: expected cpu, cuda or cuda:N, got {device!r} ({error})") from None
    if not is_distributed_env():
        return Process(kind)
    if kind.type == "cpu":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if os.environ.get("MASTER_ADDR") in LOCAL else "")
        if not os.environ["GLOO_SOCKET_IFNAME"]:
            del os.environ["GLOO_SOCKET_IFNAME"]
    found = init_distributed_device_so(device)
    return Process(torch.device(found["device"]), int(found["global_rank"]), int(found["world_size"]))


def workers_of(asked: int | None, processes: int = 1) -> int:
    """Processes that decode images for each of ``processes`` on this machine: by default all processors but one each.

    Raises:
        ConfigError: fewer than none were asked for.
    """
    if asked is None:
        return max(0, (os.cpu_count() or 1) // processes - 1)
    if asked < 0:
        raise ConfigError(f"workers: expected at least 0, got {asked}")
    return asked


LOCAL = ("127.0.0.1", "localhost")  # there gloo may pick an interface on which nobody answers
