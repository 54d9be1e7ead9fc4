"""``stabzoo oscillator``: schemes beside each other on the harmonic oscillator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stabzoo.cli.console import full, output, print_json, table
from stabzoo.errors import ConfigError
from stabzoo.methods.multistep import exact
from stabzoo.stability.enclosure import real_to_json
from stabzoo.stability.oscillator import SCHEMES
from stabzoo.stability.root_condition import rational_text

__all__ = ["compare_on_oscillator"]


def compare_on_oscillator(omega: str, steps: Sequence[str], *, as_json: bool, plot: Path | None) -> None:
    """Print the spectral radius of every scheme at every step size, and draw its phase diagrams if ``plot`` is given.

    Raises:
        ConfigError: a number is not one or not positive, or the plot cannot be written.

    """
    try:
        frequency, sizes = exact(omega), [exact(step) for step in steps]
    except ValueError as error:
        raise ConfigError(f"oscillator: {error}") from None
    if not (frequency > 0 and sizes and min(sizes) > 0):
        raise ConfigError(f"oscillator: expected step sizes > 0 and omega > 0, got {', '.join(steps)} and {omega}")
    if plot is not None:
        from stabzoo.plotting.oscillator import oscillator_figure  # imports matplotlib
        from stabzoo.plotting.style import write_figure

        write_figure(lambda: oscillator_figure(frequency, sizes), plot)
    rows = [(name, h, propagator(h, frequency)) for name, propagator in SCHEMES.items() for h in sizes]
    if as_json:
        print_json(
            [
                {
                    "scheme": name,
                    "h": rational_text(h),
                    "omega": rational_text(frequency),
                    "spectral_radius": real_to_json(one_step.spectral_radius),
                    "is_stable": one_step.is_stable,
                    "determinant": rational_text(one_step.determinant),
                }
                for name, h, one_step in rows
            ]
        )
        return
    columns = {
        "scheme": [name for name, _, _ in rows],
        "h": [rational_text(h) for _, h, _ in rows],
        "h omega": [rational_text(h * frequency) for _, h, _ in rows],
        "spectral radius": [full(one_step.spectral_radius) for _, _, one_step in rows],
        "powers": ["bounded" if one_step.is_stable else "grows" for _, _, one_step in rows],
    }
    table(output(), columns)
