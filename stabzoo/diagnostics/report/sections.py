"""A diagnosis as sections: a table, what its numbers mean, and a figure; the same on the terminal and on the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stabzoo.diagnostics.angles import MedianAngle
from stabzoo.diagnostics.growth import PerturbationGrowth
from stabzoo.diagnostics.measurement import Measurement
from stabzoo.diagnostics.report.diagnosis import Diagnosis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Section", "sections"]


@dataclass(frozen=True)
class Section:
    """``columns`` head the cells of ``rows``; ``figure`` draws it (matplotlib is imported then), if there is one."""

    title: str
    meaning: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figure: Callable[[], Figure] | None = None


def sections(found: Diagnosis) -> list[Section]:
    """Every part of ``found`` that was measured."""
    parts = [_bounds(found), _implicit(found), _norms(found), _growth(found), _angles(found), _conditioning(found)]
    return [part for part in parts if part is not None]


def _bounds(found: Diagnosis) -> Section:
    bounds, attack = found.bounds, found.attack.sensitivity
    rows: list[tuple[str, ...]] = [
        (
            step.name,
            _number(step.sensitivity),
            _number(step.paper),
            _number(step.growth),
            _number(step.offset),
            step.theorem,
            "; ".join(step.refused),
        )
        for step in bounds.blocks
    ]
    totals = (bounds.sensitivity.value, bounds.paper_sensitivity, bounds.growth.value, bounds.offset.value)
    rows.append(("network", *map(_number, totals), bounds.sensitivity.note, ""))
    ratio = bounds.sensitivity.value / attack.value if attack.value else math.inf
    tight = f", so the bound is at most {ratio:.3g} times too large" if math.isfinite(ratio) else ""
    return Section(
        "Forward bounds",
        "Certified, for all inputs of this size: ||f(x) - f(y)|| <= sensitivity ||x - y|| and "
        f"||f(x)|| <= growth ||x|| + offset. Gradient ascent finds a sensitivity of {_text(attack)} "
        f"({found.attack.evaluations} evaluations){tight}.",
        ("block", "sensitivity", "literature's", "growth", "offset", "by", "refused"),
        tuple(rows),
    )


def _implicit(found: Diagnosis) -> Section | None:
    if not found.well_posed:
        return None
    rows = []
    for proved, solves in zip(found.well_posed, found.solves, strict=True):
        count, failures = proved.iterations(), solves["failures"]
        rows.append(
            (
                proved.name,
                _number(proved.weight),
                _number(proved.weight * proved.lipschitz.value),
                proved.proof or "not proved",
                str(count) if count else "–",
                f"{solves['evaluations'] / max(solves['solves'], 1):.1f}",
                ", ".join(f"{number} {end}" for end, number in failures.items()) or "none",
            )
        )
    return Section(
        "Equations y = b + w f(y) of the implicit steps",
        "Proved for every b: one solution if w L < 1, L the Lipschitz constant of f; an error of 1e-5 of the first is "
        "reached after so many fixed-point iterations. Measured: evaluations of f a solve, and how many of the images' "
        "equations were not solved.",
        ("step", "w", "w L", "well-posed by", "iterations", "evaluations", "not solved"),
        tuple(rows),
    )


def _norms(found: Diagnosis) -> Section | None:
    if not found.norms:
        return None
    rows = [
        (
            layer.name,
            "x".join(map(str, layer.shape)),
            "x".join(map(str, layer.grid)) if layer.grid else "",
            _text(layer.upper),
            layer.upper.kind.replace("_", " "),
            _text(layer.condition) if layer.condition else "",
            layer.upper.note,
        )
        for layer in found.norms
    ]
    return Section(
        "Operator norms of the layers",
        "Largest singular values of the weights as operators on their input grids, batch norm not folded.",
        ("layer", "weight", "grid", "norm", "kind", "condition", "how"),
        tuple(rows),
        lambda: _norms_figure(found),
    )


def _growth(found: Diagnosis) -> Section | None:
    if (growth := found.growth) is None:
        return None
    rows = [
        (
            state.name,
            *map(_text, (state.absolute.median, state.absolute.max, state.relative.median, state.relative.max)),
        )
        for state in growth.states
    ]
    return Section(
        "Growth of a perturbation along the depth",
        f"Clean images against the same with Gaussian noise of σ = {found.sigma:g} on pixels in [0, 1] (not clipped), "
        f"{found.images} images.",
        ("after", "median ||x-y||", "largest ||x-y||", "median ||x-y||/||x||", "largest ||x-y||/||x||"),
        tuple(rows),
        lambda: _growth_figure(found.model, growth),
    )


def _angles(found: Diagnosis) -> Section | None:
    if not found.angles:
        return None
    rows = [
        (layer, _degrees(angles.within.values()), _degrees(angles.between.values()))
        for layer, angles in found.angles.items()
    ]
    return Section(
        "Median principal angles",
        f"Of the features of {found.images} images, in degrees: smallest, median and largest over classes, and over "
        "pairs of classes.",
        ("layer", "within classes", "between classes"),
        tuple(rows),
        lambda: _angles_figure(found),
    )


def _conditioning(found: Diagnosis) -> Section | None:
    if not found.conditioning:
        return None
    rows = [
        (
            block.name,
            _text(block.formula),
            _text(block.linear.value),
            block.linear.value.kind,
            _text(block.jacobian.value),
            block.jacobian.value.kind,
            _text(block.block_bound),
        )
        for block in found.conditioning
    ]
    return Section(
        "Condition numbers of the blocks",
        "The formula (M1 M2 + 1) / (m1 m2 + 1) of the literature is not a bound; beside it the condition number of the "
        "block's linear map, and of its Jacobian at the first image.",
        ("block", "formula", "linear map", "kind", "Jacobian", "its kind", "proved bound"),
        tuple(rows),
        lambda: _conditioning_figure(found),
    )


def _norms_figure(found: Diagnosis) -> Figure:
    from stabzoo.diagnostics.report.figures import layer_norms_figure

    return layer_norms_figure(found.norms)


def _growth_figure(name: str, growth: PerturbationGrowth) -> Figure:
    from stabzoo.diagnostics.report.figures import growth_figure

    return growth_figure({name: growth}, "Clean against perturbed")


def _angles_figure(found: Diagnosis) -> Figure:
    from stabzoo.diagnostics.report.figures import angles_by_layer_figure

    layers = {layer: angles.to_dict() for layer, angles in found.angles.items()}
    return angles_by_layer_figure(layers, "Median principal angles")


def _conditioning_figure(found: Diagnosis) -> Figure:
    from stabzoo.diagnostics.report.figures import conditioning_figure

    return conditioning_figure(found.conditioning, "Condition numbers")


def _degrees(angles: Iterable[MedianAngle]) -> str:
    values = sorted(math.degrees(angle.angle.value) for angle in angles if math.isfinite(angle.angle.value))
    return f"{values[0]:.1f} / {values[len(values) // 2]:.1f} / {values[-1]:.1f}" if values else "none"


def _text(value: Measurement) -> str:
    return _number(value.value)


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return "∞" if value == math.inf else f"{value:.4g}"
