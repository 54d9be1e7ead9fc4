"""ZeroSNet: 3-step schemes of order 2 with one evaluation of f a step, a family in one parameter lambda.

Reference: Chen, Jin, Shang: Zero stability well predicts performance of convolutional neural networks.  AAAI 2022.
"""

from fractions import Fraction
from typing import ClassVar

from pydantic import field_validator, model_validator

from stabzoo import (
    ExplicitFamily,
    ExplicitMultistep,
    LearnableMultistep,
    LinearMultistep,
    Rational,
    StableRange,
    hookimpl,
)


def square_pattern(lam):  # no annotations: TorchScript takes an argument without one for a tensor
    """Coefficients of eq. (10): alpha = (3(1+l)/4l, -1/l, (1+l)/4l), beta = ((3l-1)/2l); l a number or a tensor."""
    return [3 * (1 + lam) / (4 * lam), -1 / lam, (1 + lam) / (4 * lam)], [(3 * lam - 1) / (2 * lam)]


def reciprocal_pattern(mu):  # no annotations, too
    """Coefficients of eq. (10) by mu = 1/l: alpha = (3(1+mu)/4, -mu, (1+mu)/4), beta = ((3-mu)/2); at 0 SSP(3,2)."""
    return [3 * (1 + mu) / 4, -mu, (1 + mu) / 4], [(3 - mu) / 2]


def _reciprocal(lam):
    return 1 / lam


def _nonzero(lam: Fraction) -> Fraction:
    if lam == 0:
        raise ValueError("must not be 0: the coefficients of eq. (10) divide by it")
    return lam


class ZeroSNet(ExplicitFamily):
    """The family of eq. (10) with a fixed lambda (``lam``), or given ``alpha`` and ``beta`` as in Table 10.

    Three steps, order 2 (3 at lam = -1/3, which is unstable).  Zero-stable exactly when lam <= -1 or lam > 1/3; weakly
    at -1, the leapfrog scheme.  "Optimal" depends on the objective: -9/5 has the smallest parasitic radius (1/3), 3
    the longest real stability interval (2), and lam -> infinity is the strong-stability-preserving SSP(3,2) method.
    """

    name = "zerosnet"
    lam: Rational = Fraction(-9, 5)
    alpha: tuple[Rational, ...] | None = None
    beta: tuple[Rational, ...] | None = None

    _check_lam = field_validator("lam")(_nonzero)

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> "ZeroSNet":
        if (self.alpha is None) != (self.beta is None):
            raise ValueError(
                "alpha and beta are given together, e.g. alpha=['1','1','1'], beta=['1']; or give lam alone"
            )
        if self.alpha is not None:
            if "lam" in self.model_fields_set:
                raise ValueError("give lam, or alpha and beta, not both")
            if len(self.alpha) != 3:
                raise ValueError(
                    f"alpha: a ZeroSNet looks back 3 steps, expected 3 numbers, got {len(self.alpha)}; "
                    "the scheme 'multistep' takes any number of them"
                )
            self.coefficients()
        return self

    def coefficients(self) -> LinearMultistep:
        """The given coefficients, or those of eq. (10)."""
        if self.alpha is not None and self.beta is not None:
            return LinearMultistep(self.alpha, self.beta)
        return LinearMultistep(*square_pattern(self.lam))


class ZeroSNetOpt(ExplicitMultistep):
    """ZeroSNet-Opt (Theorem 3): lam = -9/5, roots 1, -1/3, -1/3.

    The smallest parasitic radius of all 3-step schemes of order 2 with one evaluation of f a step.
    """

    name = "zerosnet_opt"
    alpha = ("1/3", "5/9", "1/9")
    beta = ("16/9",)


class ZeroSNetTra(LearnableMultistep):
    """ZeroSNet-Tra: eq. (10) with a trained lambda in every block, 1 at the start.

    By mu = 1/lambda the coefficients are linear, and zero-stable exactly when -1 <= mu < 3: with ``stable="blocks"`` mu
    is trained and stays there, each block zero-stable by itself.  Products of blocks with different mu may grow
    nevertheless: with mu near to 3 and to -1 in turn, three times with every pair.  With ``"products"`` -1 < mu < 0,
    that is lambda < -1: each state is a mean of three, and no product exceeds 1; blocks start at lambda = -9/5 then.
    """

    name = "zerosnet_tra"
    parameter = "lam"
    formula = staticmethod(square_pattern)
    stable_ranges: ClassVar = {
        "blocks": StableRange(Fraction(-1), Fraction(3), _reciprocal, reciprocal_pattern, "1/lam"),
        "products": StableRange(
            Fraction(-1), Fraction(0), _reciprocal, reciprocal_pattern, "1/lam", start=Fraction(-9, 5)
        ),
    }
    lam: Rational = Fraction(1)

    _check_lam = field_validator("lam")(_nonzero)


@hookimpl
def stabzoo_discretizations() -> list[type]:
    """The discretizations of this plugin."""
    return [ZeroSNet, ZeroSNetOpt, ZeroSNetTra]
