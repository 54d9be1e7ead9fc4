"""Documents about schemes and models: of ``list``, ``show``, ``analyze``, ``check`` and ``oscillator``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, JsonValue

from stabzoo.cli.documents.values import Exact, Flag, Owned, Real
from stabzoo.config import Strict

__all__ = ["Analyzed", "Checked", "Listed", "OnOscillator", "Shown"]


class Proved(Owned):
    """What is proved of a scheme, or of a model's; all is null where its plugin is broken."""

    kind: str | None
    steps: int | None
    order: int | Literal["not decided", "infinity"] | None
    status: str
    is_consistent: Flag
    is_A_stable: Flag
    is_L_stable: Flag
    parasitic_radius: Real
    error: str | None
    family: str | None
    certified: dict[str, Any]


class ListedClaim(Strict):
    """What a registry says of a scheme."""

    order: int | str | None
    stability: str | None
    condition: str | None


class ListedScheme(Proved):
    """A scheme."""

    learnable: bool
    error_constant: Real
    stability_function: str | None
    claim: ListedClaim
    false_claims: list[str]


class ListedModel(Proved):
    """A model."""

    scheme: str
    depth: int
    form: str
    block: str
    width: int | None
    parameters: dict[str, JsonValue]
    options: dict[str, JsonValue]


class ListedBranch(Owned):
    """A residual branch."""

    summary: str | None
    reference: str | None


class ListedOther(Owned):
    """An evaluation or a study of a plugin; ``error`` says why its code could not be asked."""

    about: str | None
    error: str | None


class Listed(Strict):
    """Of ``stabzoo list --json``."""

    version: str
    schemes: list[ListedScheme]
    models: list[ListedModel]
    branches: list[ListedBranch]
    evaluations: list[ListedOther]
    studies: list[ListedOther]
    problems: list[str]


class Certified(Strict):
    """The certificate of zero stability, or of its violation (`stabzoo.verify_certificate`)."""

    ending: str
    is_zero_stable: bool
    reflection: list[Exact]
    derivative: list[Exact]
    witness: list[Exact]


class CertifiedTwice(Strict):
    """The certificate of a method for y'' = f: of the distinct roots, and of those that are repeated."""

    distinct: Certified
    repeated: Certified


class RootOf(Strict):
    """A root of rho: a disc that holds it, and where it lies."""

    real: float
    imag: float
    radius: float | Literal["infinity"]
    multiplicity: int
    position: str
    modulus: Real
    factor: str


class WaveErrorOf(Strict):
    """Order and constant of dissipation or dispersion."""

    order: int | Literal["infinity"]
    constant: Exact


class Point(Strict):
    """A complex number."""

    real: float
    imag: float


class GrowthParameterOf(Strict):
    """The growth parameter of a root on the circle."""

    root: Point
    real: Real
    imag: Real


class Card(Strict):
    """All that is proved of a method (`stabzoo.card`)."""

    kind: str
    formula: str
    alpha: list[Exact]
    beta: list[Exact]
    beta_next: Exact
    steps: int
    is_explicit: bool
    status: str
    reason: str
    is_zero_stable: Flag
    is_preconsistent: Flag
    is_consistent: Flag
    is_convergent: Flag
    is_A_stable: Flag
    is_L_stable: Flag
    stability_function: str | None
    order: int | str | None
    error_constant: Real
    roots: list[RootOf]
    parasitic_radius: Real
    real_interval: Real
    imaginary_interval: Real
    stability_constant: Real
    ssp_coefficient: Real
    sector_angle: Real
    stiff_abscissa: Real
    energy_matrix: list[list[Exact]] | Literal["not decided"] | None
    is_contractive: Flag
    is_symmetric: Flag
    is_symplectic: Flag
    dissipation: WaveErrorOf | Literal["not decided"] | None
    dispersion: WaveErrorOf | Literal["not decided"] | None
    growth_parameters: list[GrowthParameterOf] | Literal["not decided"] | None
    certificate: Certified | CertifiedTwice | None


class PathDepthOf(Strict):
    """Blocks that take part, how many deep they are composed, and the product of both."""

    participation: Real
    composition_depth: Real
    effective_depth: Real


class EffectiveDepthOf(Strict):
    """Of the model's own blocks, or of the scheme's in a network of 27 (three stages): see `EffectiveDepth`."""

    blocks: int
    forward: PathDepthOf
    backward: PathDepthOf


class Analyzed(Strict):
    """Of ``stabzoo analyze --json``."""

    formula: str
    card: Card
    certificate_verified: bool | None
    effective_depth: EffectiveDepthOf | Literal["not decided"]


class Condition(Strict):
    """A condition that is claimed, and the exact set on which it is so; ``proved`` is null where it was sampled."""

    property: str
    claimed: str
    proved: str | None
    how: str
    values: int
    values_refused: int


class ShownModel(Strict):
    """The model, and the growth along its depth."""

    plugin: str
    scheme: str
    depth: int
    form: str
    stages: list[int] | None
    block: str
    width: int | None
    parameters: dict[str, JsonValue]
    options: dict[str, JsonValue]
    training: dict[str, JsonValue]
    growth: Exact | None
    growth_curve: list[float | None] | None


class ShownClaim(ListedClaim):
    """All that a registry says of a scheme."""

    a_stable: str | bool | None
    l_stable: str | bool | None
    symplectic: str | bool | None
    symmetric: str | bool | None
    family: str
    reference: str | None
    certified: dict[str, JsonValue]
    corrections: list[str]


class Shown(Analyzed):
    """Of ``stabzoo show --json``."""

    name: str
    kind: Literal["scheme", "model"]
    plugin: str
    distribution: str
    scheme: str
    parameters: dict[str, JsonValue]
    trained_parameter: str | None
    model: ShownModel | None
    claim: ShownClaim
    conditions: list[Condition]


class CheckedScheme(Owned):
    """What was checked of a scheme."""

    checks: int
    conditions: list[Condition]
    stable_ranges: dict[str, str] = Field(default_factory=dict)
    false_claims: list[str]
    error: str | None


class Checked(Strict):
    """Of ``stabzoo check --json``."""

    ok: bool
    checks: int
    models: int
    evaluations: list[str]
    studies: list[str]
    schemes: list[CheckedScheme]
    problems: list[str]


class OnOscillator(Strict):
    """A scheme at a step size: an entry of the list of ``stabzoo oscillator --json``."""

    scheme: str
    h: Exact
    omega: Exact
    spectral_radius: Real
    is_stable: bool
    determinant: Exact
