"""What one block computes, by kind: multistep, Runge-Kutta, general linear, partitioned and more, or a step of its own.

`coefficients()` of a scheme is the linear multistep method at its heart: rho, and so zero stability, and what a network
needs to know.  What its block computes may be another method with the same rho: `method_of` says which.  Everything
here is exact; importing it needs neither numpy nor FLINT.
"""

from __future__ import annotations

from stabzoo.methods.general_linear import GeneralLinear
from stabzoo.methods.method import Linear, Method
from stabzoo.methods.multistep import NOT_DECIDED, LinearMultistep, NotDecided
from stabzoo.methods.one_leg import OneLeg
from stabzoo.methods.own_step import OwnNetwork, OwnStep, method_of
from stabzoo.methods.partitioned import PartitionedRungeKutta
from stabzoo.methods.runge_kutta import RungeKutta
from stabzoo.methods.second_order import SecondOrderMultistep
from stabzoo.methods.splitting import Splitting
from stabzoo.methods.stability_function import OscillatorMatrix, OscillatorPolynomial, StabilityFunction
from stabzoo.methods.truncated import TruncatedSolve

__all__ = [
    "NOT_DECIDED",
    "GeneralLinear",
    "Linear",
    "LinearMultistep",
    "Method",
    "NotDecided",
    "OneLeg",
    "OscillatorMatrix",
    "OscillatorPolynomial",
    "OwnNetwork",
    "OwnStep",
    "PartitionedRungeKutta",
    "RungeKutta",
    "SecondOrderMultistep",
    "Splitting",
    "StabilityFunction",
    "TruncatedSolve",
    "method_of",
]
