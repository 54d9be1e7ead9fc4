"""Measuring what a study asks of its networks besides accuracy: while they train, and when they are trained."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import torch

from stabzoo.data.images import ImageDataset
from stabzoo.diagnostics.angles import PrincipalAngles
from stabzoo.evaluation.accuracy import accuracy, training_accuracy
from stabzoo.implicit.step import solver_report
from stabzoo.study.measures import Angles, Constraints, Cost, Curve, Diagnostic, Generalization, Sensitivity, Solver
from stabzoo.training.loop import Progress
from stabzoo.training.normalized import NormalizedModel

__all__ = ["Observer", "observers_of"]


class Observer(Protocol):
    """Measures one diagnostic of one network.

    Attributes:
        watches: Whether it must see every epoch.
        state: All it has seen, JSON-safe: a training that is resumed gives it back.
    """

    watches: ClassVar[bool]
    state: dict[str, Any]

    def after_epoch(self, network: NormalizedModel, epoch: int) -> None:
        """``epoch`` (from 1) of its training is over; 0 before the first."""
        ...

    def result(self, network: NormalizedModel, progress: Progress) -> dict[str, Any]:
        """What was found, JSON-safe; ``network`` is trained, and ``progress`` tells of its training."""
        ...


class _Constraints:
    watches: ClassVar[bool] = True

    def __init__(self) -> None:
        self.state: dict[str, Any] = {"checks": 0, "violations": []}

    def after_epoch(self, network: NormalizedModel, epoch: int) -> None:
        self.state["checks"] += 1
        self.state["violations"] += [f"epoch {epoch}: {violation}" for violation in network.violations()]

    def result(self, network: NormalizedModel, progress: Progress) -> dict[str, Any]:
        return {
            "constraints": [f"{n} x {text}" for text, n in Counter(map(str, network.constraints().values())).items()],
            **self.state,
        }


class _Sensitivity:
    watches: ClassVar[bool] = False

    def __init__(self, diagnostic: Sensitivity, images: ImageDataset) -> None:
        self.state: dict[str, Any] = {}
        generator = torch.Generator().manual_seed(diagnostic.seed)
        chosen = torch.randperm(images.test_count, generator=generator)[: diagnostic.starts]
        ((self.pixels, _),) = images.testing([chosen])
        self.diagnostic = diagnostic

    def after_epoch(self, network: NormalizedModel, epoch: int) -> None:
        pass

    def result(self, network: NormalizedModel, progress: Progress) -> dict[str, Any]:
        from stabzoo.diagnostics.attack import sensitivity_attack
        from stabzoo.diagnostics.bounds.network import forward_bounds

        inputs = network.normalise(self.pixels)
        channels, height, width = inputs.shape[1:]
        network.eval()
        bounds = forward_bounds(network.network, (channels, height, width), iterations=self.diagnostic.steps)
        rounds = self.diagnostic.rounds
        attack = sensitivity_attack(network.network, inputs, rounds=rounds, seed=self.diagnostic.seed)
        return {
            "certified": bounds.sensitivity.to_dict(),
            "paper": bounds.paper_sensitivity if math.isfinite(bounds.paper_sensitivity or math.inf) else None,
            "refused": list(bounds.refused),
            "growth": bounds.growth.to_dict(),
            "offset": bounds.offset.to_dict(),
            "attacked": attack.sensitivity.to_dict(),
            "evaluations": attack.evaluations,
        }


class _Angles:
    watches: ClassVar[bool] = True

    def __init__(self, images: ImageDataset) -> None:
        self.state: dict[str, Any] = {"history": []}
        self.images = images
        self.angles: PrincipalAngles | None = None

    def after_epoch(self, network: NormalizedModel, epoch: int) -> None:
        if self.angles is None:
            ((pixels, labels),) = self.images.testing([torch.arange(self.images.test_count)])  # all at once
            self.angles = PrincipalAngles(network.normalise(pixels), labels)
        self.angles(network.network, epoch)
        self.state["history"].append(self.angles.history.pop())

    def result(self, network: NormalizedModel, progress: Progress) -> dict[str, Any]:
        return self.state


class _Solver:
    """Solves of each block, epoch by epoch; the counters of the blocks are left at zero."""

    watches: ClassVar[bool] = True

    def __init__(self) -> None:
        self.state: dict[str, Any] = {"history": []}

    def after_epoch(self, network: NormalizedModel, epoch: int) -> None:
        reports = solver_report(network)
        if epoch:
            self.state["history"].append({"epoch": epoch, "blocks": [report.to_dict() for report in reports]})
        for report in reports:
            report.reset()

    def result(self, network: NormalizedModel, progress: Progress) -> dict[str, Any]:
        return self.state


class _Generalization:
    watches: ClassVar[bool] = False

    def __init__(self, diagnostic: Generalization, images: ImageDataset) -> None:
        self.state: dict[str, Any] = {}
        self.images = images
        self.running = diagnostic.training == "running"

    def after_epoch(self, network: NormalizedModel, epoch: int) -> None:
        pass

    def result(self, network: NormalizedModel, progress: Progress) -> dict[str, Any]:
        running = max(progress.accuracies, default=0.0)
        return {
            "training": running if self.running else training_accuracy(network, self.images),
            "test": accuracy(network, self.images),
        }


class _Curve:
    watches: ClassVar[bool] = True

    def __init__(self, images: ImageDataset) -> None:
        self.state: dict[str, Any] = {"history": []}
        self.images = images

    def after_epoch(self, network: NormalizedModel, epoch: int) -> None:
        if epoch:
            training = network.training
            self.state["history"].append(accuracy(network, self.images))
            network.train(training)

    def result(self, network: NormalizedModel, progress: Progress) -> dict[str, Any]:
        return self.state


class _Cost:
    watches: ClassVar[bool] = True

    def __init__(self, images: ImageDataset) -> None:
        self.state: dict[str, Any] = {"epochs": []}
        self.images = images
        self.started = time.perf_counter()

    def after_epoch(self, network: NormalizedModel, epoch: int) -> None:
        if epoch:
            self.state["epochs"].append(time.perf_counter() - self.started)
        self.started = time.perf_counter()

    def result(self, network: NormalizedModel, progress: Progress) -> dict[str, Any]:
        started = time.perf_counter()
        accuracy(network, self.images)
        return {
            "parameters": sum(p.numel() for p in network.parameters() if p.requires_grad),
            **self.state,
            "test": time.perf_counter() - started,
        }


def observers_of(diagnostics: Sequence[Diagnostic], images: ImageDataset) -> list[Observer]:
    """One observer for each diagnostic, in their order."""
    observers: list[Observer] = []
    for diagnostic in diagnostics:
        match diagnostic:
            case Constraints():
                observers.append(_Constraints())
            case Sensitivity():
                observers.append(_Sensitivity(diagnostic, images))
            case Angles():
                observers.append(_Angles(images))
            case Solver():
                observers.append(_Solver())
            case Generalization():
                observers.append(_Generalization(diagnostic, images))
            case Curve():
                observers.append(_Curve(images))
            case Cost():
                observers.append(_Cost(images))
    return observers
