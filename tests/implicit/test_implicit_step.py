"""Implicit steps: the formulas of the schemes through the layer, exact gradients, one f throughout a step."""

import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from fixtures.equations import Parabolic, Random
from fixtures.messages import raises, warns
from stabzoo import ImplicitMultistep, LinearMultistep, SolverSettings
from stabzoo.implicit.report import ConvergenceWarning, SolverError, Status
from stabzoo.implicit.settings import TRACED_ITERATIONS
from stabzoo.implicit.step import ImplicitStep, off_the_record, solver_report
from stabzoo.networks.past import returned
from stabzoo.networks.resnet import DiscretizedResNet
from stabzoo.networks.steps import MultistepStep

DOUBLE = torch.float64
TIGHT = SolverSettings(rtol=1e-12)
pytestmark = pytest.mark.usefixtures("one_thread")


def theta_method(theta: Fraction | int | str) -> LinearMultistep:
    """The theta method."""
    theta = Fraction(theta)
    return LinearMultistep((1,), (1 - theta,), theta)


BACKWARD_EULER, TRAPEZOIDAL = theta_method(1), theta_method("1/2")
BDF2 = LinearMultistep(("4/3", "-1/3"), (0,), "2/3")
ADAMS_MOULTON_3 = LinearMultistep((1, 0), ("2/3", "-1/12"), "5/12")


class Linear(nn.Module):
    """f(y) = A y of (B, n)."""

    def __init__(self, matrix: Any) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.as_tensor(matrix, dtype=DOUBLE))

    def forward(self, y: Tensor) -> Tensor:
        """(B, n) -> (B, n)."""
        return y @ self.matrix.T


class Smooth(nn.Module):
    """A smooth branch with batch norms and dropout."""

    def __init__(self, channels: int = 3, gain: float = 0.3, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.gain, self.calls = gain, 0

    def forward(self, y: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        self.calls += 1
        y = self.conv1(torch.tanh(self.norm1(y)))
        return self.gain * self.conv2(self.dropout(torch.tanh(self.norm2(y))))


def smooth(seed: int = 0, **options: Any) -> Smooth:
    """The branch in float64."""
    torch.manual_seed(seed)
    return Smooth(**options).double()


def stability_function(z: complex, theta: float) -> complex:
    """R(z) of the theta method and of its one-leg twin."""
    return (1 + (1 - theta) * z) / (1 - theta * z)


@pytest.mark.parametrize("one_leg", [False, True])
@pytest.mark.parametrize("theta", ["1/4", "1/2", "3/4", "1"])
def test_the_stability_function_through_the_layer(theta: str, one_leg: bool) -> None:
    """On the oscillator, q from 0.01 to 100, the step multiplies eigenvectors by R(+-iq)."""
    for q in (0.01, 0.1, 0.5, 1.0, 2.1, 3.0, 10.0, 100.0):
        step = ImplicitStep(Linear([[0, -q], [q, 0]]), theta_method(theta), TIGHT, one_leg=one_leg)
        y = torch.tensor([[1.0, 0.0], [0.3, -2.0]], dtype=DOUBLE)
        new = step(y, [y])
        factor = stability_function(1j * q, float(Fraction(theta)))
        expected = torch.view_as_real(torch.view_as_complex(y) * factor)
        assert (new - expected).norm() <= 1e-11 * expected.norm()
        assert step.report.failures == {}


def test_one_leg_differs_on_a_nonlinear_f() -> None:
    """It solves y = x + F((1-theta) x + theta y); theta = 1 is backward Euler in either form."""
    f, x = smooth().eval(), torch.randn(2, 3, 4, 4, dtype=DOUBLE)
    for theta in ("1/4", "1/2", "1"):
        weight = float(Fraction(theta))
        leg = ImplicitStep(f, theta_method(theta), TIGHT, one_leg=True)(x, [x])
        torch.testing.assert_close(leg, x + f((1 - weight) * x + weight * leg), rtol=1e-9, atol=1e-9)
        mean = ImplicitStep(f, theta_method(theta), TIGHT)(x, [x])
        torch.testing.assert_close(mean, x + (1 - weight) * f(x) + weight * f(mean), rtol=1e-9, atol=1e-9)
        assert torch.allclose(leg, mean, rtol=1e-9) == (theta == "1")
    assert ImplicitStep(f, TRAPEZOIDAL, one_leg=True).report.solves == 0


def test_theta_zero_is_the_explicit_step() -> None:
    """Bit by bit, as a module and as a scheme."""

    class Theta(ImplicitMultistep):
        name = "zero"
        alpha, beta, beta_next = (1,), (1,), 0

    f, x = Random(3, 0.5), torch.randn(2, 3, 6, 6)
    explicit = Theta().block(f)
    assert type(explicit) is MultistepStep
    for one_leg in (False, True):
        f.eval()
        new = ImplicitStep(f, theta_method(0), one_leg=one_leg)(x, [x])
        assert torch.equal(new, x + f(x))


@pytest.mark.parametrize(("method", "order"), [(BACKWARD_EULER, 1), (TRAPEZOIDAL, 2), (BDF2, 2), (ADAMS_MOULTON_3, 3)])
def test_schemes_converge_with_their_order(method: LinearMultistep, order: int) -> None:
    """On y' = A y, with exact starting values, halving the step divides the error by 2^order."""
    matrix = torch.tensor([[-1.0, 2.0], [-2.0, -0.5]], dtype=DOUBLE)
    start = torch.tensor([[1.0, 0.5]], dtype=DOUBLE)

    def exact(t: float) -> Tensor:
        return start @ torch.linalg.matrix_exp(matrix * t).T

    errors = []
    for n in (20, 40):
        h = 1 / n
        step = ImplicitStep(Linear(h * matrix), method, TIGHT)
        states = [exact(h * (method.steps - 1 - j)) for j in range(method.steps)]
        slopes = [h * state @ matrix.T for state in states[1:]][: step.slopes]
        for _ in range(n - method.steps + 1):
            new, *f = returned(step(states[0], states + slopes))
            states, slopes = [new, *states[:-1]], [*f, *slopes][: step.slopes]
        errors.append((states[0] - exact(1.0)).norm().item())
    assert abs(errors[0] / errors[1] - 2**order) < 0.15 * 2**order


@pytest.mark.parametrize("theta", ["1/2", "1"])
@pytest.mark.parametrize("steps", [1, 3, 6])
def test_truncation_makes_the_stability_function_a_polynomial(theta: str, steps: int) -> None:
    """R_K of K fixed-point steps from x: A-stability is lost, whatever the scheme is called."""
    w = float(Fraction(theta))
    settings = SolverSettings(fixed_iterations=steps)
    for z in (-0.5, -3.0, -100.0):
        step = ImplicitStep(Linear([[z]]), theta_method(theta), settings)
        y = torch.ones(1, 1, dtype=DOUBLE)
        new = step(y, [y])
        expected = (1 + (1 - w) * z) * (1 - (w * z) ** steps) / (1 - w * z) + (w * z) ** steps
        assert new.item() == pytest.approx(expected, rel=1e-12)
    assert abs(new.item()) > 1  # at z = -100
    solved = ImplicitStep(Linear([[-100.0]]), theta_method(theta), TIGHT)(y, [y])[0]
    assert abs(solved.item()) <= 1


def dense_gradients(f: nn.Module, method: LinearMultistep, x: Tensor, y: Tensor, g: Tensor) -> list[Tensor]:
    """dL/dx and dL/dp by the implicit function theorem with the Jacobian of each sample as a matrix."""
    w, rest = float(method.beta_next), float(method.beta[0])
    v = torch.empty_like(y)
    for i in range(len(y)):
        jacobian = torch.autograd.functional.jacobian(lambda u: f(u[None])[0], y[i])
        matrix = torch.eye(y[i].numel(), dtype=DOUBLE) - w * jacobian.reshape(y[i].numel(), -1)
        v[i] = torch.linalg.solve(matrix.T, g[i].flatten()).view_as(g[i])
    x = x.detach().requires_grad_()
    parameters = list(f.parameters())
    known = x + rest * f(x) + w * f(y.detach())
    return list(torch.autograd.grad(known, [x, *parameters], v))


@pytest.mark.parametrize("backward", ["auto", "gmres", "neumann"])
@pytest.mark.parametrize("method", [BACKWARD_EULER, TRAPEZOIDAL])
@pytest.mark.parametrize("norm", [0.5, 0.9, 4.0])
@pytest.mark.parametrize("family", [Parabolic, Random])
def test_gradients_against_the_dense_jacobian(
    family: Callable[..., nn.Module], norm: float, method: LinearMultistep, backward: str
) -> None:
    """To 1e-6, with an adjoint tolerance of 1e-6; a series that cannot converge says so."""
    f = family(4, norm if family is Parabolic else norm / 3).double().eval()
    torch.manual_seed(1)
    x, g = torch.randn(2, 4, 6, 6, dtype=DOUBLE, requires_grad=True), torch.randn(2, 4, 6, 6, dtype=DOUBLE)
    settings = SolverSettings(rtol=1e-10, backward_rtol=1e-6, backward=backward)  # type: ignore[arg-type]
    step = ImplicitStep(f, method, settings)
    y = step(x, [x])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ConvergenceWarning)
        found = torch.autograd.grad(y, [x, *f.parameters()], g)
    expected = dense_gradients(f, method, x, y, g)
    error = torch.stack([(a - b).norm() for a, b in zip(found, expected, strict=True)]).norm()
    relative = error / torch.stack([b.norm() for b in expected]).norm()
    if backward == "neumann" and family is Parabolic and norm * float(method.beta_next) > 1:
        assert step.report.backward_failures
        assert len(said) == 1
    else:
        assert relative <= 1e-6
        assert not said


@pytest.mark.parametrize("scale", [1e-12, 1e-9, 1e6])
def test_gradients_do_not_depend_on_the_scale_of_the_loss(scale: float) -> None:
    """In float32 too: the adjoint tolerance is relative to each sample's gradient."""
    f = Parabolic(4, 0.9)
    torch.manual_seed(1)
    x, g = torch.randn(2, 4, 6, 6, requires_grad=True), torch.randn(2, 4, 6, 6)
    g[1] *= 1e-6
    y = ImplicitStep(f, BACKWARD_EULER)(x, [x])
    plain = torch.autograd.grad(y, [x, *f.parameters()], g, retain_graph=True)
    scaled = torch.autograd.grad(y, [x, *f.parameters()], scale * g)
    for a, b in zip(plain, scaled, strict=True):
        torch.testing.assert_close(a, b / scale, rtol=1e-5, atol=1e-6 * a.abs().max().item())


@pytest.mark.parametrize("one_leg", [False, True])
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("method", [BACKWARD_EULER, TRAPEZOIDAL])
def test_first_and_second_derivatives_against_differences(method: LinearMultistep, train: bool, one_leg: bool) -> None:
    """In x and all parameters at once; in training through the batch statistics and with frozen masks."""
    f = smooth(dropout=0.3).train(train)
    step = ImplicitStep(f, method, TIGHT, one_leg=one_leg)
    x = torch.randn(2, 3, 4, 4, dtype=DOUBLE, requires_grad=True)
    variables = [x, *f.parameters()]
    directions = [torch.randn_like(v) for v in variables]

    def loss() -> Tensor:
        torch.manual_seed(5)  # the same masks
        return (step(x, [x]) ** 3).sum()

    def at(t: float) -> tuple[Tensor, tuple[Tensor, ...]]:
        with torch.no_grad():
            for v, d in zip(variables, directions, strict=True):
                v.add_(d, alpha=t)
        value = loss()
        gradient = torch.autograd.grad(value, variables)
        with torch.no_grad():
            for v, d in zip(variables, directions, strict=True):
                v.add_(d, alpha=-t)
        return value.detach(), gradient

    gradient = torch.autograd.grad(loss(), variables, create_graph=True)
    slope = torch.stack([(a * d).sum() for a, d in zip(gradient, directions, strict=True)]).sum()
    curvature = torch.autograd.grad(slope, variables)
    e = 1e-5
    (above, up), (below, down) = at(e), at(-e)
    assert slope.item() == pytest.approx(((above - below) / (2 * e)).item(), rel=1e-6)
    found = torch.cat([c.flatten() for c in curvature])
    expected = torch.cat([((a - b) / (2 * e)).flatten() for a, b in zip(up, down, strict=True)])
    assert (found - expected).norm() <= 1e-6 * expected.norm()


def test_gradients_reach_the_whole_history() -> None:
    """All states and slopes of a two-step scheme, against differences."""
    f = smooth().eval()
    step = ImplicitStep(f, ADAMS_MOULTON_3, TIGHT)
    entries = [torch.randn(2, 3, 2, 2, dtype=DOUBLE, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda *h: step(h[0], list(h)), entries, atol=1e-7, rtol=1e-5)
    gradient = torch.autograd.grad(returned(step(entries[0], entries))[0].square().sum(), entries)
    assert all(g.abs().sum() > 0 for g in (gradient[0], gradient[2]))


def test_batch_statistics_are_measured_and_counted_once() -> None:
    """Those of f(x), as the explicit step counts them, however many evaluations a solve takes."""
    torch.manual_seed(0)
    x = torch.randn(4, 3, 6, 6, dtype=DOUBLE)
    for method in (BACKWARD_EULER, TRAPEZOIDAL):
        f, reference = smooth(), smooth()
        step = ImplicitStep(f, method, TIGHT)
        step(x, [x]).sum().backward()
        reference(x.contiguous(memory_format=torch.channels_last))  # a sum in the order that f sees
        assert f.calls > 5
        for (name, ours), theirs in zip(f.named_buffers(), reference.buffers(), strict=True):
            assert torch.equal(ours, theirs), name
        step(x, [x])
        assert f.norm1.num_batches_tracked == 2


def test_the_solved_equation_is_the_one_with_the_statistics_of_x() -> None:
    """It is y = x + F(y), where F normalises by the statistics of f(x)."""
    f, x = smooth(), torch.randn(4, 3, 6, 6, dtype=DOUBLE)
    y = ImplicitStep(f, BACKWARD_EULER, TIGHT)(x, [x])
    frozen = smooth()
    for norm in (frozen.norm1, frozen.norm2):
        norm.momentum = 1.0
    frozen(x)
    for name in ("norm1", "norm2"):  # running variances are unbiased ones
        count = x.numel() / x.shape[1]
        getattr(frozen, name).running_var.mul_((count - 1) / count)
    frozen.eval()
    torch.testing.assert_close(y, x + frozen(y), rtol=1e-9, atol=1e-9)


def test_masks_are_drawn_once() -> None:
    """A solve with dropout converges, and draws from the generator as much as one evaluation does."""
    f, x = smooth(dropout=0.5), torch.randn(4, 3, 6, 6, dtype=DOUBLE, requires_grad=True)
    step = ImplicitStep(f, BACKWARD_EULER, TIGHT)
    torch.manual_seed(3)
    y = step(x, [x])
    after = torch.get_rng_state()
    y.sum().backward()
    assert torch.equal(torch.get_rng_state(), after)
    torch.manual_seed(3)
    f(x)
    assert torch.equal(torch.get_rng_state(), after)
    assert step.report.failures == {}
    assert step.report.backward_failures == {}


def test_a_change_of_mode_before_the_backward_is_an_error() -> None:
    """The function that was solved is no longer there."""
    f, x = smooth(), torch.randn(4, 3, 6, 6, dtype=DOUBLE, requires_grad=True)
    y = ImplicitStep(f, BACKWARD_EULER)(x, [x])
    f.eval()
    with raises(RuntimeError, "mode", "backward()", "train() or eval()"):
        y.sum().backward()


def transforms(step: ImplicitStep, x: Tensor) -> dict[str, Callable[[], Any]]:
    """Every transform of torch.func, in the state and in the parameters, of L = sum y^2."""
    weights = {name: p.detach() for name, p in step.named_parameters()}
    two = {name: torch.stack([p, p]) for name, p in weights.items()}

    def past(x: Tensor) -> list[Tensor]:
        return [x, x.sin()][: len(step.alpha)]

    def loss(x: Tensor) -> Tensor:
        return step(x, past(x)).square().sum()

    def of_weights(weights: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(step, weights, (x, past(x))).square().sum()

    return {
        "grad": lambda: torch.func.grad(loss)(x),
        "grad of weights": lambda: torch.func.grad(of_weights)(weights),
        "vjp": lambda: torch.func.vjp(loss, x)[1](torch.tensor(1.0)),
        "jvp": lambda: torch.func.jvp(loss, (x,), (x,)),
        "jvp of weights": lambda: torch.func.jvp(of_weights, (weights,), (weights,)),
        "jacrev": lambda: torch.func.jacrev(loss)(x),
        "jacfwd": lambda: torch.func.jacfwd(loss)(x),
        "hessian": lambda: torch.func.hessian(loss)(x),
        "vmap": lambda: torch.func.vmap(lambda s: loss(s[None]))(x),
        "vmap of weights": lambda: torch.func.vmap(of_weights)(two),
        "gradients of samples": lambda: torch.func.vmap(torch.func.grad(lambda s: loss(s[None])))(x),
    }


TRANSFORMS = list(transforms(ImplicitStep(nn.Identity(), BACKWARD_EULER), torch.zeros(1)))


FORWARD_MODE = pytest.mark.filterwarnings(  # of torch itself
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore:Attempted to insert a get_attr Node"
)


@FORWARD_MODE
@pytest.mark.parametrize("method", [BACKWARD_EULER, TRAPEZOIDAL, BDF2], ids=["backward Euler", "trapezoidal", "BDF2"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_of_a_solved_step_are_those_of_its_iteration(name: str, method: LinearMultistep) -> None:
    """60 contractions by 0.6 leave 5e-14 of an error, and every transform takes them as the arithmetic they are."""
    x = torch.randn(2, 2, 4, 4, dtype=DOUBLE)
    f = Parabolic(2, 0.6).to(DOUBLE).eval()
    solved = transforms(ImplicitStep(f, method, SolverSettings(rtol=1e-11)).eval(), x)[name]()
    iterated = transforms(ImplicitStep(f, method, SolverSettings(fixed_iterations=60)).eval(), x)[name]()
    torch.testing.assert_close(solved, iterated, rtol=1e-7, atol=1e-8)


@FORWARD_MODE
def test_what_records_its_arithmetic_takes_fixed_iterations() -> None:
    """``make_fx`` and `torch.func.linearize`: a recorded solve would decide for other tangents by those recorded."""
    x = torch.randn(2, 2, 4, 4, dtype=DOUBLE)
    f = Parabolic(2, 0.6).to(DOUBLE).eval()
    step = ImplicitStep(f, BACKWARD_EULER, SolverSettings(rtol=1e-11)).eval()
    fixed = ImplicitStep(f, BACKWARD_EULER, SolverSettings(fixed_iterations=TRACED_ITERATIONS)).eval()
    for of in (
        lambda step: torch.func.linearize(lambda x: step(x, [x]), x)[1](x),
        lambda step: make_fx(step)(x, [x])(x, [x]),
    ):
        torch.testing.assert_close(of(step), of(fixed), rtol=0, atol=0)
    assert (step.report.solves, step.report.unchecked) == (1, 2)  # linearize takes the value apart from its record


@FORWARD_MODE
def test_forward_mode_of_a_solved_step() -> None:
    """A dual number's tangent is J t, as the transpose of the reverse mode has it."""
    x, t = torch.randn(2, 4, 6, 6, dtype=DOUBLE), torch.randn(2, 4, 6, 6, dtype=DOUBLE)
    step = ImplicitStep(Parabolic(4, 0.6).to(DOUBLE), BACKWARD_EULER, SolverSettings(rtol=1e-11)).eval()
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, t)
        found = torch.autograd.forward_ad.unpack_dual(step(dual, [dual])).tangent
    expected = torch.autograd.functional.jvp(lambda y: step(y, [y]), x, t)[1]
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-8)


def test_several_gradients_at_once() -> None:
    """By ``torch.func.vmap`` they are those taken one by one; the older ``is_grads_batched`` is refused by name."""
    x = torch.randn(2, 4, 6, 6, dtype=DOUBLE, requires_grad=True)
    y = ImplicitStep(Parabolic(4, 0.6).to(DOUBLE), BACKWARD_EULER, SolverSettings(rtol=1e-11)).eval()(x, [x])
    gradients = torch.randn(3, *y.shape, dtype=DOUBLE)
    found = torch.func.vmap(lambda g: torch.autograd.grad(y, x, g, retain_graph=True)[0])(gradients)
    expected = torch.stack([torch.autograd.grad(y, x, g, retain_graph=True)[0] for g in gradients])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    with raises(NotImplementedError, "one gradient", "is_grads_batched", "torch.func.vmap"):
        torch.autograd.grad(y, x, gradients, is_grads_batched=True)


def test_transforms_in_training_mode_are_refused() -> None:
    """A step in training mode changes its running statistics, once: a transform would run it again."""
    x = torch.randn(2, 3, 6, 6, dtype=DOUBLE)
    step = ImplicitStep(smooth(), BACKWARD_EULER, name="blocks.1")
    with raises(NotImplementedError, "blocks.1", "evaluation mode", "eval()", "backward()"):
        torch.func.grad(lambda x: step(x, [x]).sum())(x)
    step.eval()
    pull = torch.func.vjp(lambda x: step(x, [x]).sum(), x)[1]
    step.train()
    with raises(RuntimeError, "mode", "train() or eval()"):
        pull(torch.ones((), dtype=DOUBLE))


def test_gradients_of_samples_of_a_whole_network() -> None:
    """`torch.func.vmap` of `torch.func.grad` over the weights: those of one image after the other."""
    model = timm.create_model("implicit_resnet20", solver=SolverSettings(rtol=1e-7)).to(DOUBLE).eval()
    weights = dict(model.named_parameters())
    images = torch.randn(2, 3, 16, 16, dtype=DOUBLE)

    def loss(weights: dict[str, Tensor], image: Tensor) -> Tensor:
        return torch.func.functional_call(model, weights, (image[None],)).square().sum()

    found = torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, images)
    for i, image in enumerate(images):
        single = torch.autograd.grad(loss(weights, image), list(weights.values()))
        for (name, value), expected in zip(found.items(), single, strict=True):
            torch.testing.assert_close(
                value[i], expected, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
            )


def test_functional_call_has_the_derivatives_of_the_weights_given() -> None:
    """By backward(), without a transform."""
    x = torch.randn(2, 4, 6, 6)
    step = ImplicitStep(Parabolic(4, 0.6), BACKWARD_EULER, SolverSettings(rtol=1e-6))
    given = {name: (2 * p.detach()).requires_grad_() for name, p in step.named_parameters()}
    found = torch.autograd.grad(torch.func.functional_call(step, given, (x, [x])).sum(), list(given.values()))
    with torch.no_grad():
        for p in step.parameters():
            p.mul_(2)
    expected = torch.autograd.grad(step(x, [x]).sum(), list(step.parameters()))
    torch.testing.assert_close(found, expected)


def test_a_training_solves_as_far_as_its_gradient_is_known() -> None:
    """A hundredth in training, 1e-5 in evaluation, what is given in both; errors of gradients are of that size."""
    torch.manual_seed(0)
    x, g = (torch.randn(4, 3, 6, 6, dtype=DOUBLE) for _ in range(2))

    def gradient(settings: SolverSettings, train: bool) -> tuple[Tensor, ImplicitStep]:
        f = smooth(gain=2.0).train(train)
        step = ImplicitStep(f, BACKWARD_EULER, settings)
        step(x, [x]).backward(g)
        return torch.cat([p.grad.flatten() for p in f.parameters() if p.grad is not None]), step

    for train, least, most in ((True, 1e-5, 1e-1), (False, 0.0, 1e-4)):
        exact, _ = gradient(TIGHT, train)
        found, step = gradient(SolverSettings(), train)
        assert least < (found - exact).norm() / exact.norm() < most
        given, _ = gradient(SolverSettings(rtol=1e-9), train)
        assert (given - exact).norm() < 1e-7 * exact.norm()
        assert step.report.failures == {}


def test_training_twice_is_the_same_to_the_last_bit() -> None:
    """No solve remembers another: what is resumed starts every solve from where an uninterrupted training does."""
    x = torch.randn(4, 3, 6, 6, dtype=DOUBLE)
    step = ImplicitStep(smooth(), TRAPEZOIDAL)
    first = [step(x, [x])]
    step(torch.randn_like(x), [x])
    first.append(ImplicitStep(smooth(), TRAPEZOIDAL)(x, [x]))
    first.append(step(x, [x]))
    assert torch.equal(first[0], first[1])
    assert torch.equal(first[0], first[2])


class Unsolvable(nn.Module):
    """f(y) = sqrt(1 + y^2) for positive states: no solution; sin for the others."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.0))

    def forward(self, y: Tensor) -> Tensor:
        """(B, n) -> (B, n)."""
        return self.gain * torch.where(y[:, :1] > 0, torch.sqrt(1 + y * y), 0.1 * torch.sin(y))


STATES = torch.tensor([[1.0, 2.0], [-1.0, -2.0]])


def test_failures_warn_once_and_name_the_block() -> None:
    """And stay in the report."""
    step = ImplicitStep(Unsolvable(), BACKWARD_EULER, name="stages.1.blocks.2.step")
    with warns(ConvergenceWarning, "stages.1.blocks.2.step", "1 converged"):
        step(STATES, [STATES])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(STATES, [STATES])
    assert step.report.solves == 2
    assert step.report.samples == 4
    assert sum(step.report.failures.values()) == 2
    assert step.report.forward is not None
    assert step.report.forward.failed.tolist() == [True, False]
    assert step.report.to_dict()["last"]["forward"]["converged"] == 1


def test_failures_raise_with_the_samples() -> None:
    """If so configured."""
    step = ImplicitStep(Unsolvable(), BACKWARD_EULER, SolverSettings(on_failure="raise"))
    with raises(SolverError, "1 converged") as caught:
        step(STATES, [STATES])
    assert caught.value.failed.tolist() == [True, False]
    step(STATES[1:], [STATES[1:]])


def test_failures_fall_back_to_the_explicit_step() -> None:
    """For the failed samples, gradient included."""
    f = Unsolvable()
    step = ImplicitStep(f, BACKWARD_EULER, SolverSettings(on_failure="fallback", rtol=1e-6))
    x = STATES.clone().requires_grad_()
    y = step(x, [x])
    torch.testing.assert_close(y[0], (x + f(x))[0])
    torch.testing.assert_close(y[1], (x + f(y))[1], rtol=1e-5, atol=1e-5)
    found = torch.autograd.grad(y[0].sum(), [x, f.gain])
    expected = torch.autograd.grad((x + f(x))[0].sum(), [x, f.gain])
    torch.testing.assert_close(found, expected)
    assert step.report.failures.total() == 1  # type: ignore[attr-defined]


def test_overflow_names_the_block() -> None:
    """And says what to look at."""
    step = ImplicitStep(Linear([[1.0]]), BACKWARD_EULER, SolverSettings(on_failure="raise"), name="here")
    infinite = torch.full((1, 1), float("inf"), dtype=DOUBLE)
    with raises(SolverError, "here: ", "1 nonfinite", "overflow", "NaN"):
        step(infinite, [infinite])


def test_a_failed_adjoint_is_signalled() -> None:
    """By the same policy."""
    f, x = Parabolic(4, 4.0), torch.randn(2, 4, 6, 6, requires_grad=True)
    for on_failure, expected in (("raise", pytest.raises(SolverError)), ("warn", pytest.warns(ConvergenceWarning))):
        step = ImplicitStep(f, BACKWARD_EULER, SolverSettings(backward="neumann", on_failure=on_failure))  # type: ignore[arg-type]
        y = step(x, [x])
        with expected as caught:
            y.sum().backward()
        message = str(caught.value if on_failure == "raise" else caught[0].message)  # type: ignore[index]
        assert "adjoint" in message


def test_a_failed_adjoint_warns_beside_a_failed_equation() -> None:
    """Once each."""
    f, x = Parabolic(4, 4.0), torch.randn(2, 4, 6, 6, requires_grad=True)
    step = ImplicitStep(f, BACKWARD_EULER, SolverSettings(method="fixed_point"))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ConvergenceWarning)
        for _ in range(3):
            step(x, [x]).sum().backward()
    assert [("adjoint" in str(w.message)) for w in said] == [False, True]
    with warnings.catch_warnings(), off_the_record(step):
        warnings.simplefilter("error")
        step(x, [x]).sum().backward()


def test_unsolvable_equations_are_told() -> None:
    """With what is known, and what to do."""
    step = ImplicitStep(Linear([[1.0]]), BACKWARD_EULER, SolverSettings(on_failure="raise"), name="here")
    with raises(SolverError, "here: ", "1 no_solution_near", "minimum", "singular", "step size"):
        step(torch.ones(1, 1, dtype=DOUBLE), [torch.ones(1, 1, dtype=DOUBLE)])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("train", [False, True])
def test_steps_that_nobody_checks_are_counted(train: bool) -> None:
    """Of compiled networks and of those with a fixed number of iterations; written down they count nothing."""
    x = torch.randn(2, 3, 6, 6)
    net = nn.Sequential(
        Pair(ImplicitStep(Random(3, 0.3), TRAPEZOIDAL)), Pair(ImplicitStep(Random(3, 0.3), BACKWARD_EULER))
    )
    net.train(train)
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    for _ in range(3):
        compiled(x)
    net(x)
    report = solver_report(net)
    assert [(r.unchecked, r.solves) for r in report] == [(3, 1)] * 2
    assert report[0].to_dict()["unchecked"] == 3
    with off_the_record(net):
        compiled(x)
    compiled(x)
    assert [r.unchecked for r in solver_report(net)] == [4, 4]
    report[0].reset()
    assert [r.unchecked for r in solver_report(net)] == [0, 4]
    assert not any("unchecked" in name for name in net.state_dict())
    if not train:
        torch.export.export(net, (x,))
        torch.fx.symbolic_trace(net)
    assert [r.unchecked for r in solver_report(net)] == [0, 4]
    torch._dynamo.reset()
    fixed = ImplicitStep(Random(3, 0.3).train(train), BACKWARD_EULER, SolverSettings(fixed_iterations=2))
    fixed(x, [x])
    (counted,) = solver_report(fixed)
    assert (counted.unchecked, counted.solves) == (1, 0)


class Pair(nn.Module):
    """A step of one state."""

    def __init__(self, step: ImplicitStep) -> None:
        super().__init__()
        self.step = step

    def forward(self, y: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return self.step(y, [y])


def test_the_error_bound_is_reported() -> None:
    """Where f tells its one-sided Lipschitz constant."""
    x = torch.randn(2, 4, 6, 6)
    step = ImplicitStep(Parabolic(4, 4.0), BACKWARD_EULER)
    step(x, [x])
    assert step.report.forward is not None
    assert torch.equal(step.report.forward.error_bound, step.report.forward.residual)  # type: ignore[arg-type]


def test_autocast_solves_in_float32_and_reports_the_floor() -> None:
    """A tolerance that bfloat16 cannot hold is not claimed; a looser one is."""
    x = torch.randn(2, 4, 8, 8, requires_grad=True)
    f = Parabolic(4, 0.6)
    exact = ImplicitStep(f, BACKWARD_EULER)(x, [x])
    for rtol, ends in ((1e-5, Status.FLOOR_LIMITED), (1e-2, Status.CONVERGED)):
        step = ImplicitStep(f, BACKWARD_EULER, SolverSettings(rtol=rtol, on_failure="fallback"))
        with torch.autocast("cpu", torch.bfloat16):
            y = step(x, [x])
        report = step.report.forward
        assert report is not None
        assert y.dtype == torch.float32
        assert (report.status == ends).all(), report
        assert (report.floor > 1e-4).all()
        if ends == Status.CONVERGED:
            assert (y - exact).norm() < 0.02 * exact.norm()
            y.sum().backward()
            assert f.kernel.grad is not None
            assert f.kernel.grad.abs().sum() > 0


def test_half_precision_modules() -> None:
    """The state stays in half precision, the equation is solved in float32."""
    x = torch.randn(2, 4, 8, 8, dtype=torch.bfloat16)
    step = ImplicitStep(Parabolic(4, 0.6).bfloat16(), BACKWARD_EULER, SolverSettings(rtol=1e-2))
    y = step(x, [x])
    assert y.dtype == torch.bfloat16
    assert step.report.failures == {}


class Scheme(ImplicitMultistep):
    """A scheme of tests."""

    name = "scheme"


class BackwardEuler(Scheme):
    """theta = 1."""

    alpha, beta, beta_next = (1,), (0,), 1


class Trapezoidal(Scheme):
    """theta = 1/2."""

    alpha, beta, beta_next = (1,), ("1/2",), "1/2"


class BackwardDifference(Scheme):
    """BDF2."""

    alpha, beta, beta_next = ("4/3", "-1/3"), (0,), "2/3"


class AdamsMoulton(Scheme):
    """Order 3."""

    alpha, beta, beta_next = (1, 0), ("2/3", "-1/12"), "5/12"


SCHEMES = [BackwardEuler, Trapezoidal, BackwardDifference, AdamsMoulton]


@pytest.mark.parametrize("form", ["cifar", "imagenet"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_networks_of_implicit_schemes(scheme: type[Scheme], form: str) -> None:
    """Solved, trained and reported; explicit Euler where shapes change, backward Euler at the start."""
    torch.manual_seed(0)
    layers = (2, 2, 2) if form == "cifar" else (2, 2, 2, 2)
    net = DiscretizedResNet(scheme(solver=SolverSettings(on_failure="raise")), layers, form=form, width=8)
    x = torch.randn(4, 3, 32, 32)
    for train in (True, False):
        net.train(train)
        net(x).square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    steps = [block.step for block in net.blocks()]  # type: ignore[union-attr]
    kinds = ["explicit" if type(s) is MultistepStep else str(s.method) for s in steps]
    own = str(scheme().coefficients())
    start = own if scheme().coefficients().steps == 1 else str(BACKWARD_EULER)
    assert kinds == [start, own, *["explicit", own] * (len(layers) - 1)]
    report = net.solver_report()
    assert [r.solves for r in report] == [2] * (len(layers) + 1)
    assert report[0].name == "stages.0.blocks.0.step"
    assert net.blocks()[0].step.f.body.norm1.num_batches_tracked == 1  # type: ignore[union-attr]


def test_explicit_networks_have_an_empty_report() -> None:
    """Nothing is solved."""
    import timm

    assert timm.create_model("zerosnet20_opt").solver_report() == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_traced_networks_take_the_fixed_form(scheme: type[Scheme]) -> None:
    """fx, export, compile, TorchScript and meta tensors; equal to the solved network where the iteration converges."""
    torch.manual_seed(0)
    net = DiscretizedResNet(scheme(), (2, 1, 1), width=4).eval()
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        expected = net(x)
        traced = {
            "fx": torch.fx.symbolic_trace(net),
            "export": torch.export.export(net, (x,)).module(),
            "compile": torch.compile(net, backend="eager", fullgraph=True),
            "script": torch.jit.script(net),
        }
        for name, run in traced.items():
            torch.testing.assert_close(run(x), expected, rtol=1e-4, atol=1e-5, msg=name)
        assert net.to("meta")(x.to("meta")).shape == expected.shape
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_compiled_step_trains_as_the_fixed_form_does() -> None:
    """The same values, gradients and statistics, counted once."""
    x = torch.randn(3, 3, 6, 6, dtype=DOUBLE)
    results = []
    for compiled in (False, True):
        f = smooth()
        step = ImplicitStep(f, TRAPEZOIDAL, SolverSettings(fixed_iterations=6))
        run = torch.compile(step, backend="aot_eager", fullgraph=True) if compiled else step
        y = run(x, [x])
        y.square().sum().backward()
        assert f.norm1.num_batches_tracked == 1
        results.append([y.detach(), f.norm1.running_var, *(p.grad for p in f.parameters())])
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-12)
    torch._dynamo.reset()


@pytest.mark.parametrize("given", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("method", [BACKWARD_EULER, ADAMS_MOULTON_3])
def test_f_sees_channels_last_and_the_state_keeps_its_layout(
    method: LinearMultistep, given: torch.memory_format
) -> None:
    """The layout is the solver's affair; the numbers are those of a solution, in the layout that came in."""
    f, seen = smooth().eval(), []
    f.register_forward_pre_hook(lambda _, args: seen.append(args[0].is_contiguous(memory_format=torch.channels_last)))
    entries = [torch.randn(2, 3, 4, 5, dtype=DOUBLE).contiguous(memory_format=given) for _ in range(3)]
    found = returned(ImplicitStep(f, method, TIGHT)(entries[0], entries))
    assert seen
    assert all(seen)
    assert all(entry.is_contiguous(memory_format=given) for entry in found)
    y, known = found[0], f(entries[0])
    b = sum(float(a) * e for a, e in zip(method.alpha, entries, strict=False)) + float(method.beta[0]) * known
    if any(method.beta[1:]):
        b = b + float(method.beta[1]) * entries[method.steps]
    assert torch.allclose(y, b + float(method.beta_next) * f(y), atol=1e-9)
