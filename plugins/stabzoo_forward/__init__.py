"""Forward-stable residual networks: ResNet-D and ResNet-S, a form of ResNet-S whose certificate is true, and ResNet.

A block is a step of forward-backward splitting for the differential inclusion -y' - F(t, y) in the subdifferential of
the indicator function of y >= 0: an explicit Euler step, then the projection onto y >= 0, which is relu. All four
schemes therefore have the coefficients of the explicit Euler method.

Source: Zhang and Schaeffer, Forward stability of ResNet and its variants. J. Math. Imaging Vis. 62, 2020.
"""

from stabzoo import hookimpl
from stabzoo_forward.schemes import PostResNet, ResNetD, ResNetS, ResNetSCert

__all__ = ["PostResNet", "ResNetD", "ResNetS", "ResNetSCert"]


@hookimpl
def stabzoo_discretizations() -> list[type]:
    """The discretizations of this plugin."""
    return [ResNetD, ResNetS, ResNetSCert, PostResNet]
