"""A diagnosis as sections: a table, what its numbers mean, and a figure; the same on the terminal and on the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stabzoo.diagnostics.angles import MedianAngle
from stabzoo.diagnostics.bounds.continuous import Size
from stabzoo.diagnostics.growth import PerturbationGrowth
from stabzoo.diagnostics.measurement import Measurement
from stabzoo.diagnostics.report.diagnosis import Diagnosis
from stabzoo.diagnostics.robustness import Robustness
from stabzoo.evaluation.interval import LEVEL
from stabzoo.evaluation.spec import radius_text

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
    has_images: bool = False  # in the figure, which then looks the same on a dark page

    def informative(self) -> Section:
        """Without what is empty or said before.

        A column that says the same in every row is said once; one that is as an earlier one shares its head; and where
        only names are left, there is no table.
        """
        kept, constant = [0], []
        heads = list(self.columns)
        for i in range(1, len(self.columns)):
            cells = {row[i] for row in self.rows}
            if cells <= {"", "–"}:
                continue
            if len(cells) == 1 and len(self.rows) > 2:
                constant.append(f"{self.columns[i]}: {cells.pop()}")
            elif same := [j for j in kept[1:] if all(row[i] == row[j] for row in self.rows)]:
                heads[same[0]] += f", {self.columns[i]}"
            else:
                kept.append(i)
        said = f" In every row, {'; '.join(constant)}." if constant else ""
        rows = tuple(tuple(row[i] for i in kept) for row in self.rows) if len(kept) > 1 else ()
        return replace(self, meaning=self.meaning + said, columns=tuple(heads[i] for i in kept), rows=rows)


def sections(found: Diagnosis) -> list[Section]:
    """Every part of ``found`` that was measured."""
    parts = [
        _failure(found),
        _bounds(found),
        _robustness(found),
        _continuous(found),
        _implicit(found),
        _norms(found),
        _growth(found),
        _answers(found),
        _features(found),
        _batch_norms(found),
        _angles(found),
        _conditioning(found),
        _lemma2(found),
    ]
    return [part.informative() for part in parts if part is not None]


def _failure(found: Diagnosis) -> Section | None:
    if (failure := found.failure) is None:
        return None
    return Section(
        "This network answers nothing",
        "Nothing was measured: numbers of a network that has diverged, or that answers all images alike, say nothing. "
        "Train it again with a smaller learning rate; `stabzoo train` tells when it happens.",
        ("what", "where", "cause"),
        ((failure.kind, failure.module, failure.cause),),
    )


def _bounds(found: Diagnosis) -> Section | None:
    if (bounds := found.bounds) is None:
        return None
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
    if len(rows) > 1:
        totals = (bounds.sensitivity.value, bounds.paper_sensitivity, bounds.growth.value, bounds.offset.value)
        known = math.isfinite(bounds.sensitivity.value)
        rows.append(("network", *map(_number, totals), bounds.sensitivity.note if known else "", ""))
    searched = ""
    if found.attack is not None:
        attack = found.attack.sensitivity
        ratio = bounds.sensitivity.value / attack.value if attack.value else math.inf
        tight = f", so the bound is at most {ratio:.3g} times too large" if math.isfinite(ratio) else ""
        searched = f" Gradient ascent finds a sensitivity of {_text(attack)} ({attack.note}){tight}."
    return Section(
        "Forward bounds",
        "Certified, for all inputs of this size: ||f(x) - f(y)|| <= sensitivity ||x - y|| and "
        f"||f(x)|| <= growth ||x|| + offset.{searched}",
        ("block", "sensitivity", "literature's", "growth", "offset", "by", "refused"),
        tuple(rows),
    )


def _robustness(found: Diagnosis) -> Section | None:
    if (robust := found.robustness) is None:
        return None
    _, height, width = found.input_size
    rows = [("0", percent := _percent(robust, robust.clean), percent)]
    for radius, certified, attacked in zip(robust.radii, robust.certified, robust.attacked, strict=True):
        rows.append((radius_text(radius), _percent(robust, certified), _percent(robust, attacked)))
    proof = (
        f"half of the images at up to {_number(robust.median)}; from pixels to features changes grow by at most "
        f"{_number(robust.features)}, to logits by {_number(robust.sensitivity)}"
    )
    return Section(
        "Accuracy within an l2 distance",
        f"Certified: no change of the pixels, in [0, 1] and as the network gets them, which is {height}x{width}, up to "
        f"this distance takes these answers away, by the margins and forward bounds ({proof}). Attacked: what PGD and "
        "the margin's own direction leave, an upper bound. What is left under the worst change lies between. In "
        f"percent of {robust.images} images; in brackets {100 * LEVEL:.0f} % intervals over them.",
        ("radius", "certified", "attacked"),
        tuple(rows),
        lambda: _robustness_figure(robust),
    )


def _percent(robust: Robustness, percent: float) -> str:
    low, high = robust.interval(percent)
    return f"{percent:.1f} [{low:.1f}, {high:.1f}]"


def _continuous(found: Diagnosis) -> Section | None:
    if not found.continuous:
        return None
    rows = []
    for run in found.continuous:
        three, four = run.theorem3, run.theorem4
        rows.append(
            (
                run.name,
                str(len(run.layers)),
                _number(run.exponent),
                _number(run.theorem2.growth),
                "1" if four else "A2 is not the transpose of A1",
                _number(run.steps),
                _size(run.theorem2),
                _size(three) if three else "A2 is not >= 0",
                _size(four) if four else "–",
                _size(run.size),
            )
        )
    return Section(
        "The residual layers in continuous time",
        "Zhang and Schaeffer, JMIV 2020, Theorems 1 to 4: the layers of one grid as the differential inclusion -x' "
        "- A2 relu(A1 x + b1) + b2 in the subdifferential of the indicator of x >= 0, each layer for a time of 1. "
        "It has one solution (Theorem 1). Sensitivity: exp(sum ||A1|| ||A2||) (Theorem 2, (8)), and 1 where A2 = "
        "A1^T (Theorem 4, (13)). Size, growth ||x|| + offset: (7) of Theorem 2, (10) of Theorem 3 where A2 >= 0, "
        "(12) of Theorem 4. They bound the solutions, not the network, whose layers are steps of length 1: what is "
        "proved of those stands in the columns of the layers. A 1 of Theorem 4 beside more than 1 is a step that "
        "is too long, ||A||^2 > 2.",
        (
            "layers",
            "time",
            "sum ||A1|| ||A2||",
            "sensitivity, Theorem 2",
            "sensitivity, Theorem 4",
            "sensitivity, layers",
            "size, Theorem 2",
            "size, Theorem 3",
            "size, Theorem 4",
            "size, layers",
        ),
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
                _text(proved.abscissa) if proved.abscissa else "–",
                str(count) if count else "–",
                f"{solves['evaluations'] / max(solves['solves'], 1):.1f}",
                ", ".join(f"{number} {end}" for end, number in failures.items()) or "none",
            )
        )
    return Section(
        "Equations y = b + w f(y) of the implicit steps",
        "Proved for every b: one solution if w L < 1, L the Lipschitz constant of f; an error of 1e-5 of the first "
        "is reached after so many fixed-point iterations. Measured: where nothing is proved, the largest real part "
        "of an eigenvalue of w f' at the solutions of some images, past 1 there need not be one solution; "
        "evaluations of f a solve, and how many of the images' equations were not solved.",
        ("step", "w", "w L", "well-posed by", "Re w f'", "iterations", "evaluations", "not solved"),
        tuple(rows),
    )


def _norms(found: Diagnosis) -> Section | None:
    if not found.norms:
        return None
    rows = [
        (
            layer.name,
            _text(layer.upper),
            layer.upper.kind.replace("_", " "),
            _text(layer.condition) if layer.condition else "",
            layer.upper.note,
            layer.batch_norm.rpartition(".")[2],
            "x".join(map(str, layer.shape)),
            "x".join(map(str, layer.grid)) if layer.grid else "",
        )
        for layer in found.norms
    ]
    return Section(
        "Operator norms of the layers",
        "Largest singular values of the layers as operators on their input grids. A batch norm that gets the result of "
        "the layer beside it is folded in; one that gets another state has a row of its own.",
        ("layer", "norm", "kind", "condition", "how", "batch norm", "weight", "grid"),
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


def _answers(found: Diagnosis) -> Section | None:
    if not found.answers:
        return None
    rows = [
        (
            str(answer.image),
            str(answer.label),
            answer.noise or "none",
            f"{answer.probabilities[answer.label]:.4f}",
            f"{answer.first} ({answer.probabilities[answer.first]:.4f})",
            f"{answer.second} ({answer.probabilities[answer.second]:.4f})",
        )
        for answer in found.answers
    ]
    return Section(
        "Class probabilities under noise",
        "Softmax of the logits for three images: clean, with Gaussian noise, and with another image added (x + ε "
        "x0), pixels in [0, 1], clipped. Zhang and Schaeffer, JMIV 2020, Figures 9 and 10.",
        ("image", "its class", "noise", "probability of its class", "answer", "second"),
        tuple(rows),
        lambda: _answers_figure(found),
        has_images=True,
    )


def _features(found: Diagnosis) -> Section | None:
    if not found.features:
        return None
    rows = [
        (layer.name, str(layer.channels), str(layer.alive), _number(layer.norm), _number(layer.moved))
        for layer in found.features
    ]
    return Section(
        "Features along the depth",
        "Of the first image: channels, those that are not zero, the norm of all, and its relative change under "
        f"noise of σ = {found.sigma:g}. The picture has the channels of largest norm, each on a scale of its own. "
        "Zhang and Schaeffer, JMIV 2020, Figures 5 and 6.",
        ("after", "channels", "not zero", "||x||", "||x-y||/||x||"),
        tuple(rows),
        (lambda: _features_figure(found)) if any(layer.maps.numel() for layer in found.features) else None,
        has_images=True,
    )


def _batch_norms(found: Diagnosis) -> Section | None:
    if not found.batch_norms:
        return None
    rows = []
    for effect in found.batch_norms:
        ratio = effect.to_dict()["ratio"]
        rows.append(
            (
                effect.name,
                f"{effect.holds} of {len(effect.ratio)}",
                *(_number(ratio[part]) for part in ("min", "median", "max")),
                _number(float(effect.shrinks.median())),
            )
        )
    return Section(
        "Batch norm and a relative perturbation",
        "Lemma 3 of “Understanding ResNet from a discrete dynamical system perspective” has ||BN(y)-BN(x)|| / "
        "||BN(x)|| <= ||y-x|| / ||x||. As stated it is false: its proof assumes ||BN(x)|| <= ||x||, and a batch "
        "norm that takes away a large mean shrinks what the perturbation is compared with. Measured here, clean "
        f"images against noise of σ = {found.sigma:g}: of how many images it is true, and the left side over the "
        "right.",
        ("batch norm", "true of", "smallest", "median", "largest", "median ||BN(x)||/||x||"),
        tuple(rows),
    )


def _lemma2(found: Diagnosis) -> Section | None:
    if not found.conditioning:
        return None
    rows = []
    for block in found.conditioning:
        formula, true, seen = block.formula.value, block.linear.value, block.amplified.value
        false = math.isfinite(formula) and formula < true.value
        rows.append(
            (
                block.name,
                _interval(formula),
                _interval(true.value),
                true.kind,
                _number(seen),
                f"false, by up to {_number(true.value / formula)}" if false else "–" if math.isnan(formula) else "true",
            )
        )
    return Section(
        "Bounds of a relative perturbation by a block",
        "Lemma 2 of “Understanding ResNet from a discrete dynamical system perspective”: through the linear map L "
        "of a block a relative perturbation grows by a factor between 1/k and k, k the condition number of L (“=” "
        "stands in its proof where “<=” is shown). With the true k the bounds hold, and are attained. With the "
        "paper's formula for k, eq. (2), they are no bounds where it is smaller: some perturbation passes them by "
        "the factor in the last column. Seen: Gaussian noise at the first image's state.",
        ("block", "by the formula", "by the condition number", "its kind", "seen", "the formula's"),
        tuple(rows),
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

    assert found.norms is not None
    return layer_norms_figure(found.norms)


def _robustness_figure(robust: Robustness) -> Figure:
    from stabzoo.plotting.robustness import Curve, draw_robustness

    radii = [0.0, *map(float, robust.radii)]
    own = sorted(radius for radius in robust.certified_radii if radius)
    shares = [100 * (len(own) - i) / robust.images for i in range(len(own))]
    inside = [(radius, share) for radius, share in zip(own, shares, strict=True) if radius <= max(radii)]
    beyond = sum(radius > max(radii) for radius in own)
    points = [(0.0, robust.clean), *inside, (max(radii), 100 * beyond / robust.images)]
    attacked = [robust.clean, *robust.attacked]
    intervals = [robust.interval(percent) for percent in attacked]
    curves = [
        Curve("", "certified", True, *zip(*points, strict=True), dense=True),
        Curve("", "attacked", False, radii, attacked, intervals),
    ]
    return draw_robustness(curves)


def _growth_figure(name: str, growth: PerturbationGrowth) -> Figure:
    from stabzoo.diagnostics.report.figures import growth_figure

    return growth_figure({name: growth})


def _angles_figure(found: Diagnosis) -> Figure:
    from stabzoo.diagnostics.report.figures import angles_by_layer_figure

    layers = {layer: angles.to_dict() for layer, angles in found.angles.items()}
    return angles_by_layer_figure(layers)


def _conditioning_figure(found: Diagnosis) -> Figure:
    from stabzoo.diagnostics.report.figures import conditioning_figure

    return conditioning_figure(found.conditioning)


def _answers_figure(found: Diagnosis) -> Figure:
    from stabzoo.diagnostics.report.pictures import answers_figure

    return answers_figure(found.answers)


def _features_figure(found: Diagnosis) -> Figure:
    from stabzoo.diagnostics.report.pictures import features_figure

    return features_figure(found.answers[0].pixels, found.features)


def _size(size: Size) -> str:
    return f"{_number(size.growth)} ||x|| + {_number(size.offset)}"


def _interval(k: float) -> str:
    return "–" if math.isnan(k) else f"{_number(1 / k)} to {_number(k)}"


def _degrees(angles: Iterable[MedianAngle]) -> str:
    values = sorted(math.degrees(angle.angle.value) for angle in angles if math.isfinite(angle.angle.value))
    return f"{values[0]:.1f} / {values[len(values) // 2]:.1f} / {values[-1]:.1f}" if values else "none"


def _text(value: Measurement) -> str:
    return _number(value.value)


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return "∞" if value == math.inf else f"{value:.4g}"
