"""Plugins with one mistake each: the check that is meant for it finds it, and says what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import stabzoo
from fixtures.guests import AB2, THREE, TWO_MODELS, code, step, write
from stabzoo.testing import CHECKS, CheckFailedError, check_discretization, checks, conduct, networks, runner, steps

Install = Callable[..., Path]
KIT = (checks, steps, conduct, networks)
RUN = [check for check in CHECKS if check.function.__module__ in {part.__name__ for part in KIT}]
RUN = [check for check in RUN if check.name != "check_import_cost"]

RIGHT = "return [h[0] / 3 + h[1] * (5 / 9) + h[2] / 9 + self.f(y) * (16 / 9)]"
RIGHT_AB2 = "f = self.f(y)\nreturn [h[0] + 1.5 * f - 0.5 * h[2], f]"


class Mistake(NamedTuple):
    """A wrong step, and the checks that it fails, the one that is meant for it first."""

    source: str
    fails: str
    coefficients: str = THREE
    members: str = ""
    claim: str = "{order: 2, stability: strong}"


def scaled(factor: str) -> str:
    """The right step with f times a factor."""
    return RIGHT.replace("self.f(y)", f"({factor}) * self.f(y)")


PARAMETER = "alpha, beta = (1,), (1,)"
FAMILY = """
k: Rational = Fraction(0)
def coefficients(self):
    return LinearMultistep((1 - self.k, self.k), (1 + self.k,))
def block(self, f):
    from stabzoo_guest.step import Step
    return Step(f, float(self.k))
"""
FAMILY_CLAIM = "{order: 1, stability: strong, condition: -1 < k <= 1}"


def of_k(forward: str) -> str:
    """A step that knows the parameter k."""
    return step(forward, init="self.k = k").replace("__init__(self, f)", "__init__(self, f, k)")


WRONG: dict[str, Mistake] = {
    # the same in both modes
    "another sign in training": Mistake(step(scaled("-1.0 if self.training else 1.0")), "modes"),
    "a dropout of its own": Mistake(step(RIGHT.replace("self.f(y)", "F.dropout(self.f(y), 0.1, self.training)")), "modes"),
    "another sign without gradients": Mistake(step(scaled("1.0 if torch.is_grad_enabled() else -1.0")), "modes"),
    # a batch is so many images
    "wrong for one image": Mistake(step(scaled("1.0 if y.shape[0] > 1 else 0.9")), "batch"),
    "an image sees its batch": Mistake(step(RIGHT.replace("h[2]", "(h[2] + 0.1 * h[2].mean(0, keepdim=True))")), "batch"),
    # gradients
    "y is detached": Mistake(step(RIGHT.replace("self.f(y)", "self.f(y.detach())")), "derivatives"),
    "the history is detached": Mistake(step(RIGHT.replace("h[1]", "h[1].detach()")), "derivatives"),
    "a state is read as data": Mistake(step(RIGHT.replace("h[2]", "h[2].data")), "derivatives"),
    "right values, wrong gradients": Mistake(step("g = self.f(y)\ng = g.detach() * 3 - 2 * g\n" + RIGHT.replace("self.f(y)", "g")), "derivatives"),
    "the parameters of f get no gradient": Mistake(step("with torch.no_grad():\n    g = self.f(y)\n" + RIGHT.replace("self.f(y)", "g")), "derivatives"),
    "the slope is detached": Mistake(step(RIGHT_AB2.replace(", f]", ", f.detach()]")), "derivatives", AB2),
    # the slope that is returned
    "minus the slope": Mistake(step(RIGHT_AB2.replace(", f]", ", -f]")), "returned_slope", AB2),
    "the slope at the new state": Mistake(step("f = self.f(y)\nnew = h[0] + 1.5 * f - 0.5 * h[2]\nreturn [new, self.f(new) if new.shape == y.shape else f]"), "returned_slope", AB2),
    "the slope is overwritten": Mistake(step("f = self.f(y)\nnew = f.mul_(1.5).add_(h[0]).add_(h[2], alpha=-0.5)\nreturn [new, f]"), "new_tensors", AB2),
    "the slope is a past one": Mistake(step(RIGHT_AB2.replace(", f]", ", h[2]]")), "new_tensors", AB2),
    # what is returned is new
    "y itself": Mistake(step("return [y if y.shape == h[0].shape else h[0] + 0 * self.f(y)]"), "new_tensors", "alpha, beta = (1, 0), (0,)", claim="{order: null, stability: strong}"),
    "a buffer of the step": Mistake(step("self.out = self.out.detach().resize_(h[0].shape).copy_(" + RIGHT[8:-1] + ")\nreturn [self.out]", init="self.register_buffer('out', torch.zeros(1), persistent=False)"), "new_tensors"),
    # arguments are others'
    "a past state is changed without gradients": Mistake(step("new = " + RIGHT[7:] + "\nif not torch.is_grad_enabled(): h[2].mul_(0.5)\nreturn new"), "arguments"),
    "y is changed and changed back": Mistake(step("if not torch.is_grad_enabled(): y.add_(1).sub_(1)\n" + RIGHT), "arguments"),
    "y is changed in training": Mistake(step("new = " + RIGHT[7:] + "\nif self.training: y.data.mul_(0.5)\nreturn new"), "arguments"),
    "the list is shortened": Mistake(step("new = " + RIGHT[7:] + "\nh.pop()\nreturn new"), "arguments"),
    "the list is reordered": Mistake(step("new = " + RIGHT[7:] + "\nh[1], h[2] = h[2], h[1]\nreturn new"), "arguments"),
    # no state
    "wrong from the tenth call on": Mistake(step("self.calls += 1\n" + scaled("1.0 if self.calls < 10 else 0.9"), init="self.calls = 0"), "state"),
    "f of the first call": Mistake(step("key = tuple(y.shape)\nif key not in self.cache:\n    self.cache[key] = self.f(y).detach()\n" + RIGHT.replace("self.f(y)", "(self.f(y) * 0 + self.cache[key])"), init="self.cache = {}"), "state"),
    "a counter in a buffer": Mistake(step("self.count += 1\n" + RIGHT, init="self.register_buffer('count', torch.zeros(()))"), "state"),
    "weights that shrink": Mistake(step("for p in self.f.parameters(): p.data.mul_(1 - 1e-3)\n" + RIGHT), "state"),
    "random numbers": Mistake(step(RIGHT.replace("self.f(y)", "(self.f(y) + 1e-7 * torch.rand_like(h[0]))")), "state"),
    "random numbers to no end": Mistake(step("torch.rand(1)\n" + RIGHT), "state"),
    "Python's random numbers": Mistake(step(scaled("1 + 1e-7 * random.random()"), top="import random"), "state"),
    # no memory
    "the graph is kept": Mistake(step("self.last = " + RIGHT[7:] + "\nreturn [self.last[0] * 1.0]", init="self.last = []"), "memory"),
    "a log of states": Mistake(step("new = " + RIGHT[7:] + "\nself.log.append(new[0].detach().mean())\nreturn new", init="self.log = []"), "memory"),
    # weights of its own
    "one weight for all blocks": Mistake(step(scaled("self.w"), top="W = nn.Parameter(torch.ones(1))", init="self.w = W"), "separate_weights"),
    "one layer for all blocks": Mistake(step(RIGHT.replace("self.f(y)", "self.norm(self.f(y))"), top="NORMS = {}", init="self.norm = NORMS.setdefault('norm', nn.GroupNorm(1, 1, affine=False))\nself.norm.register_buffer('scale', torch.ones(1))").replace("self.norm(self.f(y))", "self.norm.scale * self.f(y)"), "separate_weights"),
    "a weight of the class": Mistake(step(scaled("self.w"), members="w = nn.Parameter(torch.ones(1))"), "gradients"),
    "a weight in a list": Mistake(step(scaled("self.w[0]"), init="self.w = [nn.Parameter(torch.ones(1))]"), "gradients"),
    "a weight that is not used": Mistake(step(RIGHT, init="self.w = nn.Parameter(torch.ones(1))"), "gradients"),
    "a weight that does not matter": Mistake(step(RIGHT[:-1] + " + 0 * self.w]", init="self.w = nn.Parameter(torch.ones(1))"), "gradients"),
    # all blocks of a network, all values of the parameters
    "wrong from the tenth block on": Mistake(step(scaled("1.0 if self.number % 12 < 9 else 0.9"), top="BUILT = []", init="BUILT.append(0)\nself.number = len(BUILT)"), "network_steps"),
    "wrong where the shape changes": Mistake(step(scaled("1.0 if y.shape == h[0].shape else 0.9")), "network_steps"),
    "a step that states other coefficients": Mistake(step("return [3 * h[0] - 2 * h[1] + self.f(y)]", members="@torch.jit.unused\ndef coefficients(self):\n    return LinearMultistep((3, -2), (1,))"), "network_steps", "alpha, beta = (1, 0), (1,)", claim="{order: 1, stability: strong}"),
    "right at the default alone": Mistake(of_k("return [h[0] + 0 * h[1] + self.f(y)]"), "parameter_values", PARAMETER, FAMILY, FAMILY_CLAIM),
    "wrong near the end of the condition": Mistake(of_k("k = self.k if self.k < 0.99 else 0.99\nreturn [(1 - k) * h[0] + k * h[1] + (1 + k) * self.f(y)]"), "parameter_values", PARAMETER, FAMILY, FAMILY_CLAIM),
    "wrong for a negative parameter": Mistake(of_k("k = abs(self.k)\nreturn [(1 - k) * h[0] + k * h[1] + (1 + k) * self.f(y)]"), "parameter_values", PARAMETER, FAMILY, "{order: 1, stability: strong}"),
    # types, devices, forms
    "right in float64 alone": Mistake(step(scaled("1.0 if y.dtype == torch.float64 else 0.9")), "dtype_and_device"),
    "right in float32 alone": Mistake(step(scaled("1.0 if y.dtype == torch.float32 else 0.9")), "step_of_identity"),
    "not without values": Mistake(step("if float(y.mean()) > 1e9: return [y]\n" + RIGHT), "dtype_and_device"),
    "not for many channels": Mistake(step("assert not (y.is_meta and self.training and h[0].shape[1] > 32)\n" + RIGHT), "models_on_meta"),
    # coefficients
    "two states in the wrong order": Mistake(step(RIGHT.replace("h[1]", "h[0]", 1).replace("h[0] / 3", "h[1] / 3")), "step_of_zero"),
    "f of another state": Mistake(step(RIGHT.replace("self.f(y)", "self.f(y if y.shape != h[0].shape else h[1])")), "step_of_identity"),
    "another f squared": Mistake(step(RIGHT.replace("self.f(y)", "g").replace("return", "g = self.f(y)\ng = g + (g - self.f(y)) + 1e-3 * (self.f(2 * y) - 2 * g)\nreturn")), "method"),
}  # fmt: skip


def failed(name: str = "guest") -> dict[str, str]:
    """What is said of each check that fails."""
    with pytest.raises(CheckFailedError) as caught:
        check_discretization(name)
    return dict(re.findall(r"^  check_(\w+): (.+)", str(caught.value), flags=re.M))


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_found(install: Install, monkeypatch: pytest.MonkeyPatch, mistake: str) -> None:
    """By the check that is meant for it."""
    wrong = WRONG[mistake]
    run = RUN if wrong.fails != "models_on_meta" else CHECKS
    monkeypatch.setattr(runner, "CHECKS", tuple(run))
    own = (
        code(wrong.coefficients, members=wrong.members)
        if not wrong.members
        else code(
            "",
            members=f"{wrong.members}\ndef method(self):\n    return self.coefficients()",
            own=False,
            bases="ExplicitFamily",
        )
    )
    write(install("guest", own, TWO_MODELS.format(claim=wrong.claim)), wrong.source)
    stabzoo.refresh()
    found = failed()
    assert wrong.fails in found
