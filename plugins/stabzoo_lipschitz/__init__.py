"""1-Lipschitz networks: CPL and SLL, which are residual, and AOL and sandwich layers, which are not.

No weight is projected: each layer computes with a kernel that is scaled, or made by a Cayley transform, so that no
distance grows, whatever the weights are. What is proved of them is in `stabzoo_lipschitz.bounds`.

References:
    Meunier, Delattre, Araujo, Allauzen: A dynamical system perspective for Lipschitz neural networks.  ICML 2022.
    Araujo, Havens, Delattre, Allauzen, Hu: A unified algebraic perspective on Lipschitz neural networks.  ICLR 2023.
    Prach, Lampert: Almost-orthogonal layers for efficient general-purpose Lipschitz networks.  ECCV 2022.
    Wang, Manchester: Direct parameterization of Lipschitz-bounded deep networks.  ICML 2023.
"""

from stabzoo import hookimpl
from stabzoo_lipschitz.schemes import AOL, CPL, SLL, Sandwich

__all__ = ["AOL", "CPL", "SLL", "Sandwich"]


@hookimpl
def stabzoo_discretizations() -> list[type]:
    """The discretizations of this plugin."""
    return [CPL, SLL, AOL, Sandwich]
