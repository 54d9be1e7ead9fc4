"""How far numbers of a few runs on a few test images can be trusted: an estimate, its interval, and what it decides.

An accuracy varies with the seed of the training and with the images that happen to be the test images.  Every interval
here covers both, at `LEVEL`, and is about the networks that were trained, as if each had been trained with ever more
seeds and tested on ever more images like these; never about schemes that were not.

*Seeds.*  Of each network the mean over k seeds is taken to be normal with a variance of its own: Student's t with k - 1
degrees of freedom.  Of a single seed the spread over seeds is not known: there is no interval, and nothing is decided.

*Test images.*  A mean accuracy is a mean over n images of numbers in [0, 1], whose variance is at most that of a
proportion: Wilson's interval (E. B. Wilson, JASA 22, 1927), of the mean of a whole group, since its networks see the
same images.  Two groups see them too, and what is hard for one is mostly hard for the other; their errors are taken to
be independent, which is too wide where they are alike.  (Runs do not record which images they classified correctly;
that would narrow it.)

*Together.*  The half-widths of all networks and of the images are added in quadrature, each side by itself.  For t
intervals this covers at least what it says, whatever the variances (S. K. Banerjee, Sankhya 22, 1960: a normal tail is
convex in the square of its limit); degrees of freedom as Welch and Satterthwaite have them cover less where one network
varies much more than the others, as unstable ones do.  For two proportions it is R. G. Newcombe's method 10 (Statistics
in Medicine 17, 1998).  Nothing is drawn at random.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stabzoo.evaluation.interval import LEVEL, TAIL, wilson

__all__ = ["LEVEL", "Estimate", "Sample", "Verdict", "contrast", "leader", "least_difference", "wilson"]

Verdict = Literal["above", "below", "not decided"]


@dataclass(frozen=True)
class Sample:
    """A number of one network, one value a seed.

    ``rate`` is the share of test images in percent, mean over the runs, that the values contain with weight one (an
    accuracy is its own rate); None for what no test image decides.  ``images`` is their number, None where it was not
    recorded.  A ``fixed`` number, such as that of the parameters, is the same for every seed.
    """

    values: tuple[float, ...]
    rate: float | None = None
    images: int | None = None
    fixed: bool = False

    @classmethod
    def of_accuracies(cls, values: Sequence[float], images: int | None) -> Sample:
        """Accuracies in percent, over ``images`` test images."""
        return cls(tuple(values), statistics.fmean(values) if values else None, images)

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation over the seeds; None for fewer than two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; ``low`` and ``high`` are None where there is none, and ``unknown`` says why.

    >>> Estimate(2.0, 0.5, 3.5).verdict, Estimate(2.0, -0.5, 4.5).verdict
    ('above', 'not decided')
    """

    value: float
    low: float | None = None
    high: float | None = None
    unknown: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether the number is above 0 or below it: the side that the whole interval lies on."""
        if self.low is not None and self.low > 0:
            return "above"
        return "below" if self.high is not None and self.high < 0 else "not decided"

    def interval(self) -> dict[str, Any]:
        """Its limits and their level, as JSON-safe values."""
        return {"low": self.low, "high": self.high, "level": LEVEL, "unknown": self.unknown}

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON-safe values."""
        return {"value": self.value, **self.interval(), "verdict": self.verdict}


def contrast(
    first: Sequence[Sample], second: Sequence[Sample] = (), tails: tuple[float, float] = (TAIL, TAIL)
) -> Estimate:
    """The mean of the networks of ``first``, minus that of ``second`` if there are any; each network counts once.

    The interval leaves the probabilities ``tails`` below and above it.  For 91 and 92 % against 50 and 60 % on 540
    images, of which the spread over two seeds is nearly all:

    >>> found = contrast([Sample.of_accuracies([91, 92], 540)], [Sample.of_accuracies([50, 60], 540)])
    >>> round(found.value, 1), found.verdict
    (36.5, 'not decided')
    """
    groups = [(1, first), (-1, second)] if second else [(1, first)]
    value = sum(sign * statistics.fmean(sample.mean for sample in group) for sign, group in groups)
    if unknown := _unknown([*first, *second]):
        return Estimate(value, unknown=unknown)
    below, above = (
        [_seed_error(sample, tail) / len(group) for _, group in groups for sample in group] for tail in tails
    )
    for sign, group in groups:
        lower, higher = _image_errors(group, tails if sign > 0 else (tails[1], tails[0]))
        below.append(lower if sign > 0 else higher)
        above.append(higher if sign > 0 else lower)
    accuracies = bool(second) and all(sample.rate == sample.mean for _, group in groups for sample in group)
    most = 100.0 if accuracies else math.inf  # they cannot differ by more
    return Estimate(value, max(-most, value - math.hypot(*below)), min(most, value + math.hypot(*above)))


def least_difference(first: Sequence[Sample], second: Sequence[Sample], *, chosen: bool = False) -> Estimate:
    """The worst network of ``first`` minus the best one of ``second``: above 0 when all of the first beat all others.

    It is the least of the differences of all pairs.  Its lower limit is the least of theirs: that all are positive
    needs every one of them to be shown, and no correction for their number (intersection-union test, R. L. Berger,
    Technometrics 24, 1982).  That one of them is negative is chosen among all: the upper limit is the least of upper
    limits that hold for all pairs at once (Bonferroni).  Where the data themselves have ``chosen`` who is in ``first``
    or ``second``, so is the lower one.
    """
    value = min(sample.mean for sample in first) - max(sample.mean for sample in second)
    if unknown := _unknown([*first, *second]):
        return Estimate(value, unknown=unknown)
    corrected = TAIL / (len(first) * len(second))
    tails = (corrected if chosen else TAIL, corrected)
    found = [contrast([one], [other], tails) for one in first for other in second]
    return Estimate(
        value, min(e.low for e in found if e.low is not None), min(e.high for e in found if e.high is not None)
    )


def leader(samples: Mapping[str, Sample], *, last: bool = False) -> tuple[str, Estimate]:
    """The network of the highest mean, or of the lowest if ``last``, and how far it is from the next.

    That it is the best is decided when this is above 0 (`least_difference`, ``chosen`` by the data).

    >>> name, lead = leader({"a": Sample((3.0, 3.1, 3.2)), "b": Sample((1.0, 1.1, 1.2))})
    >>> name, round(lead.value, 2), lead.verdict
    ('a', 2.0, 'above')
    """
    name = (min if last else max)(samples, key=lambda label: samples[label].mean)
    others = [sample for label, sample in samples.items() if label != name]
    if not others:
        raise ValueError(f"expected two networks or more, got {name!r} alone")
    pair = (others, [samples[name]]) if last else ([samples[name]], others)
    return name, least_difference(*pair, chosen=True)


def _unknown(samples: Sequence[Sample]) -> str:
    if any(len(sample.values) < 2 and not sample.fixed for sample in samples):
        return "one seed"
    if any(sample.rate is not None and sample.images is None for sample in samples):
        return "number of test images not recorded"
    return ""


def _seed_error(sample: Sample, tail: float) -> float:
    """Half-width for the mean over the seeds; 0 for what does not depend on them."""
    if sample.deviation in (None, 0.0) or sample.fixed:
        return 0.0
    from scipy.special import stdtrit  # slow to import, and every worker process would pay for it

    return float(stdtrit(len(sample.values) - 1, 1 - tail)) * sample.deviation / math.sqrt(len(sample.values))


def _image_errors(group: Sequence[Sample], tails: tuple[float, float]) -> tuple[float, float]:
    """Half-widths below and above for the images, of the mean rate of ``group``."""
    counted = [(sample.rate, sample.images) for sample in group if sample.rate is not None and sample.images]
    if not counted:
        return 0.0, 0.0
    share = len(counted) / len(group)
    rate, images = statistics.fmean(rate for rate, _ in counted), min(images for _, images in counted)
    low, high = wilson(rate, images, tails[0])[0], wilson(rate, images, tails[1])[1]
    return share * (rate - low), share * (high - rate)
