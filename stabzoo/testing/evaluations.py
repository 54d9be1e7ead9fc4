"""Checks of a kind of evaluation: it is written and read, differs from others, and gives one number for one network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import timm
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from stabzoo.config import Strict, validate
from stabzoo.data.images import ImageDataset
from stabzoo.data.loading import load_images
from stabzoo.data.spec import Digits
from stabzoo.evaluation.accuracy import measure
from stabzoo.evaluation.kinds import AnyEvaluation
from stabzoo.metric import ACCURACY, SHIPPED, Evaluation, Metric
from stabzoo.testing.runner import CheckFailedError
from stabzoo.testing.values import beside

__all__ = ["check_evaluation"]

DIGITS = Digits(name="digits", size=8, test_images=300, split_seed=0)  # more than a batch
NO_SETTINGS = ("kind", "plugin", "seed")  # which a title need not tell


class Given(Strict):
    """What an author has given."""

    evaluation: AnyEvaluation


def check_evaluation(evaluation: str | Mapping[str, Any] | Evaluation) -> None:
    """Check an evaluation on two small networks and handwritten digits.

    It is read as it was written; its title names its settings; it overrides a method, and its ``metric`` explains a
    score that is not a share of images; its result is a finite number (between 0 and 100 for an accuracy), and the same
    when it is measured again, alone or with others; the score of an image does not depend on the other images; and the
    test images stay unchanged.

    Args:
        evaluation: A kind without settings, a mapping of its ``kind`` and its settings, or the evaluation.

    Raises:
        CheckFailedError: a check failed; the message has one line each.
        ConfigError: there is no such evaluation, or it does not take the settings.
        PluginError: the plugin that provides it is broken.

    Example:
        >>> check_evaluation({"kind": "gaussian", "sigma": 0.1, "seed": 0})
    """
    given = {"kind": evaluation} if isinstance(evaluation, str) else evaluation
    subject = validate(Given, {"evaluation": given}, "check_evaluation").evaluation
    if not subject.plugin and subject.kind not in SHIPPED:  # measured as a plugin's, which it will be one of
        subject = subject.model_copy(update={"plugin": "of yours"})
    failures: list[str] = []
    for check in CHECKS:
        try:
            check(subject)
        except Exception as error:
            text = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
            failures.append(f"  {check.__name__.lstrip('_')}: {text}")
    if failures:
        count = f"{len(failures)} check{'s' if len(failures) > 1 else ''}"
        raise CheckFailedError(f"evaluation {subject.kind!r}: {count} failed\n" + "\n".join(failures))


@cache
def _images() -> ImageDataset:
    return load_images(DIGITS)


@cache
def _networks() -> tuple[nn.Module, nn.Module]:
    """A linear classifier and a residual network, of random weights."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        residual = timm.create_model("preresnet20", width=4, in_chans=1, num_classes=10)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval(), residual.eval()


def _measured(network: nn.Module, *evaluations: Evaluation) -> list[float]:
    found: list[float] = []
    for value in measure(network, _images(), evaluations):
        assert isinstance(value, float), str(value)
        found.append(value)
    return found


def _is_own(evaluation: Evaluation, method: str) -> bool:
    return getattr(type(evaluation), method) is not getattr(Evaluation, method)


def _settings(evaluation: Evaluation) -> None:
    written = evaluation.model_dump(mode="json")
    again = type(evaluation).model_validate(written)
    assert again == evaluation, f"written as {written} it is read as {again!r}; make every setting a field"


def _title(evaluation: Evaluation) -> None:
    for name, value in evaluation:
        for other in beside(value) if name not in NO_SETTINGS else ():
            try:
                changed = type(evaluation).model_validate({**evaluation.model_dump(), name: other})
            except ValidationError:
                continue
            assert changed.title != evaluation.title, (
                f"{evaluation.title!r} is also the title with {name} = {other}; a study tells them apart by it"
            )


def _metric(evaluation: Evaluation) -> None:
    methods = ("perturbation", "score", "measure")
    own = [method for method in methods if _is_own(evaluation, method)]
    assert own or evaluation.kind in SHIPPED, f"expected one of {', '.join(methods)} to be overridden; none is"
    assert own == ["measure"] or "measure" not in own, "measure() has the result; leave out perturbation() and score()"
    assert isinstance(evaluation.metric, Metric), f"metric: expected a stabzoo.Metric, got {evaluation.metric!r:.80}"
    if evaluation.metric == ACCURACY:
        assert "measure" not in own, "measure() returns a number of its own; say by metric what it is"
        scores = evaluation.score(torch.eye(10), torch.arange(10))
        assert scores.dtype == torch.bool, (
            f"score() returns {scores.dtype}, which is no share of images that are right; say by metric what it is"
        )


def _result(evaluation: Evaluation) -> None:
    for network in _networks():
        (value,) = _measured(network, evaluation)
        assert evaluation.metric != ACCURACY or 0 <= value <= 100, f"an accuracy of {value:g} % is none"
        (again,) = _measured(network, evaluation)
        beside_others = _measured(network, evaluation, evaluation)
        assert {value, again, *beside_others} == {value}, (
            f"measured again it is {again!r}, beside others {beside_others[0]!r}, at first {value!r}; make the "
            "generator of its random numbers in perturbation() or measure(), from a seed"
        )


def _score(evaluation: Evaluation) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(6, 10, generator=generator), torch.arange(6)
    together: Tensor = evaluation.score(logits.clone(), labels.clone())
    alone = torch.cat([evaluation.score(logits[i : i + 1].clone(), labels[i : i + 1]) for i in range(6)])
    same = together.shape == alone.shape and torch.allclose(together.double(), alone.double())
    assert same, "the score of an image depends on the images beside it, so that the size of a batch counts"


def _test_images(evaluation: Evaluation) -> None:
    everything = torch.arange(DIGITS.test_images)
    before = [(pixels.clone(), labels.clone()) for pixels, labels in _images().testing([everything])]
    try:
        _measured(_networks()[0], evaluation)
        after = list(_images().testing([everything]))
        same = all(torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in zip(before, after, strict=True))
        assert same, "it changes the test images, which others are measured on; change a copy"
    finally:
        _images.cache_clear()


CHECKS: tuple[Callable[[Evaluation], None], ...] = (_settings, _title, _metric, _result, _score, _test_images)
