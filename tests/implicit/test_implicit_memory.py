"""Memory of implicit steps: it does not grow with the number of iterations, whatever the solver."""

import warnings
from itertools import accumulate
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from fixtures.equations import ALL, Parabolic
from stabzoo import LinearMultistep, SolverSettings
from stabzoo.implicit.report import ConvergenceWarning
from stabzoo.implicit.solvers import anderson, gmres
from stabzoo.implicit.step import ImplicitStep

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),  # of the profiler
]


def peak(settings: SolverSettings) -> int:
    """Bytes allocated at the peak of a forward and backward pass of a stiff step."""
    torch.manual_seed(0)
    f, x = Parabolic(8, 40.0), torch.randn(2, 8, 40, 40, requires_grad=True)
    step = ImplicitStep(f, LinearMultistep((1,), (0,), 1), settings)

    def run() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            step(x, [x]).square().sum().backward()

    run()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    assert step.report.forward is not None
    events: Any = record.profiler.kineto_results.events()  # type: ignore[union-attr]
    memory = sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns())
    return max(accumulate(e.nbytes() for e in memory))


@pytest.mark.parametrize("backward", ["auto", "neumann"])
@pytest.mark.parametrize("method", ALL)
def test_memory_does_not_grow_with_the_iterations(method: str, backward: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """50 evaluations and products take no more than 10 do, within one percent."""
    for module in (anderson, gmres):  # the profiler does not see what numpy allocates
        monkeypatch.setattr(module, "workspace", lambda like, *shape: like.new_empty(shape))
    few, many = (
        peak(SolverSettings(method=method, backward=backward, max_evaluations=limit))  # type: ignore[arg-type]
        for limit in (10, 50)
    )
    assert many <= 1.01 * few
