"""Documents about networks and the installation: of ``evaluate``, ``diagnose`` and ``doctor``."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, JsonValue

from stabzoo.config import Strict

__all__ = ["Audited", "Diagnosed", "Evaluated", "Examined", "Predicted"]


class AboutNumber(Strict):
    """How a number is known, the settings of its evaluation, and the test images' interval for one network."""

    evidence: str
    evaluation: dict[str, JsonValue]
    interval: tuple[float, float] | None


class Evaluated(Strict):
    """Of ``stabzoo evaluate --json``: of all that was measured one number per network, and what is known of these."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"additionalProperties": {"type": "array"}})
    __pydantic_extra__: dict[str, list[float | None]]  # pyright: ignore[reportIncompatibleVariableOverride]

    diverged: list[bool]
    failures: tuple[str, ...] = ()
    about: dict[str, AboutNumber] = Field(default_factory=dict)


class LargestProduct(Strict):
    """The largest product of consecutive companion matrices: exact, as a float if it is none too large, and where."""

    norm: str
    approximately: float | None
    first: int
    last: int
    is_preconsistent: bool


class Together(Strict):
    """What the blocks of a network do one after the other."""

    growth: LargestProduct
    along_the_depth: list[float]
    effective_depth: dict[str, JsonValue] | str


class LearntBlock(Strict):
    """A block's coefficients as trained, and the verdict on them, both exact."""

    name: str
    stage: int
    starting: bool
    numbers: list[float]
    alpha: list[str]
    beta: list[str]
    status: str
    parasitic_radius: JsonValue


class LearntScheme(Strict):
    """The scheme that a network has learnt."""

    trains: bool
    blocks: list[LearntBlock]
    now: Together
    at_start: Together
    stages: list[LargestProduct]


class EulerStep(Strict):
    """A block as a step of Euler's method; null where it has no such reading."""

    name: str
    reading: str
    gain: dict[str, JsonValue] | None
    steepest: dict[str, JsonValue] | None
    lipschitz: dict[str, JsonValue] | None


class Audited(Strict):
    """Of ``stabzoo audit --json``, and ``audit.json``."""

    format: int
    model: str
    parameters: int
    checkpoint: str | None
    data: str
    images: int
    input_size: tuple[int, int, int]
    failure: dict[str, JsonValue] | None
    scheme: LearntScheme | None
    stage_boundaries: list[dict[str, JsonValue]]
    euler_steps: list[EulerStep]
    perturbation_growth: dict[str, JsonValue]
    skipped: dict[str, str]
    environment: dict[str, str | int]


class Diagnosed(Strict):
    """Of ``stabzoo diagnose --json``, and ``diagnosis.json``; what a part holds is that part's own."""

    format: int
    model: str
    parameters: int
    checkpoint: str | None
    data: str
    images: int
    input_size: tuple[int, int, int]
    failure: dict[str, JsonValue] | None
    answers_under_noise: dict[str, JsonValue] | None
    layer_norms: dict[str, JsonValue] | None
    forward_bounds: dict[str, JsonValue] | None
    continuous_time: list[dict[str, JsonValue]]
    attack: dict[str, JsonValue] | None
    robustness: dict[str, JsonValue] | None
    conditioning: list[dict[str, JsonValue]]
    angles: dict[str, dict[str, JsonValue]]
    perturbation_growth: dict[str, JsonValue]
    batch_norms: list[dict[str, JsonValue]]
    features: list[dict[str, JsonValue]]
    answers: list[dict[str, JsonValue]]
    implicit_steps: list[dict[str, JsonValue]]
    skipped: dict[str, str]
    environment: dict[str, str | int]


class ExaminedPlugin(Strict):
    """A plugin, what it has, and how long its code took: all of it on top of stabzoo, torch and timm.

    Attributes:
        seconds: Of the import.
        building: Seconds in which a model of each kind was built, on the meta device.
        problems: One sentence each.
    """

    name: str
    distribution: str
    module: str
    state: Literal["ok", "broken"]
    schemes: int
    branches: int
    evaluations: int
    studies: int
    models: int
    seconds: float
    building: float
    problems: list[str]


class Examined(Strict):
    """Of ``stabzoo doctor --json``."""

    ok: bool
    environment: dict[str, str | int | None]
    plugins: list[ExaminedPlugin]
    problems: list[str]


class Predicted(Strict):
    """Of ``stabzoo predict --json``: of every image a class and probabilities, in the order of ``classes``.

    ``labels`` are the classes whose folders the images lie in, and ``confusion`` counts by label and predicted class;
    both are null where the folders are no classes.
    """

    classes: list[str]
    images: list[str]
    predicted: list[str]
    probabilities: list[list[float]]
    labels: list[str] | None
    confusion: list[list[int]] | None
