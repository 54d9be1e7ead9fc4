"""FGSM and PGD beside foolbox's, on one trained network: accuracies, and how far the attacked pixels are apart.

    PYTHONPATH=/elsewhere python benchmarks/attacks.py        # foolbox 3.3.4 installed there
    python benchmarks/attacks.py strength                     # what FGSM, PGD and AutoAttack leave

Both attack a network that takes pixels in [0, 1] and normalises them itself.  PGD starts without noise here, which
foolbox can be told, so that all pixels can be compared.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from stabzoo.data.loading import load_images
from stabzoo.data.spec import Digits
from stabzoo.evaluation.accuracy import measure, num_correct
from stabzoo.evaluation.attacks import fgsm, pgd
from stabzoo.evaluation.spec import AutoAttack, Clean, Fgsm, Pgd
from stabzoo.study.execution.networks import build
from stabzoo.study.spec import Run
from stabzoo.training.loop import Trainer
from stabzoo.training.spec import Training

DATA = Digits(name="digits", size=16, test_images=540, split_seed=0)
TRAINING = Training(
    epochs=4, batch_size=64, optimizer="momentum", lr=0.1, momentum=0.9, weight_decay=0.0005, schedule="one-cycle"
)
EPSILON = 0.02


def percent(network: torch.nn.Module, pixels: torch.Tensor, labels: torch.Tensor) -> float:
    """Accuracy on these pixels."""
    return 100 * num_correct(network(pixels), labels) / len(labels)


def main() -> None:
    """Print one row an attack."""
    import foolbox

    images = load_images(DATA)
    print(
        "| network | attack | stabzoo | foolbox | pixels apart, mean | s, stabzoo | s, foolbox |\n|---|---|---|---|---|---|---|"
    )
    for model in ("zerosnet20_opt", "implicit_resnet20"):
        training = TRAINING.model_copy(update={"lr": 0.01}) if "implicit" in model else TRAINING
        run = Run(model=model, args={"width": 8}, data=DATA, training=training, seed=0, software={})
        network = build(run, images)
        Trainer(network, images, training, 0).run()
        network.eval()
        theirs = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
        x, y = images.test[:128], images.test_labels[:128]
        stepping = foolbox.attacks.LinfPGD(rel_stepsize=0.25, steps=10, random_start=False)
        pairs: dict[str, tuple[Callable[[], Tensor], Any]] = {
            "FGSM": (partial(fgsm, network, x, y, EPSILON), foolbox.attacks.FGSM()),
            "PGD-10, no random start": (partial(still, network, x, y), stepping),
            "PGD-10": (
                partial(pgd, network, x, y, EPSILON, 10, torch.Generator().manual_seed(0)),
                foolbox.attacks.LinfPGD(rel_stepsize=0.25, steps=10),
            ),
        }
        for name, (ours, attack) in pairs.items():
            start = time.process_time()
            mine = ours()
            middle = time.process_time()
            _, other, _ = attack(theirs, x, y, epsilons=EPSILON)
            end = time.process_time()
            apart = float((mine - other).abs().mean())
            print(
                f"| {model} | {name} | {percent(network, mine, y):.1f} | {percent(network, other, y):.1f} | {apart:.1e} | "
                f"{middle - start:.1f} | {end - middle:.1f} |",
                flush=True,
            )


def still(network: torch.nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """PGD from the images themselves, as a chain of FGSM steps in the ball."""
    point = x
    for _ in range(10):
        point = fgsm(network, point, y, 0.25 * EPSILON).clamp(x - EPSILON, x + EPSILON)
    return point


def strength() -> None:
    """Print what each attack leaves of stable and unstable networks, and how long it took."""
    images = load_images(DATA)
    few = replace(images, test=images.test[:64], test_labels=images.test_labels[:64])
    asked = [
        Clean(kind="clean"),
        Fgsm(kind="fgsm", epsilon=EPSILON),
        Pgd(kind="pgd", epsilon=EPSILON, seed=0),
        Pgd(kind="pgd", epsilon=EPSILON, steps=100, seed=0),
        AutoAttack(kind="autoattack", epsilon=EPSILON, seed=0),
    ]
    print(
        "| network |",
        " | ".join(e.title for e in asked),
        "| s, PGD-10 | s, AutoAttack |\n|---|" + "---|" * (len(asked) + 2),
    )
    for title, args in (("zerosnet20_opt", {}), ("zerosnet20, alpha -3, 5, -1", {"alpha": [-3, 5, -1], "beta": [4]})):
        model = title.split(",")[0]
        run = Run(model=model, args={"width": 8, **args}, data=DATA, training=TRAINING, seed=0, software={})
        network = build(run, images)
        Trainer(network, images, TRAINING, 0).run()
        found, seconds = [], []
        for evaluation in asked:
            start = time.process_time()
            found += measure(network.eval(), few, [evaluation])
            seconds.append(time.process_time() - start)
        print(
            f"| {title} |",
            " | ".join(f"{a:.1f}" for a in found),
            f"| {seconds[2]:.1f} | {seconds[4]:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:] == ["strength"]:
        strength()
    else:
        main()
