"""What is measured of a network besides its accuracy when it is trained, as data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from stabzoo.config import Seed, Strict

__all__ = ["Angles", "Constraints", "Cost", "Curve", "Diagnostic", "Generalization", "Sensitivity", "Solver"]


class Constraints(Strict):
    """After every epoch, whether the weights satisfy the constraints of the network's scheme, by exact norms."""

    kind: Literal["constraints"]


class Sensitivity(Strict):
    """Certified bound of ||f(x) - f(y)|| / ||x - y||, f from normalised images to logits, and the largest value found.

    The search ascends from ``starts`` test images drawn with ``seed``, in ``rounds`` of power iteration and ascent; the
    bound of all layers at once is improved by ``steps`` gradient steps.
    """

    kind: Literal["sensitivity"]
    starts: PositiveInt
    rounds: PositiveInt
    steps: NonNegativeInt = 0
    seed: Seed


class Angles(Strict):
    """Median principal angles within and between classes of the features of the test images, after every epoch.

    Source: Understanding ResNet from a discrete dynamical system perspective, 2021, Definition 1.
    """

    kind: Literal["angles"]


class Solver(Strict):
    """How the equations of implicit steps were solved while training: failures, evaluations of f, Jacobian products."""

    kind: Literal["solver"]


class Generalization(Strict):
    """Accuracy on the training images, and how much higher it is than on the test images.

    ``training``: of the ``trained`` network on the images as they are; or ``running``, of the network while it learns,
    on augmented images and in training mode, the largest of all epochs.
    """

    kind: Literal["generalization"]
    training: Literal["trained", "running"] = "trained"


class Curve(Strict):
    """Accuracy on clean test images after every epoch, and its mean over the last ``tail`` epochs."""

    kind: Literal["curve"]
    tail: PositiveInt = 1


class Cost(Strict):
    """Trainable parameters, and the time of training and of a pass over the test images.

    Times mean something in one process at a time (``--workers 1``), and without other diagnostics.
    """

    kind: Literal["cost"]


Diagnostic = Annotated[
    Constraints | Sensitivity | Angles | Solver | Generalization | Curve | Cost, Field(discriminator="kind")
]
