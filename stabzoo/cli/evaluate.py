"""``stabzoo evaluate``: a table of what trained networks are worth."""

from __future__ import annotations

from pathlib import Path

from stabzoo.cli.console import output, print_json, table
from stabzoo.errors import ConfigError
from stabzoo.terminal import say
from stabzoo.training.process import this_process, workers_of
from stabzoo.training.results import evaluate

__all__ = ["evaluate_trained"]


def evaluate_trained(
    folders: tuple[Path, ...], *, conditions: Path | None, root: Path, workers: int | None, device: str, as_json: bool
) -> int:
    """Print accuracy, gap, calibration, and accuracy under noise and attack; return 1 if a training has diverged.

    Raises:
        ConfigError: no folder is given, or one is none of a finished training.
    """
    if not folders:
        raise ConfigError("evaluate: expected the folder of a finished training, e.g. runs/zerosnet20_opt-digits-0")
    found = evaluate(folders, conditions, root, this_process(device).device, workers_of(workers))
    wrong = int(bool(found.diverged or found.failures))
    if as_json:
        diverged = [folder in found.diverged for folder in folders]
        failures = {"failures": found.failures} if found.failures else {}
        print_json({"diverged": diverged, **failures, **found.numbers})
        return wrong
    names, values = zip(*found.rows(), strict=True)
    networks = "network" if len(folders) == 1 else f"{len(folders)} networks, mean ± standard deviation"
    table(output(), {"": names, networks: values}, ())
    output().print(
        "Percent, but for the negative log-likelihood and where another unit stands. Under an attack: an upper bound, "
        "which stronger ones may lower."
    )
    for folder in found.diverged:
        say(output(), f"{folder}: its training diverged, at a loss that was not finite.", style="red")
    for failure in found.failures:
        say(output(), failure, style="red")
    return wrong
