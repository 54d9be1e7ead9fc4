"""The paper's two examples as configuration files: networks, data, training; checked before anything runs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from stabzoo import Rational, SolverSettings, Strict, load_yaml, validate

__all__ = ["Example", "Network", "load_example", "shipped_examples"]

FOLDER = Path(__file__).parent / "examples"


class Network(Strict):
    """One network of an example.

    ``fixed_point`` and ``perturbation`` are the weights of the regularisers (9) and (10), ``sigma`` is the deviation of
    the normal noise that the latter draws.
    """

    label: str
    layers: PositiveInt
    theta: Rational = Fraction(1, 2)
    one_leg: bool = False
    fixed_point: NonNegativeFloat = 0.0
    perturbation: NonNegativeFloat = 0.0
    sigma: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _noise_has_a_size(self) -> Network:
        if (self.perturbation > 0) != (self.sigma > 0):
            raise ValueError(
                f"perturbation and sigma go together; got perturbation: {self.perturbation} with sigma: {self.sigma}"
            )
        return self


class Example(Strict):
    """An experiment with vector-field networks (eq. (11)), all trained alike by Adam on all points at once.

    The learning rate is multiplied by ``decay`` every ``decay_every`` epochs.  Networks of several depths may have
    different numbers of epochs: ``epochs`` by the number of layers.
    """

    title: str
    description: str
    data: Literal["function", "spirals"]
    networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    epochs: dict[PositiveInt, PositiveInt]
    hidden: PositiveInt = 100
    horizon: PositiveFloat = 10.0
    lr: PositiveFloat = 0.01
    decay: Annotated[float, Field(gt=0, le=1)] = 0.7
    decay_every: PositiveInt = 500
    seed: Annotated[int, Field(ge=0)] = 0
    solver: SolverSettings = SolverSettings(method="fixed_point", rtol=1e-5, max_evaluations=50)
    limits: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _every_depth_has_epochs(self) -> Example:
        for network in self.networks:
            if network.layers not in self.epochs:
                raise ValueError(f"epochs: expected a number of epochs for {network.layers} layers ({network.label})")
        labels = [network.label for network in self.networks]
        if repeated := {label for label in labels if labels.count(label) > 1}:
            raise ValueError(f"networks: the label {', '.join(sorted(repeated))} is written twice")
        return self


def shipped_examples() -> list[str]:
    """Names of the examples that come with the plugin."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_example(name_or_path: str) -> Example:
    """Read an example that comes with the plugin by its name, or any other by the path of its YAML file.

    Raises:
        stabzoo.ConfigError: there is no such example, or the file is not a valid one.
    """
    path = FOLDER / f"{name_or_path}.yaml" if name_or_path in shipped_examples() else Path(name_or_path)
    return validate(Example, load_yaml(path), str(path))
