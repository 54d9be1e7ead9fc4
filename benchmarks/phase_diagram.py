"""Draw the error of networks over their depth and the parasitic root of their schemes.

    stabzoo study phase-diagram && stabzoo study report phase-diagram --keep docs/results/phase-diagram
    python benchmarks/phase_diagram.py

Reads docs/results/phase-diagram/results.csv, and writes docs/phase-diagram.png.  Nothing is trained.
"""

import csv
import statistics
from pathlib import Path

from stabzoo.plotting.style import new_figure, write_figure

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results" / "phase-diagram" / "results.csv"


def errors() -> dict[tuple[str, str], float]:
    """The mean error in percent, by depth and root as the labels have them."""
    found: dict[tuple[str, str], list[float]] = {}
    with RESULTS.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["quantity"] == "clean":
                depth, root = row["network"].split(", r = ")
                found.setdefault((depth, root), []).append(100 - float(row["value"]))
    return {place: statistics.fmean(values) for place, values in found.items()}


def main() -> None:
    """Draw a cell for each network, its error in it."""
    cells = errors()
    depths, roots = (list(dict.fromkeys(place[i] for place in cells)) for i in (0, 1))
    table = [[cells[depth, root] for root in roots] for depth in reversed(depths)]
    figure = new_figure(6.4, 3.6)
    axis = figure.subplots()
    axis.imshow(table, cmap="Greys", vmin=0, vmax=1.6 * max(map(max, table)), aspect="auto")
    for i, line in enumerate(table):
        for j, value in enumerate(line):
            axis.text(j, i, f"{value:.1f}", ha="center", va="center", fontsize=10)
    axis.set_xticks(range(len(roots)), roots)
    axis.set_yticks(range(len(depths)), reversed(depths))
    axis.set_xlabel("modulus r of the parasitic root")
    axis.axvline(roots.index("1") + 0.5, color="black", linewidth=2)
    axis.text(roots.index("1") + 0.45, -0.62, "zero-stable", ha="right", fontsize=9)
    axis.text(roots.index("1") + 0.55, -0.62, "unstable", ha="left", fontsize=9)
    axis.tick_params(length=0)
    write_figure(lambda: figure, ROOT / "docs" / "phase-diagram.png")


if __name__ == "__main__":
    main()
