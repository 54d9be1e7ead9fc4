"""``stabzoo design``: the best scheme for an objective, what is proved of it, and how it becomes a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stabzoo.cli.console import full, output, print_json, table
from stabzoo.cli.show import print_method
from stabzoo.config import validate
from stabzoo.designing import Design, Front, Problem, pareto_front, solve
from stabzoo.errors import ConfigError, quoted
from stabzoo.stability import as_float

__all__ = ["design_scheme", "pairs"]


def design_scheme(
    steps: int,
    order: int,
    *,
    kind: str,
    objective: Sequence[str],
    bounds: Sequence[str],
    signs: Sequence[str],
    depth: int | None,
    starts: int,
    seed: int,
    front: str | None,
    points: int,
    save: Path | None,
    as_json: bool,
    plot: Path | None,
) -> None:
    """Design a scheme, print it, and write and draw what is asked for.

    Raises:
        ConfigError: a setting is wrong, there is no such scheme, none was found, or a file cannot be written.
    """
    weights = {name: weight or "1" for name, weight in (part.partition("=")[::2] for part in objective)}
    given = {"steps": steps, "order": order, "kind": kind, "depth": depth, "starts": starts, "seed": seed}
    given |= {"objective": weights or {"parasitic_radius": "1"}}
    given |= {"bounds": pairs(bounds, "--bound"), "signs": pairs(signs, "--sign")}
    problem = validate(Problem, given, "design")
    curve = pareto_front(problem, front, points) if front is not None else None
    found = curve.designs[0] if curve is not None else solve(problem)
    if save is not None:
        try:
            found.save(save)
        except OSError as error:
            raise ConfigError(f"{save}: cannot be written ({error.strerror or error}); give another --save") from None
    if plot is not None:
        _draw(found, curve, plot)
    if as_json:
        print_json({**found.to_dict(), "front": curve and curve.to_dict()})
        return
    console = output()
    console.print(problem.about, style="bold")
    for name, value in found.values.items():
        console.print(f"  {name}: {full(value)}")
    console.print(f"  {_optimality(found)}")
    for text in found.active:
        console.print(f"  active: {text}")
    print_method(found.card)
    if curve is not None:
        _print_front(curve)
    console.print()
    if found.method.is_explicit:
        console.print(f'model  timm.create_model("multistep56", **{json.dumps(found.as_args())})')
        console.print(f"study  {json.dumps(found.as_network('designed'))}")
    console.print("plugin  stabzoo design ... --save FILE, then stabzoo new-plugin NAME --design FILE")


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """``NAME=VALUE`` as a mapping.

    Raises:
        ConfigError: one has no ``=``, or a name is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equal, value = text.partition("=")
        if not equal or name in found:
            raise ConfigError(f"{option}: expected NAME=VALUE, each name once; got {quoted(text)}")
        found[name] = value
    return found


def _optimality(found: Design) -> str:
    limit, gap = found.limit, found.gap
    if limit is None or gap is None:
        return f"the best of the search with {found.problem.starts} starts; that it is the best of all is not proved"
    word = "least" if "parasitic_radius" in found.problem.objective else "most"
    if gap == 0:
        return f"the best of all, proved: {limit.reason}"
    near = "the best of all" if gap < 1e-6 else "the best of the search"
    return f"{near}, to {gap:.1g}: {full(limit.value)} is the {word} that any has, proved: {limit.reason}"


def _print_front(curve: Front) -> None:
    console = output()
    console.print("\nbetween two objectives")
    points = curve.points()
    columns: dict[str, Any] = {
        curve.first: [f"{x:.6g}" for x, _ in points],
        curve.second: [f"{y:.6g}" for _, y in points],
        "parasitic radius": [f"{as_float(d.card.parasitic_radius):.4g}" for d in curve.designs],
        "scheme": [str(d.method) for d in curve.designs],
    }
    table(console, columns)


def _draw(found: Design, curve: Front | None, path: Path) -> None:
    if curve is None:
        from stabzoo.plotting.scheme import write_scheme_plot  # imports matplotlib

        write_scheme_plot(found.card, path, f"designed for {', '.join(found.problem.objective)}")
        return
    from stabzoo.plotting.front import front_figure
    from stabzoo.plotting.style import write_figure

    names = (curve.first.replace("_", " "), curve.second.replace("_", " "))
    points = curve.points()
    write_figure(lambda: front_figure({found.problem.about: points}, *names), path)
