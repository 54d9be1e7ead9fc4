"""How large a bounded amplification is: norms of powers and of products of companion matrices."""

from stabzoo.stability.growth.powers import growth, stability_constant
from stabzoo.stability.growth.products import ProductGrowth, growth_curve, product_growth

__all__ = ["ProductGrowth", "growth", "growth_curve", "product_growth", "stability_constant"]
