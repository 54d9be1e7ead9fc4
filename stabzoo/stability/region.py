"""Pictures of the absolute stability region in floating point: for plots, not for verdicts (see `intervals`)."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from stabzoo.methods import StabilityFunction
from stabzoo.methods.multistep import LinearMultistep

Span: TypeAlias = tuple[float, float]


def boundary_locus(method: LinearMultistep | StabilityFunction, n: int = 721) -> NDArray[np.complex128]:
    """Return the n points z(theta) = rho(e^{i theta}) / sigma(e^{i theta}), theta from 0 to 2 pi, both ends included.

    The boundary of the stability region is part of this curve. Points where sigma vanishes are nan: plots leave a gap.
    Given R, the points are all z with R(z) = e^{i theta}, those of one theta after those of another.

    Source: Hairer, Wanner, Solving ODEs II, V.1, root locus curve.
    """
    _check_points(n)
    zeta = np.exp(2j * np.pi * np.arange(n) / (n - 1))
    if isinstance(method, StabilityFunction):
        p, q = (np.polynomial.Polynomial([float(c) for c in cs]) for cs in (method.numerator, method.denominator))
        return np.concatenate([(p - value * q).trim().roots().astype(np.complex128) for value in zeta])
    rho, sigma = (np.polyval(np.array([float(c) for c in p]), zeta) for p in (method.rho, method.sigma))
    vanishes = np.abs(sigma) <= 1e-14 * sum(abs(float(c)) for c in method.sigma)
    return np.where(vanishes, complex(np.nan, np.nan), rho / np.where(vanishes, 1.0, sigma))


def stability_region(
    method: LinearMultistep | StabilityFunction, xlim: Span, ylim: Span, n: int = 200
) -> NDArray[np.bool_]:
    """Return an (n, n) raster of the interior of the stability region: [i, j] is z = x_j + i y_i, both axes ascending.

    True where all roots of rho - z sigma have modulus < 1, by the Schur-Cohn recursion in complex float64; a point
    within rounding of the boundary may go either way. The boundary itself, where a root is on the circle, is outside.
    Given R it is true where |R(z)| < 1.
    """
    _check_points(n)
    x, y = np.linspace(*xlim, n), np.linspace(*ylim, n)
    z = (x + 1j * y[:, None]).ravel()
    if isinstance(method, StabilityFunction):
        p, q = (np.polyval([float(c) for c in reversed(cs)], z) for cs in (method.numerator, method.denominator))
        return (np.abs(p) < np.abs(q)).reshape(n, n)
    with np.errstate(all="ignore"):  # a vanishing leading coefficient gives inf or nan, which compare as not inside
        lead = float(method.rho[0]) - z * float(method.sigma[0])
        phi = [(float(r) - float(s) * z) / lead for r, s in zip(method.rho[:0:-1], method.sigma[:0:-1], strict=True)]
        inside = np.ones(z.shape, dtype=bool)
        while phi:  # phi = z^m + phi[m-1] z^{m-1} + ... + phi[0], monic
            k = phi[0]
            square = k.real**2 + k.imag**2
            inside &= square < 1
            scale = 1 / (1 - square)
            phi = [(a - k * b.conj()) * scale for a, b in zip(phi[1:], phi[:0:-1], strict=True)]
    return inside.reshape(n, n)


def _check_points(n: int) -> None:
    if n < 2:
        raise ValueError(f"expected at least 2 points, got n = {n}")
