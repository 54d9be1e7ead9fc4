"""Plugins that are right, if unusual: they pass every check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import stabzoo
from fixtures.guests import AB2, THREE, TWO_MODELS, code, step, write
from stabzoo.testing import CHECKS, check_discretization, runner

Install = Callable[..., Path]
RIGHT = "return [h[0] / 3 + h[1] * (5 / 9) + h[2] / 9 + self.f(y) * (16 / 9)]"


class Unusual(NamedTuple):
    """A plugin: its scheme, and its step if that is its own."""

    scheme: str
    step: str = ""
    claim: str = "{order: 2, stability: strong}"


def own(source: str, coefficients: str = THREE, claim: str = "{order: 2, stability: strong}") -> Unusual:
    """A step of its own."""
    return Unusual(code(coefficients), source, claim)


GATE = "parameter = 'k'\nk: Rational = Fraction(0)\n@staticmethod\ndef formula(k): return [1 + 0 * k], [k]"
FREE = "parameter = 'k'\nspread = Fraction(1, 10)\nk: Rational = Fraction(1, 4)\n@staticmethod\ndef formula(k): return [1 - k, k], [1 + k]"
PLACED = """
def method(self):
    return self.coefficients()
def block(self, f, place):
    from stabzoo_guest.step import Step
    return Step(f, place)
"""
UNUSUAL: dict[str, Unusual] = {
    "constants are damped": Unusual(code("alpha, beta = ('9/10',), (1,)", own=False), claim="{order: null, stability: strong}"),
    "constants are hardly damped": Unusual(code("alpha, beta = ('999/1000',), (1,)", own=False), claim="{order: null, stability: strong}"),
    "hardly less than consistent": Unusual(code("alpha, beta = (1,), ('99/100',)", own=False), claim="{order: 0, stability: strong}"),
    "no state beside the branch": Unusual(code("alpha, beta = (0,), (1,)", own=False), claim="{order: null, stability: strong}"),
    "a past slope alone": Unusual(code("alpha, beta = (1, 0), (0, 1)", own=False), claim="{order: 1, stability: strong}"),
    "weak, of four steps": Unusual(code("alpha, beta = (0, 0, 0, 1), ('8/3', '-4/3', '8/3', 0)", own=False), claim="{order: 4, stability: weak}"),
    "two stages": Unusual(code("a, b = ((), (1,)), ('1/2', '1/2')", own=False, bases="ExplicitRungeKutta")),
    "an equation": Unusual(code("alpha, beta, beta_next = ('4/3', '-1/3'), (0,), '2/3'", own=False, bases="ImplicitMultistep")),
    "a gate that is closed at the start": Unusual(code(GATE, own=False, bases="LearnableMultistep"), claim="{order: 0, stability: strong}"),
    "a trained parameter": Unusual(code(FREE, own=False, bases="LearnableMultistep"), claim="{order: 1, stability: strong}"),
    "no state that is not needed": own(step("f = self.f(y)\nreturn [h[0] + 1.5 * f - 0.5 * h[2], f]"), AB2),
    "in place on f(y)": own(step("new = self.f(y).mul_(16 / 9).add_(h[0], alpha=1 / 3)\nreturn [new.add_(h[1], alpha=5 / 9).add_(h[2], alpha=1 / 9)]")),
    "a frozen parameter": own(step(RIGHT.replace("self.f(y)", "self.w * self.f(y)"), init="like = next(f.parameters(), torch.zeros(1))\nself.w = nn.Parameter(torch.ones_like(like.flatten()[:1]), requires_grad=False)")),
    "a number that is counted": own(step("self.calls += 1\n" + RIGHT, init="self.calls = 0")),
    "one product of all states": own(step("weights = torch.tensor([1 / 3, 5 / 9, 1 / 9], dtype=y.dtype, device=y.device)\nreturn [torch.einsum('j,jbchw->bchw', weights, torch.stack(h[:3])) + self.f(y) * (16 / 9)]")),
    "a step that knows its place": Unusual(code("", own=False, members="alpha, beta = (1,), (1,)\n" + PLACED), step("return [h[0] + self.f(y)]", init="self.number = place.number").replace("__init__(self, f)", "__init__(self, f, place)"), "{order: 1, stability: strong}"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_right_passes(install: Install, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Every check; what the import of a plugin takes is measured elsewhere."""
    plugin = UNUSUAL[name]
    folder = install("guest", plugin.scheme, TWO_MODELS.format(claim=plugin.claim))
    if plugin.step:
        write(folder, plugin.step)
    stabzoo.refresh()
    monkeypatch.setattr(runner, "CHECKS", tuple(check for check in CHECKS if check.name != "check_import_cost"))
    assert not check_discretization("guest").failures
