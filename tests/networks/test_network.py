"""The network takes the steps that its scheme's coefficients say, and nothing else."""

from fractions import Fraction

import pytest
import timm
import torch
from torch import Tensor, nn

import stabzoo
from fixtures.messages import raises
from stabzoo import Discretization, ImplicitStep, LinearMultistep
from stabzoo.errors import ConfigError
from stabzoo.networks.past import Past, advanced, returned
from stabzoo.networks.resnet import DiscretizedResNet
from stabzoo.networks.steps import LearnableStep, MultistepStep
from stabzoo.registry.catalogue import catalogue
from stabzoo.registry.schema import ModelConfig

FIXED = [
    ("euler", {}),
    ("euler", {"weight": "1/2"}),
    ("lm", {"k": "1/3"}),
    ("lm", {"k": 1, "beta": "unit"}),
    ("multistep", {}),
    ("multistep", {"alpha": ["1", "0", "0"], "beta": ["23/12", "-4/3", "5/12"]}),
    ("multistep", {"alpha": ["0", "1"], "beta": ["2"]}),
    ("zerosnet", {"lam": 10}),
    ("zerosnet_opt", {}),
]


def schemes() -> list:
    """Every fixed scheme, in several parameters."""
    return [pytest.param(stabzoo.get_scheme(name, **p), id=f"{name}-{p}") for name, p in FIXED]


class Scaled(nn.Module):
    """f(y) = factor * y."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
        """Scale."""
        return scale * self.factor * y


def random_history(method: stabzoo.LinearMultistep, step: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """States and slopes for a step, float64."""
    generator = torch.Generator().manual_seed(0)
    new = lambda: torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64)  # noqa: E731
    return [new() for _ in range(method.steps)], [new() for _ in range(step.slopes)]


@pytest.mark.parametrize("factor", [0.0, 1.0, -0.7])
@pytest.mark.parametrize("scheme", schemes())
def test_a_block_reproduces_the_method(scheme, factor: float) -> None:
    """With f = 0, f = identity and a scaling, a step is the linear combination that the coefficients say; the history is untouched."""
    method = scheme.coefficients()
    step = scheme.block(Scaled(factor))
    states, slopes = random_history(method, step)
    kept = [t.clone() for t in states + slopes]
    new = returned(step(states[0], states + slopes))
    expected = float(method.beta[0]) * factor * states[0]
    for alpha, state in zip(method.alpha, states, strict=True):
        expected = expected + float(alpha) * state
    for beta, slope in zip(method.beta[1:], slopes, strict=False):
        expected = expected + float(beta) * slope
    torch.testing.assert_close(new[0], expected, rtol=1e-14, atol=1e-14)
    assert len(new) == (2 if slopes else 1)
    if slopes:
        torch.testing.assert_close(new[1], factor * states[0], rtol=0, atol=0)
    for before, after in zip(kept, states + slopes, strict=True):
        assert torch.equal(before, after)


@pytest.mark.parametrize("name", ["lm_resnet", "zerosnet_tra"])
def test_a_learnable_block_reproduces_its_own_coefficients(name: str) -> None:
    """The trained parameter, as an exact rational, gives the coefficients that the step computes with."""
    step = stabzoo.get_scheme(name).block(Scaled(1.0)).double()
    with torch.no_grad():
        step.parameter.fill_(1.3)
    method = step.coefficients()
    states, slopes = random_history(method, step)
    expected = float(method.beta[0]) * states[0]
    for alpha, state in zip(method.alpha, states, strict=True):
        expected = expected + float(alpha) * state
    torch.testing.assert_close(returned(step(states[0], states + slopes))[0], expected, rtol=1e-14, atol=1e-14)


def integrate(scheme, matrix: Tensor, start: Tensor, exact: list[Tensor], h: float, count: int) -> Tensor:
    """Take ``count`` steps of y' = A y with the scheme's own block, from exact starting values (newest first)."""

    class Linear(nn.Module):
        def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
            return scale * h * (y @ matrix.T)

    step = scheme.block(Linear())
    states = list(exact)
    slopes = [h * (y @ matrix.T) for y in exact[1 : step.slopes + 1]]
    for _ in range(count):
        new = returned(step(states[0], states + slopes))
        states = [new[0], *states[:-1]]
        slopes = (new[1:] + slopes)[: step.slopes]
    return states[0]


@pytest.mark.parametrize("scheme", [p for p in schemes() if p.values[0].coefficients().order])
def test_the_measured_order_is_the_proved_order(scheme) -> None:
    """On y' = A y with a rotation and a decay, halving h divides the error by 2^order."""
    matrix = torch.tensor([[-0.3, 1.0, 0.0], [-1.0, -0.3, 0.2], [0.0, 0.0, -0.8]], dtype=torch.float64)
    start = torch.tensor([[1.0, 0.5, -0.7]], dtype=torch.float64)
    method = scheme.coefficients()
    errors = []
    for count in (160, 320, 640):
        h = 2.0 / count
        flow = [start @ torch.linalg.matrix_exp(matrix * h * n).T for n in range(method.steps)]
        end = integrate(scheme, matrix, start, flow[::-1], h, count - method.steps + 1)
        errors.append((end - start @ torch.linalg.matrix_exp(matrix * 2.0).T).norm().item())
    slopes = [torch.tensor(errors[i] / errors[i + 1]).log2().item() for i in (0, 1)]
    assert slopes[1] == pytest.approx(method.order, abs=0.1), slopes


COUNTS = {
    **dict(
        zip([f"zerosnet{n}_opt" for n in (20, 32, 44, 56, 110)], (277402, 471834, 666266, 860698, 1735642), strict=True)
    ),
    **dict(
        zip([f"preresnet{n}" for n in (20, 32, 44, 56, 110)], (272378, 466810, 661242, 855674, 1730618), strict=True)
    ),
    "lmresnet20": 272384,
    "lmresnet110": 1730618 + 51,
    "zerosnet20_tra": 277402 + 7,
    "zerosnet110_tra": 1735642 + 52,
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name: str) -> None:
    """The honest counts (used parameters only); 100 classes add 5850."""
    count = lambda **kw: sum(p.numel() for p in timm.create_model(name, device="meta", **kw).parameters())  # noqa: E731
    assert count() == COUNTS[name]
    assert count(num_classes=100) == COUNTS[name] + 5850


def test_every_models_name_has_its_depth() -> None:
    """Which is what `timm.list_models` shows of it."""
    assert [name for name, (_, config) in catalogue().models.items() if str(config.depth) not in name] == []


def two_of_each_kind() -> list[str]:
    """The two shallowest models of each scheme, form and block: deeper ones have more of the same blocks.

    Those of one usual branch a block; the others' numbers are of as many blocks.
    """
    kinds: dict[tuple[str, ...], list[tuple[int, str]]] = {}
    for name, (_, config) in catalogue().models.items():
        if config.branch is None and config.scheme not in ("hamiltonian", "revnet"):
            kind = (config.scheme, config.form, config.block, repr(config.parameters))
            kinds.setdefault(kind, []).append((config.depth, name))
    return [name for members in kinds.values() for _, name in sorted(members)[:2]]


@pytest.mark.parametrize("name", two_of_each_kind())
def test_depth_counts_the_weighted_layers_of_the_longest_path(name: str) -> None:
    """The number in a model's name: kernels of 3x3 (and bottleneck 1x1) convolutions, the stem and the classifier."""
    model = timm.create_model(name, device="meta")
    depth = catalogue().models[name][1].depth
    kernels = [n for n, p in model.named_parameters() if n.endswith("weight") and p.ndim == 4 and "shortcuts" not in n]
    assert len(kernels) + 1 == depth


USED = ("preresnet20", "lmresnet20", "lmresnet20_shared", "multistep20", "zerosnet20", "zerosnet20_opt", "zerosnet20_tra", "preresnet18",
        "lmresnet164", "zerosnet164_opt", "zerosnet18_tra", "zerosnet50_opt")  # fmt: skip


@pytest.mark.parametrize("name", USED)
def test_every_parameter_is_used(name: str) -> None:
    """Parameters nobody uses do not exist: each gets a gradient."""
    torch.manual_seed(0)
    model = timm.create_model(name).train()
    size = 64 if model.pretrained_cfg["input_size"][-1] == 224 else 32
    model(torch.randn(2, 3, size, size)).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_the_start_and_the_boundaries_are_the_schemes() -> None:
    """d-1 Euler steps first; ZeroSNet projects its history at a boundary, LM-ResNet restarts."""
    zero = timm.create_model("zerosnet20_opt")
    steps = [b.step for b in zero.blocks()]
    assert [s.coefficients().steps for s in steps] == [1, 1] + [3] * 7
    lm = timm.create_model("lmresnet20")
    assert [type(b.step) for b in lm.blocks()] == [MultistepStep, LearnableStep, LearnableStep] * 3
    assert [len([m for m in s.blocks[0].shortcuts if not isinstance(m, nn.Identity)]) for s in zero.stages] == [0, 3, 3]


def test_adams_bashforth_hands_slopes_through_the_stages() -> None:
    """A scheme with several betas carries f as well as y, also where the shape changes."""
    model = timm.create_model("multistep20", width=4).double().eval()
    assert model.stages[1].blocks[0].shortcuts[2].weight.shape == (8, 4, 1, 1)  # y_n, y_{n-1}, f_{n-1}
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        past = Past([])
        model.stages[0](model.stem(x), past)
        y0 = model.stem(x)
        blocks = model.stages[0].blocks
        f0 = blocks[0].step.f(y0)
        y1 = y0 + f0
        f1 = blocks[1].step.f(y1)
        y2 = y1 + 1.5 * f1 - 0.5 * f0
    torch.testing.assert_close(advanced(blocks[1], advanced(blocks[0], [y0]))[0], y2)
    assert len(past.entries) == 2


@pytest.mark.parametrize("depth", [8, 14])
@pytest.mark.parametrize(
    ("scheme", "parameters"), [("zerosnet_opt", {}), ("lm_resnet", {}), ("euler", {}), ("multistep", {})]
)
def test_the_shallowest_networks(scheme: str, parameters: dict, depth: int) -> None:
    """With one block a stage, start-up steps change the shape too."""
    config = ModelConfig(scheme=scheme, depth=depth, parameters=parameters)
    for bottleneck in (False, True):
        model = DiscretizedResNet(stabzoo.get_scheme(scheme), config.layers, bottleneck=bottleneck, width=4)
        model(torch.randn(2, 3, 16, 16)).sum().backward()
        assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_drop_path_drops_the_branch_and_keeps_the_history() -> None:
    """With its branch dropped a block is the recursion of alpha alone, on whatever history it finds."""
    model = timm.create_model("zerosnet20_opt", width=4, drop_path_rate=0.5).train()
    drops = [m for m in model.modules() if type(m).__name__ == "DropPath"]
    rates = [m.drop_prob for m in drops]
    assert rates[-1] == 0.5
    assert rates == sorted(rates)
    for drop in drops:
        drop.drop_prob = 1.0
    history = [torch.randn(2, 8, 8, 8) for _ in range(3)]
    new = advanced(model.stages[1].blocks[1], history)
    alpha = [float(a) for a in model.scheme.coefficients().alpha]
    torch.testing.assert_close(new[0], sum(a * y for a, y in zip(alpha, history, strict=True)))
    assert all(a is b for a, b in zip(new[1:], history, strict=False))  # y_n, y_{n-1} are handed on as they are


class _BareBDF2:
    """A two-step implicit scheme that has all `Discretization` lists, and no class of stabzoo's above it."""

    name = "bare_bdf2"
    at_downsampling = "restart"
    needs_equal_shapes = True

    def coefficients(self) -> LinearMultistep:
        return LinearMultistep(("4/3", "-1/3"), (0,), "2/3")

    def characteristic_polynomial(self) -> tuple[Fraction, ...]:
        return self.coefficients().rho

    def block(self, f: nn.Module) -> nn.Module:
        return ImplicitStep(f, self.coefficients())

    def starting_block(self, f: nn.Module, *, returns_slope: bool) -> nn.Module:
        return ImplicitStep(f, LinearMultistep((1,), (0,), 1), returns_slope=returns_slope)

    @classmethod
    def network(cls) -> type[nn.Module]:
        return DiscretizedResNet


def test_the_scheme_says_how_it_starts_whatever_its_class() -> None:
    """Backward Euler steps where the scheme says so; explicit Euler at a change of shape, whose f has no equal shapes."""
    assert isinstance(_BareBDF2(), Discretization)
    model = DiscretizedResNet(_BareBDF2(), (3, 3, 3), width=4)
    steps = [block.step.coefficients() for block in model.blocks()]
    backward, bdf2 = LinearMultistep((1,), (0,), 1), _BareBDF2().coefficients()
    euler = LinearMultistep((1,), (1,))
    assert steps == [backward, bdf2, bdf2] + [euler, bdf2, bdf2] * 2
    own = DiscretizedResNet(stabzoo.get_scheme("trapezoidal"), (2, 1, 1), width=4)
    assert own.blocks()[0].step.coefficients() == stabzoo.get_scheme("trapezoidal").coefficients()


def test_stability_card_of_fixed_and_of_learned_coefficients() -> None:
    """Fixed: the scheme's card.  Learned: the exact maximum over products of companion matrices."""
    assert timm.create_model("zerosnet20_opt").stability_card().status == "strong"
    model = timm.create_model("zerosnet20_tra")
    steps = [block.step for block in model.blocks()]
    with torch.no_grad():
        for i, step in enumerate(steps[2:]):
            step.parameter.fill_(0.5 + 0.1 * i)
    card = model.stability_card()
    assert (card.norm, card.is_preconsistent) == (largest_product([step.coefficients().alpha for step in steps]), True)
    with torch.no_grad():
        for step in steps[2:]:
            step.parameter.fill_(0.3)  # outside the zero-stable set
    assert model.stability_card().norm > 10 * card.norm


@pytest.mark.parametrize(("weight", "reason"), [(float("nan"), "nan"), (float("inf"), "inf"), (0.0, "divides by 0")])
def test_a_diverged_network_has_no_card_and_says_where(weight: float, reason: str) -> None:
    """The block and its weight, one kind of error."""
    model = timm.create_model("zerosnet20_tra", width=4)
    with torch.no_grad():
        model.blocks()[4].step.parameter.fill_(weight)
    with raises(ValueError, "block 4", "trained parameter", reason):
        model.stability_card()


def test_alpha_without_beta_is_no_method() -> None:
    """The other's default belongs to another method."""
    for half in ({"alpha": ["1/3", "5/9", "1/9"]}, {"beta": ["16/9"]}):
        with raises(ConfigError, "multistep20", "alpha and beta", "together"):
            timm.create_model("multistep20", **half)


def test_verdicts_take_schemes() -> None:
    """As they take methods and numbers."""
    assert stabzoo.is_zero_stable(stabzoo.get_scheme("zerosnet"))
    assert not stabzoo.is_zero_stable(stabzoo.get_scheme("zerosnet", lam="1/4"))


def largest_product(alphas: list[tuple[Fraction, ...]]) -> Fraction:
    """The max over m <= n of ||C_n ... C_m||_inf for 3 steps, by multiplying them all out."""
    matrices = [[[*alpha, *[Fraction(0)] * (3 - len(alpha))], [1, 0, 0], [0, 1, 0]] for alpha in alphas]
    largest = Fraction(0)
    for m in range(len(matrices)):
        product = [[Fraction(int(i == j)) for j in range(3)] for i in range(3)]
        for n in range(m, len(matrices)):
            product = [[sum(matrices[n][i][k] * product[k][j] for k in range(3)) for j in range(3)] for i in range(3)]
            largest = max(largest, *(sum(map(abs, row)) for row in product))
    return largest
