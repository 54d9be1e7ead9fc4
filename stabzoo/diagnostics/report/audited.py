"""An audit as sentences and sections, the same on the terminal and on the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from stabzoo.diagnostics.audit.audit import Audit
from stabzoo.diagnostics.report.sections import Section
from stabzoo.methods.multistep import NotDecided
from stabzoo.stability.enclosure import as_float, short
from stabzoo.stability.parameters.learnt import LearntScheme, Sequenced

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["audit_sections", "audit_summary"]


def audit_summary(found: Audit) -> list[str]:
    """What a reader should know who reads nothing else; the numbers are those of the tables."""
    texts = list[str]()
    if found.failure is not None:
        texts.append(f"This network answers nothing: {found.failure.cause}. Only its coefficients were read.")
    if found.checkpoint is None:
        texts.append("The weights are random: this is the network before its training.")
    if (scheme := found.scheme) is not None:
        texts += _told(scheme)
    certified = [step for step in found.steps if step.lipschitz and math.isfinite(step.lipschitz.value)]
    measured = [step for step in found.steps if step.steepest]
    if measured:
        steepest = max(measured, key=lambda step: step.steepest.value if step.steepest else 0.0)
        assert steepest.steepest is not None
        texts.append(
            f"Of {len(found.steps)} blocks {len(measured)} are read as steps y + f(y) of Euler's method, and the f of "
            f"{len(certified)} has a proved Lipschitz constant; the steepest is that of {steepest.name}, at least "
            f"{steepest.steepest.value:.3g}."
        )
    return texts


def _told(scheme: LearntScheme) -> list[str]:
    now, before = scheme.now.growth, scheme.at_start.growth
    count, trained = len(scheme.blocks), sum(bool(block.numbers) for block in scheme.blocks)
    whose = f"{trained} of {count} blocks have trained coefficients" if trained else f"No block of {count} trains any"
    unstable = scheme.unstable
    each = f"{len(unstable)} are unstable by themselves ({', '.join(unstable[:3])}{', ...' * (len(unstable) > 3)})"
    told = f"{whose}; {each if unstable else 'each is zero-stable by itself'}."
    norm = f"Exactly, past states are amplified {short(now.norm)} times at most, in blocks {now.first} to {now.last}"
    if now.norm <= 1:
        norm = "Exactly, no product of the blocks amplifies past states"
    there = f"; at the start of the training {short(before.norm)} times" if trained and before.norm > 1 else ""
    return [told, f"{norm}{there}."]


def audit_sections(found: Audit) -> list[Section]:
    """Every part of ``found`` that there is."""
    parts = []
    if found.scheme is not None:
        parts += [_blocks(found.scheme), _together(found.scheme)]
    parts += [_boundaries(found), _steps(found), _growth(found)]
    return [part.informative() for part in parts if part is not None and part.rows]


def _blocks(scheme: LearntScheme) -> Section:
    curves = zip(scheme.now.curve, scheme.at_start.curve, strict=True)
    rows = tuple(
        (
            block.name,
            ", ".join(f"{number:.6g}" for number in block.numbers) or "–",
            ", ".join(_number(float(a)) for a in block.method.coefficients().alpha),
            ", ".join(_number(float(b)) for b in _trimmed(block.method.coefficients().beta)),
            block.card.status,
            _number(as_float(block.card.parasitic_radius)),
            _number(as_float(now)),
            _number(as_float(before)) if scheme.trains else "",
        )
        for block, (now, before) in zip(scheme.blocks, curves, strict=True)
    )
    return Section(
        "The learnt scheme",
        "Coefficients of each block, rounded here; verdicts are exact, of the rational numbers that its floats are, as "
        "if it were the scheme of all blocks. Growth: the largest norm of a product of companion matrices that ends at "
        "the block, now and at the start of the training.",
        ("block", "trained", "alpha", "beta", "verdict", "parasitic radius", "growth", "growth at the start"),
        rows,
        lambda: _curves(scheme),
    )


def _trimmed(beta: Sequence[Fraction]) -> list[Fraction]:
    used = list(beta)
    while len(used) > 1 and not used[-1]:
        used.pop()
    return used


def _together(scheme: LearntScheme) -> Section:
    columns = [scheme.now, scheme.at_start] if scheme.trains else [scheme.now]
    titles = ("now", "at the start") if scheme.trains else ("of the scheme",)

    def row(title: str, of: list[str]) -> tuple[str, ...]:
        return (title, *of)

    rows = [
        row("largest product", [_number(as_float(part.growth.norm)) for part in columns]),
        row("of the blocks", [f"{part.growth.first} to {part.growth.last}" for part in columns]),
        row("branches that take part", [_depth(part, "participation") for part in columns]),
        row("branches deep", [_depth(part, "composition") for part in columns]),
        row("effective depth", [_depth(part, "product") for part in columns]),
    ]
    for i, stage in enumerate(scheme.stages()):
        rest = [""] * (len(columns) - 1)
        rows.append(row(f"largest product of stage {i}", [_number(as_float(stage.growth.norm)), *rest]))
    return Section(
        "All blocks together",
        "Exact, in the maximum norm: max over m <= n of ||C_n ... C_m||, with the starting blocks and through the "
        "stage boundaries, where what brings a past state to the new shape counts as the identity. Zero-stable blocks "
        "with coefficients of their own may have products that grow; a number of 1 says that nothing is amplified.",
        ("what", *titles),
        tuple(rows),
    )


def _depth(part: Sequenced, what: str) -> str:
    if isinstance(part.depth, NotDecided):
        return str(part.depth)
    return _number(as_float(getattr(part.depth.forward, what)))


def _boundaries(found: Audit) -> Section:
    rows = tuple((layer.name, _number(layer.upper.value), layer.upper.kind) for layer in found.boundaries)
    return Section(
        "Stage boundaries",
        "Norms of the convolutions that bring past states to a new shape: what they may amplify beside the products.",
        ("shortcut", "norm", "kind"),
        rows,
    )


def _steps(found: Audit) -> Section:
    rows = tuple(
        (
            step.name,
            step.reading,
            _number(step.gain.median.value if step.gain else None),
            _number(step.gain.max.value if step.gain else None),
            _number(step.steepest.value if step.steepest else None),
            _number(step.lipschitz.value if step.lipschitz else None),
            step.lipschitz.note if step.lipschitz else "",
        )
        for step in found.steps
    )
    return Section(
        "Each block as a step of Euler's method",
        "y_{n+1} = y_n + f(y_n): f is the block's branch, or else block(y) - y. Gain: ||f(y)|| / ||y|| at the states "
        "of the images, median and largest. The Lipschitz constant of f lies between the steepest that was found and "
        "the certified bound.",
        ("block", "f", "gain", "largest gain", "steepest found", "certified", "why not"),
        rows,
        lambda: _slopes(found),
    )


def _growth(found: Audit) -> Section | None:
    if (growth := found.growth) is None:
        return None
    rows = tuple(
        (
            state.name,
            _number(state.absolute.median.value),
            _number(state.relative.median.value),
            _number(state.relative.max.value),
        )
        for state in growth.states
    )

    def figure() -> Figure:
        from stabzoo.diagnostics.report.figures import growth_figure

        return growth_figure({found.model: growth})

    return Section(
        "Perturbation growth",
        f"||x - y|| and ||x - y|| / ||x|| of clean and perturbed states of the images; noise of {found.sigma:g} on "
        "pixels in [0, 1].",
        ("after", "distance, median", "relative, median", "relative, largest"),
        rows,
        figure,
    )


def _curves(scheme: LearntScheme) -> Figure:
    from stabzoo.diagnostics.report.figures import series_figure

    series = {"now": [as_float(size) for size in scheme.now.curve]}
    if scheme.trains:
        series["at the start"] = [as_float(size) for size in scheme.at_start.curve]
    names = [block.name for block in scheme.blocks]
    return series_figure("largest product that ends here", names, series)


def _slopes(found: Audit) -> Figure:
    from stabzoo.diagnostics.report.figures import series_figure

    read = [step for step in found.steps if step.gain and step.steepest and step.lipschitz]
    series = {
        "certified": [step.lipschitz.value if step.lipschitz else math.inf for step in read],
        "steepest found": [step.steepest.value if step.steepest else math.inf for step in read],
        "gain, median": [step.gain.median.value if step.gain else math.inf for step in read],
    }
    return series_figure("of f", [step.name for step in read], series)


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return "∞" if value == math.inf else f"{value:.4g}"
