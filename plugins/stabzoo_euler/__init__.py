"""The explicit Euler method: the pre-activation ResNet."""

from fractions import Fraction

from stabzoo import ExplicitFamily, LinearMultistep, Rational, hookimpl


class Euler(ExplicitFamily):
    """y_{n+1} = weight * y_n + f(y_n): PreResNet, with a weight on the state as in ZeroSNet eq. (7).

    One step; order 1 at weight 1, elsewhere not consistent.  Zero-stable exactly when -1 <= weight <= 1.  Where the
    feature maps change shape the state goes through BN-ReLU-conv1x1.

    References:
        He, Zhang, Ren, Sun: Identity mappings in deep residual networks.  ECCV 2016. Chen, Jin, Shang: Zero stability
        well predicts performance of convolutional neural networks.  AAAI 2022, eq. (7).
    """

    name = "euler"
    at_downsampling = "restart"
    weight: Rational = Fraction(1)

    def coefficients(self) -> LinearMultistep:
        """The coefficients alpha = (weight), beta = (1)."""
        return LinearMultistep((self.weight,), (1,))


@hookimpl
def stabzoo_discretizations() -> list[type]:
    """The discretizations of this plugin."""
    return [Euler]
