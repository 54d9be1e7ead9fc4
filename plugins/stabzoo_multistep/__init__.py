"""Linear multistep networks: LM-ResNet, with a trained or a shared coefficient, and any explicit coefficients."""

from fractions import Fraction
from typing import ClassVar, Literal

from pydantic import model_validator

from stabzoo import ExplicitFamily, LearnableMultistep, LinearMultistep, Rational, StableRange, hookimpl, named_method


class LM(ExplicitFamily):
    """y_{n+1} = (1-k) y_n + k y_{n-1} + b f(y_n): the 2-step scheme with one k for all blocks, ZeroSNet eq. (8).

    Zero-stable exactly when -1 < k <= 1 (roots 1 and -k); weakly at k = 1, the leapfrog scheme.  The weight b is

    - ``beta="consistent"``: 1+k = rho'(1), which makes the scheme consistent: order 1, and 2 at k = 1;
    - ``beta="paper"``: 2k+1, as eq. (8) prints it; consistent only at k = 0;
    - ``beta="unit"``: 1, as the released LM-ResNet computes; consistent only at k = 0.

    References:
        Lu, Zhong, Li, Dong: Beyond finite layer neural networks.  ICML 2018. Chen, Jin, Shang: Zero stability well
        predicts performance of convolutional neural networks.  AAAI 2022, eqs. (8)-(9).
    """

    name = "lm"
    at_downsampling = "restart"
    k: Rational = Fraction(1, 2)
    beta: Literal["consistent", "paper", "unit"] = "consistent"

    def coefficients(self) -> LinearMultistep:
        """The coefficients alpha = (1-k, k), beta = (b)."""
        weight = {"consistent": 1 + self.k, "paper": 2 * self.k + 1, "unit": Fraction(1)}[self.beta]
        return LinearMultistep((1 - self.k, self.k), (weight,))


def released_lm(k_n):  # no annotations: TorchScript takes an argument without one for a tensor
    """The coefficients of the released LM-ResNet: alpha = (k_n, 1 - k_n), beta = (1)."""
    return [k_n, 1 - k_n], [1 + 0 * k_n]


class LMResNet(LearnableMultistep):
    """y_{n+1} = k_n y_n + (1-k_n) y_{n-1} + f(y_n): LM-ResNet as released, with a trained k_n in every block.

    k_n here is 1 - k in ZeroSNet's eq. (8).  Blocks start uniformly in [1, 11/10].  Consistent only where k_n = 1,
    because f keeps weight 1; zero-stable, were k_n the same in all blocks, exactly when 0 <= k_n < 2.

    With ``stable="blocks"`` it stays there: y_{n+1} - y_n = (k_n - 1) (y_n - y_{n-1}), so of n blocks every product of
    companion matrices has a norm of 2n + 1 at most, and of (1+r)/(1-r) at most where all k_n <= 1+r < 2.  With
    ``"products"`` 0 < k_n < 1: each state is a mean of two, and the norm is 1; blocks start in [17/20, 19/20] then.

    References:
        Lu, Zhong, Li, Dong: Beyond finite layer neural networks.  ICML 2018.
    """

    name = "lm_resnet"
    at_downsampling = "restart"
    parameter = "k_n"
    spread = Fraction(1, 20)
    formula = staticmethod(released_lm)
    stable_ranges: ClassVar = {
        "blocks": StableRange(Fraction(0), Fraction(2)),
        "products": StableRange(Fraction(0), Fraction(1), start=Fraction(9, 10)),
    }
    k_n: Rational = Fraction(21, 20)


class Multistep(ExplicitFamily):
    """y_{n+1} = sum_j alpha_j y_{n-j} + sum_j beta_j f(y_{n-j}), any coefficients; by default Adams-Bashforth 2.

    Coefficients are given as ``alpha`` and ``beta``, or by the name of an explicit method: ``family="ssp(4, 3)"``,
    ``adams_bashforth(k)``, ``nystrom(k)`` (see `stabzoo.named_method`).

    References:
        Hairer, Norsett, Wanner: Solving ordinary differential equations I, section III.1.
    """

    name = "multistep"
    alpha: tuple[Rational, ...] = (Fraction(1), Fraction(0))
    beta: tuple[Rational, ...] = (Fraction(3, 2), Fraction(-1, 2))
    family: str | None = None

    def coefficients(self) -> LinearMultistep:
        """The given coefficients, or those of the named method."""
        if self.family is not None:
            return named_method(self.family)
        return LinearMultistep(self.alpha, self.beta)

    @model_validator(mode="after")
    def _coefficients_are_a_method(self) -> "Multistep":
        if len(self.model_fields_set & {"alpha", "beta"}) == 1:
            raise ValueError(
                "alpha and beta are given together, e.g. alpha=['1','0'], beta=['3/2','-1/2']: one without the other "
                "would be mixed with a default that belongs to another method"
            )
        if self.family is not None and self.model_fields_set & {"alpha", "beta"}:
            raise ValueError("give family, or alpha and beta, not both")
        if not self.coefficients().is_explicit:
            raise ValueError(f"expected an explicit method, got {self.family}, which needs f(y_{{n+1}})")
        return self


@hookimpl
def stabzoo_discretizations() -> list[type]:
    """The discretizations of this plugin."""
    return [LM, LMResNet, Multistep]
