"""Designs: the published optima with their proved limits and seconds, and fronts between two objectives.

    python benchmarks/designing.py
    python benchmarks/designing.py --draw    # the figure only, from benchmarks/designing.json

Writes benchmarks/designing.json, and the table and the figure of docs/designing.md. A few minutes on one core.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from stabzoo.designing import Problem, pareto_front, solve
from stabzoo.plotting.front import draw_front
from stabzoo.plotting.style import new_figure, write_figure
from stabzoo.stability import real_to_json

HERE = Path(__file__).parent
RADII = [(d, 2) for d in range(3, 9)] + [(4, 3), (5, 3), (6, 3), (7, 3), (6, 4), (7, 4), (8, 4), (8, 5), (9, 5)]
SSP = [(3, 2), (4, 2), (5, 2), (6, 2), (4, 3), (5, 3), (6, 3), (5, 4), (6, 4)]
ANGLES = [(d, d) for d in range(2, 7)] + [(d, d - 1) for d in range(3, 7)]
FRONTS = [(3, 2), (4, 2), (5, 3)]


def designed(steps: int, order: int, kind: str, objective: str) -> dict[str, Any]:
    """One design, with its seconds of one core."""
    before = time.process_time()
    found = solve(Problem(steps=steps, order=order, kind=kind, objective=objective))  # type: ignore[arg-type]
    seconds = time.process_time() - before
    row = {"steps": steps, "order": order, "kind": kind, "objective": objective, "seconds": round(seconds, 1)}
    row["value"] = real_to_json(found.values[objective])
    row["limit"] = real_to_json(found.limit.value) if found.limit else None
    row["gap"] = found.gap
    row["formula"] = str(found.method)
    print(row, flush=True)
    return row


def main() -> None:
    """Design, write, draw."""
    rows = [designed(*key, "single-beta", "parasitic_radius") for key in RADII]
    rows += [designed(*key, "explicit", "ssp_coefficient") for key in SSP]
    rows += [designed(*key, "bdf-like", "sector_angle") for key in ANGLES]
    rows += [designed(3, 2, "single-beta", "real_interval")]
    fronts = {}
    for steps, order in FRONTS:
        front = pareto_front(Problem(steps=steps, order=order, kind="single-beta"), "real_interval", 9)
        fronts[f"{steps} steps, order {order}"] = front
        print(front.points(), flush=True)
    data = {"designs": rows, "fronts": {name: front.to_dict() for name, front in fronts.items()}}
    (HERE / "designing.json").write_text(json.dumps(data, indent=1) + "\n")

    page = HERE.parent / "docs" / "designing.md"
    before, _, rest = page.read_text().partition("<!-- table -->\n")
    after = rest.partition("<!-- /table -->")[2]
    page.write_text(f"{before}<!-- table -->\n{table(rows)}<!-- /table -->{after}")
    draw(data)


def draw(data: dict[str, Any]) -> None:
    """The least radii of each order against steps, and the fronts; from what was written."""
    radii: dict[str, list[tuple[float, float]]] = {}
    for row in data["designs"]:
        if row["objective"] == "parasitic_radius":
            radii.setdefault(f"order {row['order']}", []).append((float(row["steps"]), number(row["value"])))
    fronts = {
        name: [(number(design["parasitic_radius"]), number(design["real_interval"])) for design in front["designs"]]
        for name, front in data["fronts"].items()
    }

    def figure() -> Any:
        drawn = new_figure(10.5, 4.2)
        left, right = drawn.subplots(1, 2)
        draw_front(left, radii, "steps", "least parasitic radius")
        draw_front(right, fronts, "parasitic radius", "real interval")
        return drawn

    write_figure(figure, HERE.parent / "docs" / "designing.png")


def table(rows: list[dict[str, Any]]) -> str:
    """In Markdown."""
    lines = ["| objective | kind | steps | order | value | proved limit | seconds |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        limit = "not proved" if row["limit"] is None else shown(row["limit"])
        cells = [row["objective"], row["kind"], row["steps"], row["order"], shown(row["value"]), limit, row["seconds"]]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def shown(value: Any) -> str:
    """Exactly where it is short, else nine digits."""
    return value if isinstance(value, str) and len(value) < 6 else f"{number(value):.9f}"


def number(value: Any) -> float:
    """A float of an exact number or of an enclosure."""
    if isinstance(value, dict):
        return float(value["approximately"])
    above, _, below = value.partition("/")
    return int(above) / int(below or 1)


if __name__ == "__main__":
    if sys.argv[1:] == ["--draw"]:
        draw(json.loads((HERE / "designing.json").read_text()))
    else:
        main()
