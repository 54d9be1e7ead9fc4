"""FGSM and PGD beside foolbox's, on one trained network: accuracies, and how far the attacked pixels are apart.

    PYTHONPATH=/elsewhere python benchmarks/attacks.py        # foolbox 3.3.4 installed there

Both attack a network that takes pixels in [0, 1] and normalises them itself.  PGD starts without noise here, which
foolbox can be told, so that all pixels can be compared.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import foolbox
import torch
from torch import Tensor

from stabzoo.study.accuracy import accuracy
from stabzoo.study.attacks import fgsm, pgd
from stabzoo.study.data import load_images
from stabzoo.study.networks import build
from stabzoo.study.spec import Digits, Run, Training
from stabzoo.training.loop import Trainer

DATA = Digits(name="digits", size=16, test_images=540, split_seed=0)
TRAINING = Training(
    epochs=4, batch_size=64, optimizer="momentum", lr=0.1, momentum=0.9, weight_decay=0.0005, schedule="one-cycle"
)
EPSILON = 0.02


def main() -> None:
    """Print one row an attack."""
    torch.set_num_threads(1)
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
                f"| {model} | {name} | {accuracy(network, mine, y):.1f} | {accuracy(network, other, y):.1f} | {apart:.1e} | "
                f"{middle - start:.1f} | {end - middle:.1f} |",
                flush=True,
            )


def still(network: torch.nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """PGD from the images themselves, as a chain of FGSM steps in the ball."""
    point = x
    for _ in range(10):
        point = fgsm(network, point, y, 0.25 * EPSILON).clamp(x - EPSILON, x + EPSILON)
    return point


if __name__ == "__main__":
    main()
