"""A diagnosis in a few sentences: what the numbers mean, and what to do about them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from stabzoo.diagnostics.growth import StateGrowth
from stabzoo.diagnostics.report.diagnosis import Diagnosis
from stabzoo.evaluation.spec import radius_text

__all__ = ["summary"]

TIGHT, LOOSE = 3.0, 100.0
"""Quotients of what is proved and what was found: below the first a bound is good, beyond the second of no use."""


def summary(found: Diagnosis) -> list[str]:
    """What a reader should know who reads nothing else, a sentence or two each; the numbers are those of the tables."""
    if found.failure is not None:
        return [f"This network answers nothing: {found.failure.cause}. Nothing was measured."]
    parts = (_weights, _answers, _robustness, _sensitivity, _growth, _layers, _dead, _equations)
    return [sentence for part in parts for sentence in part(found)]


def _weights(found: Diagnosis) -> Iterator[str]:
    if found.checkpoint is None:
        yield (
            "The weights are random, so these are the numbers of an untrained network; of a trained one they may be "
            "orders larger. To measure that, give the folder of a training instead of the name, --checkpoint or "
            "--pretrained."
        )


def _answers(found: Diagnosis) -> Iterator[str]:
    if (steady := found.steadiness) is None:
        return
    changed = (
        f"noise of σ = {found.sigma:g} changes {_percent(steady.images - steady.same, steady.images)} of its answers"
    )
    if found.checkpoint is None or steady.right is None or steady.right_under_noise is None:
        yield f"On {steady.images} images {changed}."
        return
    right, noisy = (_percent(n, steady.images) for n in (steady.right, steady.right_under_noise))
    yield f"It is right on {right} of {steady.images} images and on {noisy} of them under noise; {changed}."


def _robustness(found: Diagnosis) -> Iterator[str]:
    if (robust := found.robustness) is None or found.checkpoint is None:
        return
    radius, certified, attacked = robust.radii[0], robust.certified[0], robust.attacked[0]
    yield (
        f"Proved: no change of the pixels up to {radius_text(radius)} in the l2 norm takes the right answer from "
        f"{certified:.3g} % of the images; attacks leave it to {attacked:.3g} %."
    )


def _sensitivity(found: Diagnosis) -> Iterator[str]:
    bounds, attack = found.bounds, found.attack and found.attack.sensitivity.value
    seen = f"the search found two that come out {attack:.3g} times as far apart" if attack else ""
    if bounds is None or not math.isfinite(bounds.sensitivity.value):
        if bounds is not None:
            said = f"; {seen} as they went in, and others may be worse" if seen else ""
            why = bounds.sensitivity.note.removeprefix("network: ")
            yield f"Nothing is proved of how far apart two images come out{said}. Why: {why}."
        return
    proved = bounds.sensitivity.value
    if not attack:
        yield f"Proved: no two images come out more than {proved:.3g} times as far apart as they went in."
        return
    ratio = proved / attack
    text = (
        f"Proved: no two images come out more than {proved:.3g} times as far apart as they went in; {seen}. The truth "
        "lies between."
    )
    if ratio <= TIGHT:
        text += " The bound is tight: a certified radius that is computed from it is close to the best."
    elif ratio > LOOSE:
        block = max(bounds.blocks, key=lambda piece: piece.sensitivity)
        text += (
            f" They are {ratio:.2g} times apart, so the bound is of no use here: norms multiply along the depth, most "
            f"in {block.name} ({block.sensitivity:.3g}). Capped or non-expansive layers, as in stable_resnet_s11_cert, "
            "keep the product small."
        )
    elif bounds.joint is not None:
        text += " More --seconds may lower the bound."
    yield text


def _growth(found: Diagnosis) -> Iterator[str]:
    if found.growth is None or len(states := found.growth.states) < 2:
        return
    first, last = states[0], states[-1]
    before, after = (state.relative.median.value for state in (first, last))
    if not (before > 0 and math.isfinite(after)):
        return
    way = "grows to" if after > before else "shrinks to"
    text = f"Noise of {before:.2g} of an image's size {way} {after:.2g} of the logits'"
    inner = states[:-1]
    gains = [(b.relative.median.value / _positive(a), b) for a, b in pairwise(inner)]
    if gains and (worst := max(gains, key=lambda gain: gain[0]))[0] > 1.05:
        text += f"; it grows most in {worst[1].name} ({worst[0]:.2f} times)"
    yield text + "."


def _positive(state: StateGrowth) -> float:
    return state.relative.median.value or math.inf


def _layers(found: Diagnosis) -> Iterator[str]:
    norms = [layer for layer in found.norms or () if math.isfinite(layer.upper.value)]
    if not norms:
        return
    largest = max(norms, key=lambda layer: layer.upper.value)
    size = f"{'' if largest.upper.kind == 'exact' else 'at most '}{largest.upper.value:.3g}"
    if above := sum(layer.upper.value > 1 for layer in norms):
        yield f"{above} of {len(norms)} layers may expand, for their norm is not below 1: most {largest.name}, {size}."
    else:
        yield f"No layer expands: the largest norm is that of {largest.name}, {size}."


def _dead(found: Diagnosis) -> Iterator[str]:
    for layer in found.features:
        if 2 * layer.alive < layer.channels:
            yield (
                f"{layer.channels - layer.alive} of the {layer.channels} channels after {layer.name} are zero for the "
                "first image: if they are for most, lower the learning rate."
            )


def _equations(found: Diagnosis) -> Iterator[str]:
    failed = sum(sum(solves["failures"].values()) for solves in found.solves)
    unproved = sum(proved.proof is None for proved in found.well_posed)
    if failed:
        yield (
            f"{failed} equations of implicit steps were not solved: raise the solver's iterations, or lower the step "
            "size."
        )
    if unproved:
        yield (
            f"{unproved} of {len(found.well_posed)} implicit steps are not proved to have one solution; see the column "
            "Re w f', which must stay below 1."
        )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3g} %"
