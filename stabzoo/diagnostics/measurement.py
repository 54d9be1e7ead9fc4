"""A number of the diagnostics, and what kind of number it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Kind", "Measurement"]

Kind = Literal["exact", "certified_upper", "certified_lower", "converged", "heuristic"]
"""What a number says.

- ``exact``: the quantity itself, up to rounding.
- ``certified_upper``, ``certified_lower``: proved to lie above, below the quantity (rounding included).
- ``converged``: the limit of an iteration with a small residual; nothing is proved.
- ``heuristic``: an estimate or a formula that is not a bound.
"""


@dataclass(frozen=True)
class Measurement:
    """A value with its kind; ``note`` says how it was found or, for an infinite value, why."""

    value: float
    kind: Kind
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe: an infinite or undefined value is a string."""
        value = self.value if math.isfinite(self.value) else str(self.value)
        return {"value": value, "kind": self.kind, **({"note": self.note} if self.note else {})}
