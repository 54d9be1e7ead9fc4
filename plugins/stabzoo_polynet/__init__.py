"""PolyNet: blocks that are polynomials in residual branches.

References:
    Zhang, Li, Loy, Lin: PolyNet: a pursuit of structural diversity in very deep networks.  CVPR 2017, section 4. Lu,
    Zhong, Li, Dong: Beyond finite layer neural networks.  ICML 2018, section 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stabzoo import ImplicitMultistep, LinearMultistep, Method, TruncatedSolve, hookimpl
from stabzoo.methods.multistep import BACKWARD_EULER, EULER
from stabzoo.schemes import ExplicitFamily

if TYPE_CHECKING:
    from torch import nn

    from stabzoo import Place
