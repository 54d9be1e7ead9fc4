"""A bound on all powers of a companion matrix from the moduli of its roots alone.

The entries of the first row of C^n are, up to sign, Schur functions of hook shapes at the roots x_1, ..., x_d:

    (r_n)_c = (-1)^c s_(n, 1^c)(x),      s_(n, 1^c) = sum of monomials with coefficients >= 0,   c = 0..d-1,

so |r_n|_1 is at most what it is for the moduli |x_i|, and it is that if all x_i >= 0, or all x_i <= 0. If x_1 = 1, it
rises with n, because a 1 put before the row of a tableau makes one of the next shape and of equal weight, to the
limit prod over i > 1 of (1 + x_i) / (1 - x_i). It is an upper bound wherever the moduli beside the largest are below 1.

Source: I. G. Macdonald, Symmetric Functions and Hall Polynomials, I.3 (hook shapes: example 9).
"""

from __future__ import annotations

from fractions import Fraction
from math import prod

from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability.enclosure import Enclosure
from stabzoo.stability.root_condition import integer_rho
from stabzoo.stability.roots import roots


def hook_bound(method: LinearMultistep) -> Fraction | Enclosure | None:
    """Return sup_n ||C^n||_inf if one root is 1 and none negative, or -1 and none positive, else an upper bound on it.

    The bound is an enclosure from 1. None if two roots of a zero-stable rho are on the unit circle.
    """
    found = roots(method.rho)  # largest modulus first
    moduli = [r.modulus for r in found for _ in range(r.multiplicity)]
    if len(moduli) > 1 and moduli[1] == 1:
        return None
    if all(r.is_real for r in found):
        rho = integer_rho(method.alpha)
        turned = [c * (-1) ** (method.steps - j) for j, c in enumerate(rho)]  # +-rho(-z)
        for phi, mirrored in ((rho, turned), (turned, rho)):
            if sum(phi) == 0 and min(mirrored) >= 0:  # all roots of phi are >= 0 (Descartes), and one is 1
                # of phi = (z - 1) q the limit is |q(-1) / q(1)|, and q(1) = phi'(1)
                return Fraction(sum(mirrored), 2 * sum(j * c for j, c in enumerate(phi)))
    above = [m.upper if isinstance(m, Enclosure) else m for m in moduli[1:]]
    return Enclosure(Fraction(1), prod(((1 + m) / (1 - m) for m in above), start=Fraction(1)))
