"""The verdicts of a study in words: what its numbers decide, with their intervals, and what they leave open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from stabzoo.evaluation.spec import Clean
from stabzoo.metric import ACCURACY, Evaluation
from stabzoo.study.analysis.comparison import Agreement, Comparison, Row
from stabzoo.study.analysis.phrases import INTERVALS, estimate_text, places_of
from stabzoo.study.analysis.uncertainty import Sample, leader

__all__ = [
    "agreement_text",
    "answer",
    "best_text",
    "deciding_text",
    "extremes_text",
    "method_note",
    "number_text",
    "outcome",
    "ranking",
    "verdict_text",
]

Outcome = Literal["each", "average, not each", "average", "not each", "not", "open"]

OUTCOMES: dict[Outcome, tuple[str, str, tuple[str, ...]]] = {
    "each": ("predicted", "every zero-stable network beat every unstable one", ("margin",)),
    "average, not each": (
        "predicted on average only",
        "zero-stable networks were better on average, but not each of them,",
        ("gap", "margin"),
    ),
    "average": (
        "predicted on average",
        "zero-stable networks were better on average (each of them: not decided)",
        ("gap",),
    ),
    "not each": (
        "did not predict",
        "not every zero-stable network beat every unstable one (on average: not decided)",
        ("margin",),
    ),
    "not": ("did not predict", "zero-stable networks were worse on average", ("gap",)),
    "open": ("not decided", "it is not decided by these runs", ("gap",)),
}
"""A few words for each outcome, its clause, and the numbers that decide it."""


def verdict_text(entry: Comparison) -> str:
    """What zero stability did under one evaluation, in a few words."""
    return OUTCOMES[outcome(entry)][0]


def deciding_text(entry: Comparison) -> str:
    """The number that decides it, or leaves it open: ``margin +15.0 [+3.2, +26.8]``."""
    (name, *_) = OUTCOMES[outcome(entry)][2]
    return number_text(entry, name)


def number_text(entry: Comparison, name: str) -> str:
    """``margin +15.0 [+3.2, +26.8]``."""
    places = places_of(entry.evaluation, (entry.stable_mean, entry.unstable_mean))
    return f"{name} {estimate_text(getattr(entry, name), places)}"


def outcome(entry: Comparison) -> Outcome:
    """What the intervals of margin and gap decide under one evaluation; the margin is never above the gap."""
    each, on_average = entry.margin.verdict, entry.gap.verdict
    if each == "above":
        return "each"
    if on_average == "above":
        return "average, not each" if each == "below" else "average"
    if on_average == "below":
        return "not"
    return "not each" if each == "below" else "open"


def answer(comparisons: Sequence[Comparison]) -> str:
    """Say whether zero stability predicted the accuracy of these networks, did not, or whether that is not decided.

    It predicted it under an evaluation when the interval of the margin is above 0, and on average when that of the gap
    is; it did not when that of the gap, or of the margin alone, is below 0.  Otherwise the runs do not decide it.
    """
    if not comparisons:
        return (
            "Whether zero stability predicted performance cannot be said: that takes a finished run of a zero-stable "
            "network and one of an unstable network."
        )
    groups: dict[Outcome, list[Comparison]] = {name: [] for name in OUTCOMES}
    for entry in comparisons:
        groups[outcome(entry)].append(entry)
    average, did_not = groups["average, not each"] + groups["average"], groups["not each"] + groups["not"]
    if groups["each"]:
        verdict = f"Zero stability predicted the performance of these networks{_scope(groups['each'], comparisons)}"
    elif average:
        only = "" if groups["average"] else "only "
        verdict = (
            f"Zero stability predicted the performance of these networks {only}on average{_scope(average, comparisons)}"
        )
    elif did_not:
        verdict = f"Zero stability did not predict the performance of these networks{_scope(did_not, comparisons)}"
    else:
        verdict = "Whether zero stability predicted the performance of these networks is not decided by these runs"
    clauses = [
        f"{OUTCOMES[name][1]} {_listed([_place(entry, OUTCOMES[name][2]) for entry in entries])}"
        for name, entries in groups.items()
        if entries
    ]
    text = "; ".join(clauses)
    if len(groups["open"]) == len(comparisons):  # the verdict has said so
        text = text.removeprefix(f"{OUTCOMES['open'][1]} ")
    return f"{verdict}: {text}."


def _scope(entries: Sequence[Comparison], comparisons: Sequence[Comparison]) -> str:
    """Where a verdict holds: nothing for everywhere, `` on clean images and under 2 of 3 noises``."""
    if len(entries) == len(comparisons):
        return ""
    noise, noises = (sum(not isinstance(e.evaluation, Clean) for e in of) for of in (entries, comparisons))
    clean = ["on clean images"] if noise < len(entries) else []
    what = "noises" if all(entry.evaluation.metric == ACCURACY for entry in comparisons) else "other evaluations"
    return " " + _listed([*clean, *([f"under {noise} of {noises} {what}"] if noise else [])])


def ranking(rows: Sequence[Row], evaluations: Sequence[Evaluation]) -> str:
    """Say which network is best, and which worst, under each evaluation, or that it is not decided."""
    clauses: list[str] = []
    for evaluation in evaluations:
        samples = {row.network.label: sample for row in rows if (sample := row.sample(evaluation)).values}
        if not samples:
            continue
        words = ("is best", "is worst") if evaluation.metric.higher_is_better else ("is worst", "is best")
        places = places_of(evaluation, [value for sample in samples.values() for value in sample.values])
        clauses.append(f"{_where(evaluation)} {extremes_text(samples, words, evaluation.metric.unit, places)}")
    text = "; ".join(clauses)
    return f"{text[0].upper()}{text[1:]}."


def extremes_text(samples: Mapping[str, Sample], words: tuple[str, str], unit: str, places: int = 1) -> str:
    """The networks of the highest and of the lowest mean, and whether they are what the ``words`` say of them.

    ``A is best (90.0 %, +10.0 [+6.1, +13.9] from the next) and B is worst (80.0 %, ...)``.
    """
    if len(samples) == 1:
        return best_text(samples, unit, places)
    highest, lowest = (_extreme(samples, words[i], unit, places, last=bool(i)) for i in (0, 1))
    return f"{highest} and {lowest}"


def best_text(samples: Mapping[str, Sample], unit: str, places: int = 1) -> str:
    """The network of the highest mean, and whether it is best."""
    if len(samples) == 1:
        ((name, sample),) = samples.items()
        return f"{name} is the only network ({f'{sample.mean:.{places}f} {unit}'.strip()})"
    return _extreme(samples, "is best", unit, places, last=False)


def _extreme(samples: Mapping[str, Sample], words: str, unit: str, places: int, *, last: bool) -> str:
    name, lead = leader(samples, last=last)
    mean = f"{samples[name].mean:.{places}f} {unit}".strip()
    far = f"{mean}, {estimate_text(lead, places)} from the next"
    if lead.verdict == "above":
        return f"{name} {words} ({far})"
    return f"{name} comes {'last' if last else 'first'} ({far}: whether it {words} is not decided by these runs)"


def method_note(comparisons: Sequence[Comparison]) -> str:
    """Say what the intervals are and of what population they speak, and what gap and margin are where there are any."""
    if not comparisons:
        return INTERVALS
    lower = any(not entry.evaluation.metric.higher_is_better for entry in comparisons)
    turned = "Of what is better when it is lower, both are the other way round: positive is better. " if lower else ""
    correlations = ", ".join(
        f"{entry.evaluation.title} {entry.correlation:.2f} of {entry.largest_correlation:.2f}" for entry in comparisons
    )
    return (
        "Gap: the mean of the zero-stable networks minus that of the unstable ones, each by its mean over the seeds. "
        f"Margin: the worst zero-stable network minus the best unstable one. {turned}{INTERVALS} Rank "
        "correlation, which decides nothing: Spearman's over all runs, between proved zero stability (1 or 0) and "
        f"accuracy, of the most that runs with these ties can have: {correlations}."
    )


def agreement_text(entries: Sequence[Agreement]) -> str:
    """Say how the measured numbers compare with a published table; empty where nothing can be compared.

    A gap has the published sign, or another, when its whole interval has.
    """
    if not entries:
        return ""
    gaps = [entry for entry in entries if entry.gap is not None and entry.published_gap is not None]
    sentences: list[str] = []
    if gaps:
        signs = {v: [e.column for e in gaps if e.sign == v] for v in ("above", "below", "not decided")}
        everywhere = " in every column" if len(gaps) > 1 else ""
        if signs["above"] and not signs["below"] and not signs["not decided"]:
            better = all(entry.gap.value > 0 for entry in gaps if entry.gap)
            verdict = (
                f"Zero-stable networks are better on average{everywhere}, as published"
                if better
                else f"Zero-stable minus unstable networks has the published sign{everywhere}"
            )
        else:
            parts = {
                "above": "has the published sign in",
                "below": "has another sign than published in",
                "not decided": "has a sign that is not decided by these runs in",
            }
            told = [f"{text} {_listed(signs[sign])}" for sign, text in parts.items() if signs[sign]]
            verdict = f"Zero-stable minus unstable networks {_listed(told)}"
        points = ", ".join(
            f"{e.column} {estimate_text(e.gap)} (published {e.published_gap:+.1f})" for e in gaps if e.gap is not None
        )
        sentences.append(f"{verdict}: {points}.")
    orders = ", ".join(
        f"{e.column} {e.same_order} of {e.pairs} (decided: {e.confirmed} in it, {e.contradicted} against it)"
        for e in entries
    )
    sentences.append(f"Pairs of networks in the published order by their means: {orders}.")
    return " ".join(sentences)


def _place(entry: Comparison, numbers: Sequence[str]) -> str:
    """``on clean images (gap +8.3 [+1.4, +15.3], margin +1.2 [-7.0, +13.5])``; of two networks these are one number."""
    if entry.gap.value == entry.margin.value:
        numbers = numbers[:1]
    return f"{_where(entry.evaluation)} ({', '.join(number_text(entry, n) for n in numbers)})"


def _where(evaluation: Evaluation) -> str:
    if isinstance(evaluation, Clean):
        return "on clean images" + (f" (top {evaluation.top})" if evaluation.top > 1 else "")
    return f"{'under' if evaluation.metric == ACCURACY else 'in'} {evaluation.title}"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
