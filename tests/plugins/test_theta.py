"""The theta plugin: schemes, networks, the vector-field network, certificates of well-posedness, regularisers, examples."""

import json
import math
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

import stabzoo
import stabzoo_theta.__main__
from fixtures.messages import raises, says
from stabzoo import ConfigError, ImplicitStep, SolverSettings, perturbation_penalty, residual_penalty
from stabzoo.diagnostics.wellposed import well_posedness
from stabzoo.networks.steps import MultistepStep
from stabzoo_theta.paper.example import load_example, shipped_examples
from stabzoo_theta.paper.field import Field, VectorFieldNet
from stabzoo_theta.paper.figures import distances

pytestmark = pytest.mark.usefixtures("one_thread")
TIGHT = SolverSettings(rtol=1e-11, on_failure="raise")


class Linear(nn.Module):
    """f(y) = y A^T."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
        """Return scale * f(y)."""
        return scale * y @ self.matrix.T


@pytest.mark.parametrize("one_leg", [False, True])
@pytest.mark.parametrize("theta", ["0", "1/4", "1/2", "1"])
@pytest.mark.parametrize("q", [0.01, 1.0, 3.0, 100.0])
def test_the_block_is_the_exact_propagator_of_the_oscillator(theta: str, q: float, *, one_leg: bool) -> None:
    """The module's step on y' = -omega^2 z, z' = y is the matrix that the exact core computes, in both forms."""
    from stabzoo.stability.oscillator import oscillator_propagator

    scheme = stabzoo.get_scheme("theta", theta=theta, one_leg=one_leg, solver=TIGHT)
    h = q / 50
    block = scheme.block(Linear(h * torch.tensor([[0.0, -2500.0], [1.0, 0.0]], dtype=torch.float64)))
    p = oscillator_propagator(scheme.coefficients(), h, 50)
    y = torch.tensor([[50.0, 0.3], [-2.0, 1.0]], dtype=torch.float64)
    expected = y @ torch.tensor([[float(p.yy), float(p.yz)], [float(p.zy), float(p.zz)]], dtype=torch.float64).T
    new = block(y, [y])
    assert float((new - expected).norm() / expected.norm()) < 1e-8


@pytest.mark.parametrize(("theta", "limit"), [("1/2", 2.0), ("1", 1.0)])
def test_fixed_point_iterations_reach_no_further_than_verlet(theta: str, limit: float) -> None:
    """On the oscillator they converge just where h omega < 1 / theta: for theta = 1/2 the limit of Verlet's scheme."""
    for q, converges in ((0.95 * limit, True), (1.05 * limit, False)):
        settings = SolverSettings(method="fixed_point", max_evaluations=2000, on_failure="fallback")
        scheme = stabzoo.get_scheme("theta", theta=theta, solver=settings)
        block = scheme.block(Linear(q * torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)))
        y = torch.tensor([[1.0, 0.5]], dtype=torch.float64)
        block(y, [y])
        assert block.report.forward.converged is converges
        anderson = stabzoo.get_scheme("theta", theta=theta, solver=TIGHT).block(block.f)
        anderson(y, [y])  # raises where it fails


def test_theta_lies_between_the_ends() -> None:
    """And theta = 0 is the explicit step."""
    with raises(ConfigError, "scheme 'theta'", "0 <= theta <= 1"):
        stabzoo.get_scheme("theta", theta="3/2")
    with raises(ConfigError, "scheme 'theta'", "tolerance", "unknown"):
        stabzoo.get_scheme("theta", solver={"tolerance": 1e-3})
    assert isinstance(stabzoo.get_scheme("theta", theta=0).block(nn.Identity()), MultistepStep)
    assert isinstance(stabzoo.get_scheme("backward_euler").block(nn.Identity()), ImplicitStep)


def test_the_models_are_the_theta_method() -> None:
    """The variants are the theta method at 1/2 and 1."""
    x = torch.randn(2, 3, 16, 16)
    networks = {}
    for name, options in (
        ("implicit_resnet20", {}),
        ("implicit_resnet20_tr", {}),
        ("implicit_resnet20_be", {}),
        ("implicit_resnet20", {"theta": 1}),
    ):
        torch.manual_seed(0)
        network = timm.create_model(name, width=4, **options).eval()
        networks[(name, *options)] = network(x)
    torch.testing.assert_close(networks[("implicit_resnet20",)], networks[("implicit_resnet20_tr",)])
    torch.testing.assert_close(networks[("implicit_resnet20_be",)], networks["implicit_resnet20", "theta"])
    assert not torch.allclose(networks[("implicit_resnet20_be",)], networks[("implicit_resnet20_tr",)])


def test_one_leg_is_b_stable_and_the_theta_form_is_not() -> None:
    """A dissipative field: no step of backward Euler or of the midpoint takes two states apart, at any step size."""
    for size in (0.5, 4.0, 40.0):
        for theta, one_leg in (("1", False), ("1/2", True)):
            gaps = distances(theta, one_leg, size)
            assert all(after <= before + 1e-7 for before, after in pairwise(gaps))
    assert max(distances("0", False, 10.0)) > 1e6

    class Ramp(nn.Module):  # dissipative: slope -20 below 0, 0 above
        def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
            return scale * -20 * y.clamp(max=0)

    y = torch.tensor([[-1.0], [-1e-9]], dtype=torch.float64)
    steps = {leg: stabzoo.get_scheme("theta", one_leg=leg, solver=TIGHT).block(Ramp())(y, [y]) for leg in (False, True)}
    assert float((steps[False][0] - steps[False][1]).abs()) > 8  # (1 + 20/2) - 0: apart
    assert float((steps[True][0] - steps[True][1]).abs()) < 1


@pytest.mark.parametrize("parabolic", [False, True])
def test_field(*, parabolic: bool) -> None:
    """Normalised weights; the constants bound difference quotients."""
    torch.manual_seed(1)
    field = Field(4, 30, 0.7, parabolic=parabolic).double()
    radius = torch.linalg.eigvals(field.gamma_2 @ field.inner).abs().max().detach()
    assert float(radius) == pytest.approx(1)
    u, v = torch.randn(2, 500, 4, dtype=torch.float64)
    with torch.no_grad():
        slopes = field(u) - field(v)
    assert float((slopes.norm(dim=1) / (u - v).norm(dim=1)).max()) <= field.lipschitz()
    quotients = (slopes * (u - v)).sum(1) / (u - v).square().sum(1)
    assert float(quotients.max()) <= field.one_sided_bound() + 1e-12
    assert (field.one_sided_bound() == 0) is parabolic
    torch.testing.assert_close(field(u, 3.0), 3 * field(u))


def test_vector_field_net() -> None:
    """2n states from (x, x); all layers start equal; theta = 0 is explicit Euler; gradients reach every layer."""
    torch.manual_seed(0)
    net = VectorFieldNet(2, 3, "0", hidden=10, horizon=0.3)
    x = torch.randn(5, 2)
    y = torch.cat((x, x), dim=1)
    for step in net.steps:
        y = y + step.f(y)
    torch.testing.assert_close(net(x), y)
    assert net.steps[0].f.step == pytest.approx(0.1)
    torch.testing.assert_close(net.steps[2].f.inner, net.steps[0].f.inner)
    implicit = VectorFieldNet(2, 3, "1/2", hidden=10, horizon=0.3, solver=TIGHT).double()
    states = implicit.states(x.double())
    for step, before, after in zip(implicit.steps, states, states[1:], strict=False):
        torch.testing.assert_close(after, before + (step.f(before) + step.f(after)) / 2)
    implicit(x.double()).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in implicit.parameters())


def test_contraction_is_proved_and_predicts_the_iterations() -> None:
    """Where w L < 1, the fixed-point iteration needs no more iterations than the certificate says."""
    torch.manual_seed(0)
    net = VectorFieldNet(2, 2, "1/2", hidden=10, horizon=0.2).double()
    certificates = well_posedness(net, (2,))
    assert [c.name for c in certificates] == ["steps.0", "steps.1"]
    x = torch.randn(50, 2, dtype=torch.float64)
    y = torch.cat((x, x), dim=1)
    with torch.no_grad():
        for certificate, step in zip(certificates, net.steps, strict=True):
            assert certificate.proof == "contraction"
            b = y + step.f(y) / 2
            z = b
            first = (b + step.f(z) / 2 - z).norm(dim=1)
            count = certificate.iterations(1e-6)
            assert count
            for _ in range(count):
                z = b + step.f(z) / 2
            assert bool(((b + step.f(z) / 2 - z).norm(dim=1) <= 1e-6 * first + 1e-15).all())


def test_a_parabolic_field_is_well_posed_at_any_step() -> None:
    """Monotone: modulus 1, whatever h; the damped iteration converges in the number of steps that is certified."""
    torch.manual_seed(0)
    net = VectorFieldNet(1, 1, "1", hidden=10, horizon=5.0, parabolic=True).double()
    (certificate,) = well_posedness(net, (1,))
    assert (certificate.proof, certificate.modulus) == ("monotone", 1)
    count = certificate.iterations(1e-3)
    assert count
    f, b = net.steps[0].f, torch.randn(20, 2, dtype=torch.float64)
    size = certificate.weight * certificate.lipschitz.value
    with torch.no_grad():
        solution = b
        for _ in range(40 * count):
            solution = solution + (b + f(solution) - solution) / (1 + size) ** 2
        z = b
        for _ in range(count):
            z = z + (b + f(z) - z) / (1 + size) ** 2
        assert bool(((z - solution).norm(dim=1) <= 1e-3 * (b - solution).norm(dim=1) + 1e-12).all())
    r = b + f(b) - b
    assert bool(((b - solution).norm(dim=1) <= r.norm(dim=1) / certificate.modulus + 1e-9).all())


def test_certificates_of_a_network() -> None:
    """Batch norms folded in, training flags untouched; small kernels are contractions, a table has a row a step."""
    torch.manual_seed(0)
    network = timm.create_model("implicit_resnet20", width=4)
    for step in network.modules():
        if isinstance(step, ImplicitStep):
            nn.init.normal_(step.f.conv.weight, std=1e-3)
    certificates = well_posedness(network, (3, 16, 16))
    assert network.training
    assert len(certificates) == 7  # of 9 blocks, two change the shape and are explicit
    assert {c.proof for c in certificates} == {"contraction"}
    assert json.dumps([c.to_dict() for c in certificates], allow_nan=False)
    nn.init.normal_(next(s for s in network.modules() if isinstance(s, ImplicitStep)).f.conv.weight, std=10)
    assert well_posedness(network, (3, 16, 16))[0].proof is None
    assert well_posedness(timm.create_model("preresnet20", width=4), (3, 16, 16)) == []


def test_the_residual_penalty_is_the_papers_formula() -> None:
    """Sum of (k/K)^p ||r(y^k)||, with its gradient through the iterates."""
    torch.manual_seed(0)
    net = VectorFieldNet(2, 1, "1/2", hidden=10, horizon=0.3).double()
    x = torch.randn(6, 2, dtype=torch.float64)
    with residual_penalty(net, iterations=3, power=2, rtol=1e-15) as penalty:
        net(x)
    assert penalty.iterations == [3]
    assert penalty.evaluations == net.steps[0].report.penalty_evaluations == 4
    f, y = net.steps[0].f, torch.cat((x, x), dim=1)
    iterate, expected = y, torch.zeros((), dtype=torch.float64)
    for k in range(4):
        r = y + (f(y) + f(iterate)) / 2 - iterate
        expected = expected + (k / 3) ** 2 * r.norm(dim=1).mean()
        iterate = iterate + r
    assert isinstance(penalty.total, Tensor)
    torch.testing.assert_close(penalty.total, expected)
    mine = torch.autograd.grad(penalty.total, list(net.parameters()))
    torch.testing.assert_close(mine, torch.autograd.grad(expected, list(net.parameters())))


def test_the_residual_penalty_makes_the_iteration_faster() -> None:
    """Training on it alone lowers the rate; batch statistics are counted once with it and without it."""
    torch.manual_seed(0)
    net = VectorFieldNet(2, 2, "1/2", hidden=10, horizon=2.0, solver=SolverSettings(on_failure="fallback"))
    x = torch.randn(20, 2)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    totals = []
    for _ in range(30):
        with residual_penalty(net) as penalty:
            net(x)
        assert isinstance(penalty.total, Tensor)
        optimizer.zero_grad()
        penalty.total.backward()
        optimizer.step()
        totals.append(float(penalty.total.detach()))
    assert totals[-1] < totals[0] / 2
    network = timm.create_model("implicit_resnet20", width=4).train()
    images = torch.randn(4, 3, 16, 16)
    with residual_penalty(network, iterations=2) as penalty:
        network(images)
    penalty.total.backward()
    counted = {int(m.num_batches_tracked) for m in network.modules() if isinstance(m, nn.BatchNorm2d)}
    assert counted == {1}
    assert len(penalty.iterations) == 7


def test_the_perturbation_penalty() -> None:
    """Sum over layers and streams of (t/T)^r ||y_t - ~y_t||; the clean output is the model's own."""
    torch.manual_seed(0)
    net = VectorFieldNet(2, 3, "0", hidden=10, horizon=0.3)
    x = torch.randn(6, 2)
    shifts = iter([torch.full_like(x, 0.1), torch.full_like(x, -0.2)])
    output, penalty = perturbation_penalty(net, x, lambda x: x + next(shifts), streams=2, power=2)
    torch.testing.assert_close(output, net(x))
    expected = torch.zeros(())
    for shift in (0.1, -0.2):
        for t, (clean, other) in enumerate(zip(net.states(x)[1:], net.states(x + shift)[1:], strict=True), start=1):
            expected = expected + (t / 3) ** 2 * (clean - other).norm(dim=1).mean()
    torch.testing.assert_close(penalty, expected)
    with raises(ValueError, "blocks", "Linear"):
        perturbation_penalty(nn.Linear(2, 2), x, lambda x: x)
    with raises(ValueError, "none", "called"):
        perturbation_penalty(nn.Linear(2, 2), x, lambda x: x, blocks=[nn.Identity()])
    network = timm.create_model("implicit_resnet20", width=4)
    logits, spread = perturbation_penalty(network, torch.randn(2, 3, 16, 16), lambda x: x + 0.1 * torch.randn_like(x))
    assert logits.shape == (2, 10)
    assert float(spread.detach()) > 0


SMALL = """
title: A short run
description: Two networks.
data: {data}
hidden: 8
epochs: {{4: 3}}
networks:
  - {{label: explicit, layers: 4, theta: 0, perturbation: 0.1, sigma: 0.05}}
  - {{label: implicit, layers: 4, theta: 1/2, fixed_point: 0.001}}
solver: {{max_evaluations: 50, on_failure: fallback}}
"""


@pytest.mark.parametrize("data", ["function", "spirals"])
def test_an_example_of_ones_own(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A YAML file trains, writes numbers and draws; the same numbers again."""
    file = tmp_path / "short.yaml"
    file.write_text(SMALL.format(data=data))
    for folder in ("a", "b"):
        assert stabzoo_theta.__main__.main([str(file), "--folder", str(tmp_path / folder)]) == 0
        assert {path.name for path in (tmp_path / folder).iterdir()} == {"results.json", "curves.png", "outputs.png"}
    first, second = (json.loads((tmp_path / f / "results.json").read_text())["results"] for f in ("a", "b"))
    assert [r["curves"] for r in first] == [r["curves"] for r in second]
    assert all(math.isfinite(r["curves"]["training"][-1]) for r in first)
    assert first[1]["curves"]["evaluations"][0] > 0
    assert "implicit: loss" in capsys.readouterr().out


def test_explicit_against_implicit_in_one_picture(tmp_path: Path) -> None:
    """The command draws it."""
    assert stabzoo_theta.__main__.main(["step-size", "--folder", str(tmp_path)]) == 0
    assert (tmp_path / "step-size.png").stat().st_size > 10_000


def test_the_shipped_examples_are_valid() -> None:
    """Both of the paper's, with its widths, schedule and depths."""
    assert shipped_examples() == ["function", "spirals"]
    example = load_example("function")
    assert (example.hidden, example.horizon, example.lr, example.decay, example.decay_every) == (
        100,
        10,
        0.01,
        0.7,
        500,
    )
    assert {n.layers for n in example.networks} == {10, 100}
    assert {n.sigma for n in load_example("spirals").networks} == {0, 0.01, 0.05, 0.1}


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (("epochs: {4: 3}", "epochs: {5: 3}"), ("epochs", "4 layers")),
        (("label: implicit", "label: explicit"), ("label explicit", "twice")),
        (("sigma: 0.05", "sigma: 0"), ("perturbation and sigma", "together")),
        (("hidden: 8", "width: 8"), ("width", "unknown", "hidden")),
    ],
)
def test_a_wrong_example_is_one_message(
    change: tuple[str, str], facts: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2."""
    file = tmp_path / "wrong.yaml"
    file.write_text(SMALL.format(data="spirals").replace(*change))
    assert stabzoo_theta.__main__.main([str(file), "--folder", str(tmp_path / "run")]) == 2
    says(capsys.readouterr().err, file, *facts)
    assert stabzoo_theta.__main__.main(["nothing.yaml", "--folder", str(tmp_path / "run")]) == 2


def test_fraction_theta() -> None:
    """Any way of writing it."""
    assert stabzoo.get_scheme("theta", theta=0.25).coefficients().beta_next == Fraction(1, 4)


def test_diagnostics_say_nothing_false_of_implicit_blocks() -> None:
    """No bound of explicit steps and no formula of 1 + branch is applied to them."""
    from stabzoo.diagnostics import block_conditioning, forward_bounds

    network = timm.create_model("implicit_resnet20", width=4).eval()
    bounds = forward_bounds(network, (3, 16, 16))
    assert math.isinf(bounds.sensitivity.value)
    says(
        next(reason for reason in bounds.refused if "ImplicitStep" in reason), "stages.0.blocks.0: ", "nothing is known"
    )
    with raises(ValueError, "implicit steps", "not computed"):
        block_conditioning(network.blocks()[0], torch.randn(1, 4, 8, 8))
