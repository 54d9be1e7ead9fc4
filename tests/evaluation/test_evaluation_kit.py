"""The checks of an evaluation: ours pass, and one with a mistake fails the check that is meant for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import stabzoo
from fixtures.messages import raises
from stabzoo.errors import ConfigError
from stabzoo.testing import CheckFailedError, check_evaluation

Install = Callable[..., Path]

NOISE = """
    from typing import ClassVar, Literal

    import torch
    from pydantic import Field, field_validator
    from stabzoo import Evaluation, Metric, hookimpl

    DRAWN = torch.Generator().manual_seed(0)


    class Dropped(Evaluation):
        kind: Literal["dropped"]
        share: float = Field(default=0.5, ge=0, le=1)
        seed: int = 0

        def perturbation(self, images):
            generator = torch.Generator().manual_seed(self.seed)

            def drop(network, pixels, labels):
                kept = torch.rand(pixels.shape, generator=generator) >= self.share
                return pixels * kept

            return drop


    @hookimpl
    def stabzoo_evaluations():
        return [Dropped]
"""
LOSS = """
    from typing import ClassVar, Literal

    import torch
    from torch.nn import functional
    from stabzoo import Evaluation, Metric, hookimpl


    class Dropped(Evaluation):
        metric: ClassVar[Metric] = Metric(name="loss", unit="nat", higher_is_better=False)
        kind: Literal["dropped"]

        def score(self, logits, labels):
            return functional.cross_entropy(logits, labels, reduction="none")


    @hookimpl
    def stabzoo_evaluations():
        return [Dropped]
"""
WHOLE = LOSS.replace("def score(self, logits, labels):", "def measure(self, network, images):").replace(
    'return functional.cross_entropy(logits, labels, reduction="none")', "return sum(w.numel() for w in network.parameters())"
)  # fmt: skip
METRIC = 'metric: ClassVar[Metric] = Metric(name="loss", unit="nat", higher_is_better=False)'

WRONG: dict[str, tuple[str, str, str, str]] = {
    "a setting is halved when it is read": ("settings", NOISE, "seed: int = 0", "seed: int = Field(default=8, validate_default=True)\n        @field_validator('seed')\n        @classmethod\n        def halve(cls, value): return value // 2"),
    "a title for all": ("title", NOISE, "seed: int = 0", "seed: int = 0\n        @property\n        def title(self):\n            return 'dropped'"),
    "nothing is done": ("metric", NOISE, "def perturbation", "def unused"),
    "two results": ("metric", WHOLE, "def measure", "def score(self, logits, labels):\n            return labels == 0\n\n        def measure"),
    "a loss that is called an accuracy": ("metric", LOSS, METRIC, ""),
    "a number that is called an accuracy": ("metric", WHOLE, METRIC, ""),
    "more than all images": ("result", WHOLE.replace(METRIC, ""), "return sum", "return 1000 + sum"),
    "another noise every time": ("result", NOISE, "generator=generator", "generator=DRAWN"),
    "a counter": ("result", LOSS, "return functional", "Dropped.calls = getattr(Dropped, 'calls', 0) + 1\n            return Dropped.calls + functional"),
    "no number": ("result", WHOLE, "return sum", "return 'many' or sum"),
    "not a number": ("result", LOSS, "return functional", "return float('nan') * functional"),
    "pixels are lost": ("result", NOISE, "pixels * kept", "(pixels * kept)[..., 1:]"),
    "an image sees its batch": ("score", LOSS, "return functional", "logits = logits - logits.mean(0)\n            return functional"),
    "one number for all": ("score", LOSS, 'reduction="none"', 'reduction="mean"'),
    "the test images are changed": ("test_images", WHOLE, "return sum", "images.test.mul_(0.99)\n            return sum"),
}  # fmt: skip
OURS = [
    {"kind": "uniform", "low": -0.1, "high": 0.1, "seed": 1},
    {"kind": "gaussian", "sigma": 0.1, "seed": 1},
    {"kind": "constant", "mu": 0.1},
    {"kind": "fgsm", "epsilon": 0.02},
]


@pytest.mark.parametrize("settings", OURS, ids=lambda settings: settings["kind"])
def test_ours_pass(settings: dict[str, object]) -> None:
    """As any third party's."""
    check_evaluation(settings)


@pytest.mark.parametrize("code", [NOISE, LOSS, WHOLE])
def test_what_is_right_passes(install: Install, code: str) -> None:
    """A noise, a mean over images, and a number of the network's; by name, and as an object of no plugin's."""
    folder = install("guest", code, "guest: {evaluations: [dropped]}")
    stabzoo.refresh()
    check_evaluation("dropped")
    scope: dict[str, object] = {"__name__": "guest"}
    exec(compile((folder / "__init__.py").read_text(), "guest", "exec", dont_inherit=True), scope)
    check_evaluation(scope["Dropped"](kind="dropped"))  # type: ignore[operator]


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_found(install: Install, mistake: str) -> None:
    """By the check that is meant for it."""
    check, code, old, new = WRONG[mistake]
    assert old in code
    install("guest", code.replace(old, new), "guest: {evaluations: [dropped]}")
    stabzoo.refresh()
    with raises(CheckFailedError, "evaluation 'dropped'") as caught:
        check_evaluation("dropped")
    assert check in re.findall(r"^  (\w+): \S", str(caught.value), flags=re.M)


def test_what_is_no_evaluation_is_told() -> None:
    """The kind, with what there is; and settings that it does not take."""
    with raises(ConfigError, "unknown evaluation 'gausian'", "gaussian"):
        check_evaluation("gausian")
    with raises(ConfigError, "sigma"):
        check_evaluation({"kind": "gaussian", "sigma": -1, "seed": 0})
