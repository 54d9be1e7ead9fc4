"""What a scheme may be designed for: each objective is read off the stability card, exactly, and has a fast estimate.

A new objective is a function of rho and sigma, highest power first, in floats, and what it estimates::

    @objective("symmetry_defect", "least", lambda card, problem: card.method.alpha[0])
    def _symmetry_defect(rho, sigma, problem):
        return -rho[1]

The search follows the estimate; what is compared, bounded and returned is the exact number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, Protocol, TypeAlias

from stabzoo.errors import quoted
from stabzoo.methods.multistep import NOT_DECIDED, NotDecided
from stabzoo.stability import StabilityCard
from stabzoo.stability.enclosure import Enclosure, Real
from stabzoo.stability.properties.effective_depth import effective_depth, network_methods

__all__ = ["OBJECTIVES", "Asked", "Estimate", "Exactly", "Objective", "find", "objective", "parasitic_radius"]


class Asked(Protocol):
    """What an objective may look at of a problem."""

    @property
    def order(self) -> int:
        """The order that is asked for."""
        ...

    @property
    def depth(self) -> int | None:
        """How many blocks."""
        ...


Estimate: TypeAlias = Callable[[Any, Any, Asked], float]
"""Of rho and sigma as arrays, and the problem (its order, its depth)."""

Exactly: TypeAlias = Callable[[StabilityCard, Asked], Real | NotDecided | None]
"""Of the card and the problem."""

_INSIDE = 1 + 1e-9  # moduli of roots that satisfy the root condition, as far as floats tell


@dataclass(frozen=True)
class Objective:
    """A number of a scheme.

    Attributes:
        name: As the card has it.
        best: The ``"least"`` or the ``"most"``.
        exactly: The number, exact or enclosed; None where there is none.
        estimate: The same in floats, fast; where there is none, something that improves towards it.
        ideal: What no scheme is better than, whatever it is: 0 of a modulus, 90 degrees of a sector.
    """

    name: str
    best: Literal["least", "most"]
    exactly: Exactly
    estimate: Estimate
    ideal: int | None = None

    @property
    def sign(self) -> int:
        """By which values are multiplied to be minimised."""
        return 1 if self.best == "least" else -1

    def cost(self, card: StabilityCard, problem: Asked) -> float:
        """What is minimised, as a float; infinite where there is no number."""
        value = self.exactly(card, problem)
        return math.inf if value is None or value is NOT_DECIDED else self.sign * float(value)

    def meets(self, value: Real | NotDecided | None, bound: Any) -> bool:
        """Whether a value is proved to be no worse than a bound."""
        if value is None or value is NOT_DECIDED:
            return False
        if self.best == "least":
            return (value.upper if isinstance(value, Enclosure) else value) <= bound
        return (value.lower if isinstance(value, Enclosure) else value) >= bound


OBJECTIVES: dict[str, Objective] = {}
"""By name."""


def objective(
    name: str, best: Literal["least", "most"], exactly: Exactly, ideal: int | None = None
) -> Callable[[Estimate], Estimate]:
    """Register an objective by its estimate."""

    def registered(estimate: Estimate) -> Estimate:
        OBJECTIVES[name] = Objective(name, best, exactly, estimate, ideal)
        return estimate

    return registered


def find(name: str) -> Objective:
    """The objective of this name.

    Raises:
        ValueError: there is none.
    """
    if name not in OBJECTIVES:
        raise ValueError(f"expected an objective, one of {', '.join(sorted(OBJECTIVES))}; got {quoted(name)}")
    return OBJECTIVES[name]


@objective("parasitic_radius", "least", lambda card, problem: card.parasitic_radius, 0)
def parasitic_radius(rho: Any, sigma: Any, problem: Asked) -> float:
    """The largest modulus of the roots but 1, of a rho with rho(1) = 0."""
    import numpy as np

    others = np.roots(np.cumsum(rho)[:-1])
    return float(np.abs(others).max()) if len(others) else 0.0


@objective("error_constant", "least", lambda card, problem: _error(card, problem), 0)
def _error_constant(rho: Any, sigma: Any, problem: Asked) -> float:
    import numpy as np

    q, times = problem.order + 1, np.arange(len(rho))[::-1] - len(rho) + 2.0  # 1 at n+1, 0 at n
    total, scale = np.dot(rho, times**q) - q * np.dot(sigma, times ** (q - 1)), abs(sigma.sum())
    return float(abs(total) / math.factorial(q) / scale) if scale > 1e-12 else math.inf


def _error(card: StabilityCard, problem: Asked) -> Fraction | NotDecided | None:
    """|C_{p+1} / sigma(1)|, p the order that is asked for: 0 of a scheme of a higher one."""
    if isinstance(card.order, int) and card.order > problem.order:
        return Fraction(0)
    return abs(card.error_constant) if isinstance(card.error_constant, Fraction) else None


@objective("real_interval", "most", lambda card, problem: card.real_interval)
def _real_interval(rho: Any, sigma: Any, problem: Asked) -> float:
    import numpy as np

    real, sine, norm = _locus(rho, sigma)
    x = np.concatenate([_real_roots(sine), [-1.0]])
    return _reach(rho, sigma, -_ratio(real, norm, x), -1.0)


@objective("imaginary_interval", "most", lambda card, problem: card.imaginary_interval)
def _imaginary_interval(rho: Any, sigma: Any, problem: Asked) -> float:
    import numpy as np

    real, sine, norm = _locus(rho, sigma)
    is_imaginary = np.abs(real).max() < 1e-12  # then it can only turn back
    x = _real_roots(_stationary(sine, norm) if is_imaginary else real)
    length = _reach(rho, sigma, np.abs(_ratio(sine, norm, x)) * np.sqrt(np.maximum(0, 1 - x * x)), 1j)
    if length >= 0.05:  # near 0 growth is too small to be told from none
        return length
    return 1 - float(np.abs(np.roots(rho - 0.2j * sigma)).max())


@objective("ssp_coefficient", "most", lambda card, problem: card.ssp_coefficient)
def _ssp_coefficient(rho: Any, sigma: Any, problem: Asked) -> float:
    import numpy as np

    alpha = np.append(-rho[1:], np.inf)
    beta = np.append(sigma[1:], sigma[0])
    worst = min(alpha.min(), beta.min())
    if worst < -1e-12:
        return float(worst)
    used = beta > 1e-12
    return float((alpha[used] / beta[used]).min()) if used.any() else math.inf


@objective("stability_constant", "least", lambda card, problem: card.stability_constant, 1)
def _stability_constant(rho: Any, sigma: Any, problem: Asked) -> float:
    return _growth(rho, 400)


@objective("growth", "least", lambda card, problem: card.growth(problem.depth or 1), 1)
def _growth_over_depth(rho: Any, sigma: Any, problem: Asked) -> float:
    return _growth(rho, problem.depth or 1)


@objective("effective_depth", "most", lambda card, problem: _effective_depth(card, problem))
def _effective_depth_in_floats(rho: Any, sigma: Any, problem: Asked) -> float:
    """P D of `stabzoo.stability.properties.effective_depth`, of a network of ``problem.depth`` blocks."""
    import numpy as np

    alpha, beta, blocks = -rho[1:], sigma[1:], problem.depth or 1
    weights = np.zeros((blocks + 1, blocks))  # of the states, oldest first, in the branches
    depths = np.zeros(blocks + 1)
    shares = np.zeros(blocks)
    for n in range(blocks):
        if n < len(alpha) - 1:  # an Euler start
            weights[n + 1] = weights[n]
            weights[n + 1, n] += 1
        else:
            past = slice(n, n - len(alpha) if n >= len(alpha) else None, -1)
            weights[n + 1] = alpha @ weights[past]
            weights[n + 1, past] += beta
        shares = weights[n + 1] ** 2
        if not 0 < shares.sum() < 1e150:  # whose square is a float
            return 0.0
        depths[n + 1] = shares @ (1 + depths[:-1]) / shares.sum()
    return float(shares.sum() ** 2 / (shares**2).sum() * depths[-1])


def _effective_depth(card: StabilityCard, problem: Asked) -> Real | NotDecided:
    found = effective_depth(network_methods(card.method, (problem.depth or 1,)))
    return NOT_DECIDED if isinstance(found, NotDecided) else found.forward.product


@objective("sector_angle", "most", lambda card, problem: card.sector_angle, 90)
def _sector_angle(rho: Any, sigma: Any, problem: Asked) -> float:
    import numpy as np
    from numpy.polynomial import chebyshev

    length = _real_interval(rho, sigma, problem)
    if math.isfinite(length):
        return -90 / (1 + length)
    real, sine, _ = _locus(rho, sigma)
    x = _real_roots(_stationary(sine, real))
    n, u = chebyshev.chebval(x, real), chebyshev.chebval(x, sine)
    left = n < -1e-9
    height = np.abs(u[left]) * np.sqrt(np.maximum(0, 1 - x[left] ** 2))
    return float(np.degrees(np.arctan2(height, -n[left]).min())) if left.any() else 90.0


def _stationary(sine: Any, other: Any) -> Any:
    """Where sin(theta) U / other is stationary, as a series in x = cos(theta)."""
    import numpy as np
    from numpy.polynomial import chebyshev

    square = np.array([0.5, 0, -0.5])  # 1 - x^2
    slope = chebyshev.chebsub(chebyshev.chebmul(square, chebyshev.chebder(sine)), chebyshev.chebmulx(sine))
    turned = chebyshev.chebmul(chebyshev.chebmul(square, sine), chebyshev.chebder(other))
    return chebyshev.chebsub(chebyshev.chebmul(slope, other), turned)


def _growth(rho: Any, count: int) -> float:
    """The largest sum of moduli of a first row of C^n, n up to ``count``."""
    import numpy as np

    alpha = -rho[1:]
    row, most = np.eye(len(alpha))[0], 1.0
    for _ in range(count):
        row = row[0] * alpha + np.append(row[1:], 0)
        size = float(np.abs(row).sum())
        if size > 1e6:
            return size
        most = max(most, size)
    return most


def _locus(rho: Any, sigma: Any) -> tuple[Any, Any, Any]:
    """N, U and D of `stabzoo.stability.locus` as Chebyshev series."""
    import numpy as np
    from numpy.polynomial import chebyshev

    d = len(rho) - 1
    both, norm = np.correlate(rho, sigma, "full"), np.correlate(sigma, sigma, "full")
    ahead, behind = both[d::-1], both[d:]  # of e^{i m theta} and e^{-i m theta}, m = 0 .. d
    real, sine = ahead + behind, ahead - behind
    real[0] /= 2
    scaled = np.append(0.0, sine[1:] / np.arange(1, d + 1))
    norm = np.append(norm[d], 2 * norm[d + 1 :])
    return real, chebyshev.chebder(scaled), norm


def _ratio(above: Any, below: Any, x: Any) -> Any:
    import numpy as np
    from numpy.polynomial import chebyshev

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(chebyshev.chebval(x, above) / chebyshev.chebval(x, below), nan=0, posinf=1e9, neginf=-1e9)


def _real_roots(series: Any) -> Any:
    """The roots in [-1, 1], with the ends."""
    import numpy as np
    from numpy.polynomial import chebyshev

    largest = np.abs(series).max()
    trimmed = chebyshev.chebtrim(series, 1e-13 * largest) if largest else series[:1]
    roots = chebyshev.chebroots(trimmed)
    return np.clip(np.append(roots.real[(np.abs(roots.imag) < 1e-6) & (np.abs(roots.real) < 1 + 1e-9)], [-1, 1]), -1, 1)


def _reach(rho: Any, sigma: Any, critical: Any, direction: complex) -> float:
    """The largest t before which rho - t direction sigma has its roots in the disc; that changes at ``critical``."""
    import numpy as np

    marks = [0.0, *sorted(t for t in critical if t > 1e-7)]
    for low, high in zip(marks, [*marks[1:], 2 * marks[-1] + 4], strict=True):
        if high - low > 1e-9 and np.abs(np.roots(rho - (low + high) / 2 * direction * sigma)).max() > _INSIDE:
            return float(low)
    return math.inf
