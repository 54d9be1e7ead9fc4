"""What is measured of a trained network besides its accuracy, as data: constraints, sensitivity, angles, solves."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from stabzoo.config import Strict
from stabzoo.study.evaluations import Seed

__all__ = ["Angles", "Constraints", "Diagnostic", "Sensitivity", "Solver"]


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


Diagnostic = Annotated[Constraints | Sensitivity | Angles | Solver, Field(discriminator="kind")]
