"""PolyNet: blocks that are polynomials in residual branches.

poly-2 is a scheme, for it applies f to f(y); mpoly-2 and 2-way are Euler steps, y_{n+1} = y_n + p(y_n), around branches
p = f + g(f) and p = f + g of two parts.

References:
    Zhang, Li, Loy, Lin: PolyNet: a pursuit of structural diversity in very deep networks.  CVPR 2017, section 4. Lu,
    Zhong, Li, Dong: Beyond finite layer neural networks.  ICML 2018, section 2.
"""

from stabzoo import hookimpl
from stabzoo_polynet.kinds import MPoly2, TwoWay
from stabzoo_polynet.poly2 import Poly2


@hookimpl
def stabzoo_discretizations() -> list[type]:
    """The discretizations of this plugin."""
    return [Poly2]


@hookimpl
def stabzoo_branches() -> list[type]:
    """The kinds of branches of this plugin."""
    return [MPoly2, TwoWay]
