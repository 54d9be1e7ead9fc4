"""Solvers of y = b + weight f(y): verdicts that are true, sample by sample, and memory that is bounded."""

from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from fixtures.equations import ALL, Parabolic, Random
from fixtures.messages import raises
from stabzoo.implicit.report import SolveReport, Status
from stabzoo.implicit.settings import SolverSettings
from stabzoo.implicit.solve import solve

DOUBLE = torch.float64
pytestmark = pytest.mark.usefixtures("one_thread")


def true_residual(f: nn.Module, b: Tensor, weight: float, y: Tensor) -> Tensor:
    """||b + weight f(y) - y|| / ||b|| of each sample, in float64, independently of the solver."""
    kind = next(f.parameters()).dtype
    with torch.no_grad():
        f.double()
        r = b.double() + weight * f(y.double()) - y.double()
        f.to(kind)
    return r.flatten(1).norm(dim=1) / b.double().flatten(1).norm(dim=1)


def run(
    f: nn.Module, b: Tensor, method: str = "auto", weight: float = 1.0, **more: object
) -> tuple[Tensor, SolveReport]:
    """Solve from b."""
    return solve(f, b, weight, b, SolverSettings(method=method, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [torch.float32, DOUBLE])
@pytest.mark.parametrize("method", ALL)
def test_every_method_solves_a_mild_equation(method: str, kind: torch.dtype) -> None:
    """The returned iterate is the one whose residual was measured, and it is below the tolerance."""
    torch.manual_seed(0)
    b = torch.randn(3, 4, 8, 8, dtype=kind)
    for f in (Parabolic(4, 0.6).to(kind), Random(4, 0.5).eval().to(kind)):
        y, report = run(f, b, method)
        assert report.converged, report
        assert y.dtype == kind
        true = true_residual(f, b, 1.0, y)
        assert (true <= 1.01e-5).all()
        torch.testing.assert_close(report.residual.double(), true, rtol=0.05, atol=1e-8)


@pytest.mark.parametrize("norm", [1.5, 4.0, 10.0, 40.0])
def test_stiff_equations_are_solved(norm: float) -> None:
    """A monotone f has a solution at every step size, and the chain finds it where the plain iteration fails."""
    torch.manual_seed(0)
    b, f = torch.randn(2, 4, 12, 12), Parabolic(4, norm)
    y, report = run(f, b)
    assert report.converged
    assert (true_residual(f, b, 1.0, y) <= 1.01e-5).all()
    plain, failed = run(f, b, "fixed_point")
    assert failed.failed.all()
    assert (true_residual(f, b, 1.0, plain) > 1e-5).all()


@pytest.mark.parametrize(
    "values", [(-0.9, -0.5, 0.3), (-8.0, -3.0, -1.0, 0.1), (-2.0, -1.5, -1.0, -0.5, 0.2, 0.4, 0.6)]
)
def test_anderson_acceleration_of_a_linear_equation_spans_its_krylov_space(values: tuple[float, ...]) -> None:
    """With k different eigenvalues k differences determine the solution: k + 2 evaluations, whatever the mixing."""
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(40, 40, dtype=DOUBLE))[0]
    f = nn.Linear(40, 40, bias=False, dtype=DOUBLE)
    f.weight.data = basis @ torch.tensor([values[i % len(values)] for i in range(40)], dtype=DOUBLE).diag() @ basis.T
    b = torch.randn(3, 40, dtype=DOUBLE)
    y, report = run(f, b, "anderson", rtol=1e-8)
    assert report.converged
    assert report.evaluations == len(values) + 2
    torch.testing.assert_close(y, torch.linalg.solve(torch.eye(40, dtype=DOUBLE) - f.weight, b.T).T)


def test_newton_krylov_helps_where_anderson_acceleration_stalls() -> None:
    """An oscillatory f, whose spectrum is imaginary: the chain turns to the method that converges."""
    torch.manual_seed(0)
    matrix = torch.randn(60, 60, dtype=DOUBLE)
    skew = nn.Linear(60, 60, bias=False, dtype=DOUBLE)
    skew.weight.data = 3 * (matrix - matrix.T) / 2
    b = torch.randn(2, 60, dtype=DOUBLE)
    y, report = run(skew, b, max_evaluations=1000)
    assert report.converged
    assert run(skew, b, "anderson", max_evaluations=1000)[1].failed.any()
    torch.testing.assert_close(
        y, torch.linalg.solve(torch.eye(60, dtype=DOUBLE) - skew.weight, b.T).T, rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("kind", [torch.float32, DOUBLE])
@pytest.mark.parametrize("method", ALL)
def test_an_equation_without_solution_is_never_solved(method: str, kind: torch.dtype) -> None:
    """There is none of y = b + sqrt(1 + y^2) for b > 0, though ||r|| / ||f(y)|| tends to 0 as y grows."""

    class Hyperbola(nn.Module):
        def forward(self, y: Tensor) -> Tensor:
            return torch.sqrt(1 + y * y)

    b = torch.linspace(0.5, 2, 6, dtype=kind)[:, None] * torch.ones(6, 5, dtype=kind)
    _, report = run(Hyperbola(), b, method, max_evaluations=400)
    assert report.failed.all(), report


@pytest.mark.parametrize("method", ALL)
def test_a_sample_that_overflows_beside_another_gives_a_verdict_and_no_warning(method: str) -> None:
    """Infinities meet zeros in the small systems of the batch: numpy would warn, and warnings are errors here."""
    b = torch.tensor([[0.1] * 4, [1e6] * 4])
    y, report = solve(lambda y: y**3, b, 1.0, b, SolverSettings(method=method))  # type: ignore[arg-type]
    assert report.status[0] == Status.CONVERGED
    assert torch.allclose(y[0], b[0] + y[0] ** 3, atol=1e-5)
    assert y.isfinite().all()


@pytest.mark.parametrize("method", ALL)
def test_overflow_is_not_finite_and_the_best_iterate_is_returned(method: str) -> None:
    """Sample 1 overflows; sample 0 is solved as if it were alone."""

    class Explosive(nn.Module):
        def forward(self, y: Tensor) -> Tensor:
            return torch.where(y.abs() > 10, 1e30 * y * y, 0.1 * torch.sin(y))

    b = torch.cat([torch.ones(1, 5), 20 * torch.ones(1, 5)])
    y, report = run(Explosive(), b, method)
    assert report.status[0] == Status.CONVERGED
    assert report.status[1] in (Status.NONFINITE, Status.DIVERGED, Status.STAGNATED)
    assert y.isfinite().all()


UNSOLVABLE = {
    "y + 1": lambda y: y + 1,
    "sqrt(1 + y^2)": lambda y: torch.sqrt(1 + y * y),
    "y^2": lambda y: y * y,
    "exp(y)": torch.exp,
    "a reflection": lambda y: y.flip(-1),
}


@pytest.mark.parametrize("kind", [torch.float32, DOUBLE])
@pytest.mark.parametrize("f", UNSOLVABLE.values(), ids=list(UNSOLVABLE))
def test_an_equation_without_solution_is_called_so(f: Callable[[Tensor], Tensor], kind: torch.dtype) -> None:
    """The residual that is reported is that of an iterate at which rounding lets it be known."""
    b = torch.linspace(0.5, 2, 6, dtype=kind)[:, None] * torch.ones(6, 5, dtype=kind)
    y, report = solve(f, b, 1.0, b, SolverSettings())
    assert report.counts() == {"no_solution_near": 6}
    r = (b + f(y) - y).double().norm(dim=1) / b.double().norm(dim=1)
    torch.testing.assert_close(report.residual.double(), r, rtol=1e-3, atol=0)
    assert (r > 0.4).all()
    assert (report.floor < 1e-2).all()
    with torch.inference_mode():  # has no gradients to tell a minimum by
        _, report = solve(f, b, 1.0, b, SolverSettings())
    assert report.failed.all()


@pytest.mark.parametrize("rate", [0.99, -0.99, 1 - 1e-6])
def test_a_far_solution_is_found_where_rounding_lets_it(rate: float) -> None:
    """Y = b / (1 - rate), up to a million times b."""
    b = torch.linspace(0.5, 2, 6, dtype=DOUBLE)[:, None] * torch.ones(6, 5, dtype=DOUBLE)
    y, report = solve(lambda y: rate * y, b, 1.0, b, SolverSettings(rtol=1e-8))
    assert report.converged
    torch.testing.assert_close(y, b / (1 - rate), rtol=1e-5, atol=0)


@pytest.mark.parametrize("norm", [10.0, 40.0, 100.0])
@pytest.mark.parametrize("method", ["auto", "anderson"])
def test_a_stiff_solve_that_ends_at_the_floor_says_so(method: str, norm: float) -> None:
    """The floor of a stiff equation is that of y, times the norm of I - J."""
    torch.manual_seed(0)
    b, f = torch.randn(2, 4, 12, 12), Parabolic(4, norm)
    _, report = run(f, b, method, rtol=3e-8, max_evaluations=600)
    assert report.counts() == {"floor_limited": 2}
    assert (report.residual < 1e-6 * norm).all()
    assert (report.residual < 16 * report.floor).all()


@pytest.mark.parametrize("norm", [0.9, 10.0, 40.0, 400.0])
def test_the_chain_needs_no_more_than_its_newton(norm: float) -> None:
    """By a tenth, in evaluations; at 400 in float32 Newton alone finds nothing, for differences of f are too coarse."""
    torch.manual_seed(0)
    b, f = torch.randn(2, 4, 12, 12), Parabolic(4, norm)
    _, chain = run(f, b, max_evaluations=600)
    _, newton = run(f, b, "newton_krylov", max_evaluations=600)
    assert chain.converged
    assert chain.evaluations <= 1.1 * newton.evaluations


@pytest.mark.parametrize(("states", "scale"), [(20, 0.3), (20, 1.0), (20, 3.0), (60, 1.0), (60, 3.0), (200, 1.0)])
def test_the_chain_needs_no_more_than_its_newton_for_oscillators(states: int, scale: float) -> None:
    """An imaginary spectrum shows in the first difference: two evaluations are lost, and of each sample on its own."""
    torch.manual_seed(0)
    draw = torch.randn(states, states, dtype=DOUBLE)
    oscillators = nn.Linear(states, states, bias=False, dtype=DOUBLE)
    oscillators.weight.data = scale * (draw - draw.T) / 2
    b = torch.randn(2, states, dtype=DOUBLE)
    y, chain = run(oscillators, b, max_evaluations=1000)
    _, newton = run(oscillators, b, "newton_krylov", max_evaluations=1000)
    assert chain.converged
    assert chain.evaluations <= 1.1 * newton.evaluations
    torch.testing.assert_close(run(oscillators, b[:1], max_evaluations=1000)[0], y[:1], rtol=1e-5, atol=1e-6)


def test_tolerances() -> None:
    """What is given holds always; what is not is tied to the noise of a batch's gradient in training."""
    assert SolverSettings().resolved(batch=64) == (1e-5, 1e-5)
    assert SolverSettings().resolved(training=True, batch=1) == (1e-2, 1e-2)
    assert SolverSettings().resolved(training=True, batch=10_000) == (1e-3, 1e-3)
    assert SolverSettings(rtol=1e-7).resolved(training=True, batch=64) == (1e-7, 1e-7)
    assert SolverSettings(backward_rtol=1e-3).resolved(batch=64) == (1e-5, 1e-3)


def test_nan_is_not_finite() -> None:
    """In the input, of one sample only."""
    b = torch.randn(3, 4, 8, 8)
    b[1, 0, 0, 0] = float("nan")
    _, report = run(Parabolic(4, 0.6), b)
    assert report.counts() == {"converged": 2, "nonfinite": 1}


def test_a_tolerance_below_rounding_is_floor_limited() -> None:
    """Not converged, and the floor tells what is attainable."""
    b = torch.randn(2, 4, 8, 8)
    _, report = run(Parabolic(4, 0.6), b, rtol=1e-9)
    assert (report.status == Status.FLOOR_LIMITED).all()
    assert (report.residual < 10 * report.floor).all()
    assert (report.floor > 1e-9).all()


def test_a_limit_of_evaluations_is_kept() -> None:
    """By every method, and it is what the failure is called."""
    b = torch.randn(2, 4, 8, 8)
    for method in ALL:
        calls = 0
        f = Parabolic(4, 10.0)

        def counted(y: Tensor, f: nn.Module = f) -> Tensor:
            nonlocal calls
            calls += 1
            return f(y)

        _, report = solve(counted, b, 1.0, b, SolverSettings(method=method, max_evaluations=7))  # type: ignore[arg-type]
        assert (report.status == Status.MAX_EVALUATIONS).all(), (method, report)
        assert calls <= report.evaluations <= 9  # the last line search or gradient may take two more


@pytest.mark.parametrize("norm", [0.9, 4.0])
@pytest.mark.parametrize("method", ALL)
def test_a_sample_alone_has_the_solution_that_it_has_in_a_batch(method: str, norm: float) -> None:
    """To rounding, though the samples of the batch need different numbers of iterations.

    f is evaluated sample by sample here: convolutions of a batch round differently from those of one image.
    """
    torch.manual_seed(0)
    b = torch.randn(4, 4, 8, 8) * torch.tensor([0.01, 0.1, 1, 10])[:, None, None, None]
    f = Parabolic(4, norm)

    class OneByOne(nn.Module):
        def forward(self, y: Tensor) -> Tensor:
            return torch.cat([f(sample[None]) for sample in y])

    together, _ = run(OneByOne(), b, method)
    for i in range(4):
        alone, _ = run(OneByOne(), b[i : i + 1], method)
        assert (alone[0] - together[i]).norm() <= 1e-7 * together[i].norm()


def test_the_error_bound_holds() -> None:
    """||y - y*|| <= ||r|| / (1 - weight mu), with mu = 0 known."""
    torch.manual_seed(0)
    f, b = Parabolic(4, 4.0).double(), torch.randn(3, 4, 8, 8, dtype=DOUBLE)
    exact, _ = run(f, b, rtol=1e-13)
    for rtol in (1e-2, 1e-4, 1e-6):
        y, report = solve(f, b, 1.0, b, SolverSettings(rtol=rtol), mu=0.0)
        error = (y - exact).flatten(1).norm(dim=1) / b.flatten(1).norm(dim=1)
        assert report.error_bound is not None
        assert (error <= report.error_bound).all()
        assert (report.error_bound <= 6 * error).all()  # 1 + norm at most
    assert run(f, b)[1].error_bound is None


def test_unknown_options_are_refused() -> None:
    """And so are impossible values."""
    for wrong in ({"tolerance": 1e-3}, {"method": "simple"}, {"rtol": 0}, {"max_evaluations": 0}, {"backward": "cg"}):
        with pytest.raises(ValidationError):
            SolverSettings(**wrong)  # type: ignore[arg-type]


def test_an_empty_batch_and_a_zero_one() -> None:
    """Nothing to solve, and b = 0, whose residual cannot be relative to it."""
    _, report = run(Parabolic(4, 0.6), torch.empty(0, 4, 8, 8))
    assert report.converged
    _, report = run(Parabolic(4, 0.6), torch.zeros(2, 4, 8, 8))
    assert report.converged


def test_transformed_tensors_are_refused() -> None:
    """A solve decides by values; the step around the equation takes them."""
    f = Parabolic(2, 0.6).eval()

    def solved(b: Tensor) -> Tensor:
        return solve(f, b, 1.0, b, SolverSettings())[0]

    with raises(NotImplementedError, "torch.func", "ImplicitStep"):
        torch.func.vmap(solved)(torch.randn(3, 1, 2, 4, 4))
