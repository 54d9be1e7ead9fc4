"""Own networks, steps that look at all states, and inverses, with one mistake each: the check meant for it finds it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import stabzoo
from fixtures.guests import code, step, write
from stabzoo.testing import CHECKS, CheckFailedError, check_discretization, runner

Install = Callable[..., Path]

NETWORK = """
import torch
from torch import Tensor, nn

from stabzoo import Shape, StagedNetwork


class Down(nn.Module):
    def __init__(self, channels, dd):
        super().__init__()
        self.conv = nn.Conv2d(channels, 2 * channels, 3, 2, 1, **dd)

    def forward(self, history: list[Tensor]) -> list[Tensor]:
        return [self.conv(history[0])]


class Layer(nn.Module):
    def __init__(self, channels, dd):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1, **dd)

    def branch(self, y: Tensor) -> Tensor:
        return self.conv(y).tanh()

    def forward(self, history: list[Tensor]) -> list[Tensor]:
        y = history[0]
        return [y + self.branch(y)]


class Net(StagedNetwork):
    def __init__(self, scheme, layers, width=None, in_chans=3, drop_path_rate=0.0, device=None, dtype=None, **options):
        dd = {"device": device, "dtype": dtype}
        width = width or 8
        stem = nn.Sequential()
        stem.add_module("conv", nn.Conv2d(in_chans, width, 3, 1, 1, **dd))
        shapes, stages = [Shape(width, 1)], []
        for i, count in enumerate(layers):
            first = [Down(width << i - 1, dd)] if i else []
            stages.append([*first, *(Layer(width << i, dd) for _ in range(count - len(first)))])
            shapes.append(Shape(width << i, 1 << i))
        super().__init__(scheme, stem, stages, shapes, norm=nn.ReLU(), in_chans=in_chans, **options, **dd)
"""
OWN = code(
    "alpha, beta = (1,), (1,)",
    own=False,
    members="""
    def method(self):
        return self.coefficients()

    @classmethod
    def network(cls):
        from stabzoo_guest.network import Net

        return Net
    """,
)
OF_NETWORKS = """
guest:
  schemes: {guest: {order: 1, stability: strong}}
  models: {guest11: {scheme: guest, depth: 11, stages: [2, 2, 2]}}
"""


def network(old: str, new: str) -> str:
    """The right network with a change."""
    assert old in NETWORK
    return NETWORK.replace(old, new)


def layer(forward: str, *, init: str = "", members: str = "") -> str:
    """The right network with another forward() of its layers, and more in the class."""
    source = network("y = history[0]\n        return [y + self.branch(y)]", f"y = history[0]\n        {forward}")
    source = source.replace(
        "channels, 3, 1, 1, **dd)\n\n    def branch", f"channels, 3, 1, 1, **dd)\n        {init}\n\n    def branch"
    )
    return source.replace("    def branch", f"{members}\n    def branch")


STEP = "return [y + self.branch(y)]"
OWN_INVERSE = "    def inverse(self, history: list[Tensor]) -> list[Tensor]:\n        {body}\n"
FIXED_POINT = "x = history[0]\n        for _ in range(200):\n            x = history[0] - 0.2 * self.branch(x)\n        return [x]"

WRONG_NETWORKS: dict[str, tuple[str, str]] = {
    "another sign in training": ("modes", layer("return [y + (-1.0 if self.training else 1.0) * self.branch(y)]")),
    "a dropout of its own": ("modes", layer("return [y + torch.dropout(self.branch(y), 0.2, self.training)]")),
    "an image sees its batch": ("batch", layer("return [y + self.branch(y) + 0.1 * y.mean(0, keepdim=True)]")),
    "a state is detached": ("derivatives", layer("return [y.detach() + self.branch(y)]")),
    "the branch is detached": ("derivatives", layer("return [y + self.branch(y.detach())]")),
    "the state is changed": ("arguments", layer("if not torch.is_grad_enabled(): y.mul_(0.5)\n        return [y + self.branch(y)]")),
    "the state itself is returned": ("new_tensors", layer("return [y]")),
    "wrong from the tenth call on": ("state", layer("self.calls += 1\n        return [y + (1.0 if self.calls < 10 else 0.9) * self.branch(y)]", init="self.calls = 0")),
    "random numbers": ("state", layer("return [y + self.branch(y) + 1e-7 * torch.rand_like(y)]")),
    "a log of states": ("memory", layer("self.log.append(y.detach().mean())\n        " + STEP, init="self.log = []")),
    "one layer for all blocks": ("separate_weights", network("Layer(width << i, dd) for _", "LAYERS.setdefault((width << i, str(dd)), Layer(width << i, dd)) for _").replace("class Net", "LAYERS = {}\n\n\nclass Net")),
    "a weight that is not used": ("gradients", layer(STEP, init="self.w = nn.Parameter(torch.ones(1, **dd))")),
    "another step than is stated": ("network_steps", layer("return [y + 0.9 * self.branch(y)]")),
    "another step in the last stage": ("network_steps", layer("return [y + (0.9 if y.shape[1] == 16 else 1.0) * self.branch(y)]")),
    "nothing to compare with": ("network_steps", network("branch", "f")),
    "another shape than is announced": ("stage_boundaries", network("Shape(width << i, 1 << i)", "Shape(width << i, 2 << i)")),
    "the type is not the one asked for": ("network_dtype_and_device", network("channels, channels, 3, 1, 1, **dd)", "channels, channels, 3, 1, 1)")),
    "no stem.conv": ("timm_registration", network('add_module("conv"', 'add_module("first"')),
    "no reset of the classifier": ("timm_classifier", network("class Net(StagedNetwork):", "class Net(StagedNetwork):\n    def reset_classifier(self, num_classes, global_pool=None): pass\n")),
    "an inverse of another step": ("inverse", layer("return [y + 0.2 * self.branch(y)]", members=OWN_INVERSE.format(body="return [history[0] - 0.2 * self.branch(history[0])]"))),
}  # fmt: skip

MEAN = "return [torch.stack(h[: self.n]).mean(0) + self.f(y)]"
SAYS = "@torch.jit.unused\ndef coefficients(self):\n    return LinearMultistep([Fraction(1, self.n)] * self.n, (1,))"
ALL_STATES = code(
    "alpha, beta, memory, at_downsampling = (1,), (1,), None, 'restart'",
    own=False,
    members="""
    def method(self):
        return self.coefficients()

    def block(self, f, place):
        from stabzoo_guest.step import Step

        return Step(f, place)
    """,
)
OF_STEPS = """
guest:
  schemes: {guest: {order: 1, stability: strong}}
  models: {guest20: {scheme: guest, depth: 20}}
"""


def mean(forward: str = MEAN, init: str = "", says: str = SAYS, n: str = "place.states") -> str:
    """A step around the mean of all states."""
    source = step(forward, init=f"self.n = {n}\n{init}", members=says, top="from fractions import Fraction")
    return source.replace("__init__(self, f)", "__init__(self, f, place)")


WRONG_STEPS: dict[str, tuple[str, str]] = {
    "the oldest state is forgotten": ("network_steps", mean("n = max(self.n - 1, 1)\nreturn [sum(h[:n]) / n + self.f(y)]")),
    "not more than six states": ("method", mean("n = min(self.n, 6)\nreturn [sum(h[:n]) / n + self.f(y)]")),
    "wrong in the last stage": ("method", mean(MEAN.replace("self.f(y)", "self.w * self.f(y)"), "self.w = 0.9 if place.stage == 2 else 1.0")),
    "the step of the network instead of that of the stage": ("network_steps", mean(n="place.number + 1")),
    "what is stated is that of the first step": ("method", mean(says="@torch.jit.unused\ndef coefficients(self):\n    return LinearMultistep((1,), (1,))")),
    "nothing is stated of a later step": ("method", mean(says="")),
    "states of its own": ("state", mean("self.seen = [y.detach()] + self.seen[:1]\nreturn [sum(h[: self.n]) / self.n + self.f(y) + 0.1 * (self.seen[-1] if self.seen[-1].shape == h[0].shape else 0)]", "self.seen = []")),
    "all states are kept": ("memory", mean("self.log += [s.detach().clone() for s in h]\n" + MEAN, "self.log = []")),
    "the list is emptied": ("arguments", mean("new = " + MEAN[7:] + "\nh.clear()\nreturn new")),
    "the list is turned round": ("arguments", mean("h.reverse()\n" + MEAN)),
    "the oldest state is changed": ("arguments", mean("new = " + MEAN[7:] + "\nif not torch.is_grad_enabled(): h[-1].mul_(0.5)\nreturn new")),
    "the oldest state is detached": ("derivatives", mean("return [(sum(h[: self.n - 1]) + h[self.n - 1].detach()) / self.n + self.f(y)]")),
    "a memory that is no number": ("protocol", ""),
}  # fmt: skip

LEAPFROG = "return [h[1] + 2 * self.f(y)]"
INVERSE = "@torch.jit.unused\ndef inverse(self, new, history):\n    {}"
TWO_STEPS = code("alpha, beta = (0, 1), (2,)")
OF_LEAPFROG = OF_STEPS.replace("order: 1, stability: strong", "order: 2, stability: weak")
WRONG_INVERSES = {
    "another factor": "return new - self.f(history[0])",
    "another sign": "return new + 2 * self.f(history[0])",
    "f at the new state": "return new - 2 * self.f(new)",
    "right in evaluation alone": "return new - (1.9 if self.training else 2) * self.f(history[0])",
    "the newest state": "return history[0]",
    "a list": "return [new - 2 * self.f(history[0])]",
    "right to six digits": "return (new - 2 * self.f(history[0])) * (1 + 1e-6)",
    "the new state is changed": "return new.sub_(2 * self.f(history[0]))",
    "a history that it is not given": "return new - 2 * self.f(history[1])",
}
RIGHT: dict[str, tuple[str, str, str, str]] = {
    "an own network": (OWN, OF_NETWORKS, "network.py", NETWORK),
    "an own network that is inverted": (
        OWN.replace("return self.coefficients()", "return LinearMultistep((1,), ('1/5',))").replace("(1,), (1,)", "(1,), ('1/5',)"),
        OF_NETWORKS.replace("order: 1", "order: 0"),
        "network.py",
        layer("return [y + 0.2 * self.branch(y)]", members=OWN_INVERSE.format(body=FIXED_POINT)),
    ),
    "the mean of all states": (ALL_STATES, OF_STEPS, "step.py", mean()),
    "an inverse": (TWO_STEPS, OF_LEAPFROG, "step.py", step(LEAPFROG, members=INVERSE.format("return new - 2 * self.f(history[0])"))),
    "no inverse, which is said": (TWO_STEPS, OF_LEAPFROG, "step.py", step(LEAPFROG, init="self.invertible = False", members=INVERSE.format("return new"))),
}  # fmt: skip


def fails(monkeypatch: pytest.MonkeyPatch, check: str) -> str:
    """What the check says of the guest, which it must fail."""
    stabzoo.refresh()
    monkeypatch.setattr(runner, "CHECKS", tuple(c for c in CHECKS if c.name == f"check_{check}"))
    assert len(runner.CHECKS) == 1
    with pytest.raises(CheckFailedError) as caught:
        check_discretization("guest")
    (said,) = re.findall(rf"^  check_{check}: (.+)", str(caught.value), flags=re.M)
    return said


@pytest.mark.parametrize("mistake", WRONG_NETWORKS)
def test_a_mistake_in_an_own_network_is_found(install: Install, monkeypatch: pytest.MonkeyPatch, mistake: str) -> None:
    """Its blocks are driven as the network drives them."""
    check, source = WRONG_NETWORKS[mistake]
    (install("guest", OWN, OF_NETWORKS) / "network.py").write_text(source)
    fails(monkeypatch, check)


@pytest.mark.parametrize("mistake", WRONG_STEPS)
def test_a_mistake_in_a_step_that_looks_at_all_states(
    install: Install, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    """Whatever the number of states that it finds."""
    check, source = WRONG_STEPS[mistake]
    scheme = ALL_STATES if source else ALL_STATES.replace("(1,), None", "(1,), 'all'")
    write(install("guest", scheme, OF_STEPS), source or mean())
    fails(monkeypatch, check)


@pytest.mark.parametrize("mistake", WRONG_INVERSES)
def test_a_wrong_inverse_is_found(install: Install, monkeypatch: pytest.MonkeyPatch, mistake: str) -> None:
    """Before a backward pass warns of it."""
    source = step(LEAPFROG, members=INVERSE.format(WRONG_INVERSES[mistake]))
    write(install("guest", TWO_STEPS, OF_LEAPFROG), source)
    fails(monkeypatch, "inverse")


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_passes(install: Install, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Every check; what the import of a plugin takes is measured elsewhere."""
    scheme, registry, module, source = RIGHT[name]
    (install("guest", scheme, registry) / module).write_text(source)
    stabzoo.refresh()
    monkeypatch.setattr(runner, "CHECKS", tuple(check for check in CHECKS if check.name != "check_import_cost"))
    report = check_discretization("guest")
    assert not report.failures
    tried = {outcome.check: outcome.result for outcome in report.outcomes}["check_inverse"]
    assert tried == ("passed" if "invert" in name or name == "an inverse" else "not applicable")
