"""Norms and singular values of convolutions against dense matrices, and what kind of number each is."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fixtures.messages import says
from stabzoo.diagnostics.layers import _all_values, conv_norm, layer_norms, operator_norm, singular_values
from stabzoo.diagnostics.measurement import Measurement
from stabzoo.diagnostics.report.figures import layer_norms_figure
from stabzoo.diagnostics.spectra import zero_padding
from stabzoo.diagnostics.spectra.operators import ConvOperator
from stabzoo.diagnostics.spectra.periodic import periodic_norms
from stabzoo.diagnostics.spectra.smallest import _by_block_qr, _by_half_fft, smallest_singular_value
from stabzoo.diagnostics.spectra.zero_padding import certified_below, enclose_norm, torus_bound, touching

GOLDEN = json.loads((Path(__file__).parent / "spectra.json").read_text())["cases"]
ONES = torch.tensor([[1.0, 1, 1], [1, 1, 1], [1, 1, 1]], dtype=torch.float64)
LAPLACE = torch.tensor([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=torch.float64)
SIDES = st.sampled_from([1, 2, 3, 4, 5, 7, 8])


def kernel(*shape: int) -> Tensor:
    """The golden file's rule: entry i of the flattened kernel is sin((i + 1)^2)."""
    return torch.from_numpy(np.sin(np.arange(1.0, math.prod(shape) + 1) ** 2)).view(shape)


def conv(
    weight: Tensor, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1, mode: str = "zeros"
) -> nn.Conv2d:
    """A module with this weight (c_out, c_in / groups, k1, k2)."""
    rows, columns, *sides = weight.shape
    module = nn.Conv2d(columns * groups, rows, tuple(sides), stride, padding, dilation, groups, False, mode)
    module.weight = nn.Parameter(weight.clone())
    return module


def wrapped(weight: Tensor, grid: tuple[int, int], stride: int, dilation: int, groups: int) -> Tensor:
    """The matrix of a periodic convolution, by rolling images: independent of torch's own padding, which has limits."""
    rows, columns, k1, k2 = weight.shape
    size = columns * groups * grid[0] * grid[1]
    eye = torch.eye(size, dtype=torch.float64).view(size, groups, columns, *grid)
    w = weight.view(groups, rows // groups, columns, k1, k2)
    out = torch.zeros(())
    for a in range(k1):
        for b in range(k2):
            x = torch.roll(eye, (-dilation * a, -dilation * b), (3, 4))[..., ::stride, ::stride]
            out = out + torch.einsum("goc,ngchw->ngohw", w[..., a, b], x)
    return out.flatten(1).T


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["id"])
def test_golden_norms(case: dict) -> None:
    """Norms of dense matrices, stored: exact ones agree to 1e-13, zero-padded ones are enclosed to 1e-6."""
    k, n, s = case["kernel"], case["grid"], case["stride"]
    module = conv(kernel(*k), s, k[-1] // 2, mode=case["mode"])
    if case["mode"] == "circular":
        measured = conv_norm(module, (n, n))
        assert measured.kind == "exact"
        assert measured.value == pytest.approx(case["norm"], rel=1e-13)
        assert float(singular_values(module, (n, n))[-1]) == pytest.approx(case["smallest"], abs=1e-13 * case["norm"])
    else:
        operator = ConvOperator.of(module, (n, n))
        lower, upper = enclose_norm(operator)
        assert (lower.kind, upper.kind) == ("certified_lower", "certified_upper")
        assert lower.value <= case["norm"] * (1 + 1e-14)
        assert case["norm"] <= upper.value * (1 + 1e-14)
        assert upper.value <= lower.value * (1 + 1e-6)
        assert upper.value <= torus_bound(operator).value
        least = smallest_singular_value(operator)
        assert least.kind == "converged"
        assert least.value == pytest.approx(case["smallest"], abs=1e-13 * case["norm"])


@settings(max_examples=60)
@given(st.data())
def test_periodic_spectra_are_exact(data: st.DataObject) -> None:
    """Any stride that divides the grid, groups, dilation, kernels larger than the grid."""
    stride, dilation = data.draw(st.sampled_from([1, 2, 3])), data.draw(st.sampled_from([1, 2]))
    groups, rows, columns = (data.draw(st.integers(1, 3)) for _ in range(3))
    grid = tuple(stride * data.draw(st.integers(1, 8 // stride)) for _ in range(2))
    sides = [data.draw(st.integers(1, 5)) for _ in range(2)]
    weight = kernel(groups * rows, columns, *sides) * 2.0 ** data.draw(st.integers(-300, 300))
    truth = torch.linalg.svdvals(wrapped(weight, grid, stride, dilation, groups))
    operator = ConvOperator(
        weight,
        grid,
        (stride, stride),
        (dilation, dilation),
        groups,
        tuple((0, dilation * (k - 1)) for k in sides),
        "circular",
    )
    values, norm = _all_values(operator), operator_norm(operator)
    assert norm.kind == "exact"
    assert values.shape == truth.shape
    assert float((values - truth).abs().max()) <= 1e-13 * float(truth[0])
    assert norm.value == pytest.approx(float(truth[0]), rel=1e-13)
    if groups == dilation == 1:
        assert float(periodic_norms(weight[None], grid, stride)) == pytest.approx(float(truth[0]), rel=1e-13)


@settings(max_examples=60)
@given(st.data())
def test_enclosures_enclose(data: st.DataObject) -> None:
    """Zero padding of any width: both bounds hold, are 1e-6 apart, and tori bound from above."""
    groups, rows, columns = (data.draw(st.integers(1, 2)) for _ in range(3))
    side = data.draw(st.integers(1, 5))
    weight = kernel(groups * rows, columns, side, side)
    stride, padding, dilation = (data.draw(st.sampled_from(x)) for x in ([1, 1, 2, 3], [0, 1, 2, 3], [1, 1, 2]))
    grid = data.draw(SIDES), data.draw(SIDES)
    if min(grid) + 2 * padding <= dilation * (side - 1):
        with pytest.raises(ValueError, match="does not fit"):
            ConvOperator.of(conv(weight, stride, padding, dilation, groups), grid)
        return
    operator = ConvOperator.of(conv(weight, stride, padding, dilation, groups), grid)
    truth = torch.linalg.svdvals(operator.dense())
    lower, upper = enclose_norm(operator)
    slack = 1 + 1e-14  # of the dense reference
    assert lower.value <= float(truth[0]) * slack
    assert float(truth[0]) <= upper.value * slack
    assert upper.value <= lower.value * (1 + 1e-6)
    assert float(truth[0]) <= min(torus_bound(operator, twists).value for twists in (True, False)) * slack
    assert smallest_singular_value(operator).value == pytest.approx(float(truth[-1]), abs=1e-12 * float(truth[0]))


@pytest.mark.parametrize("n", [1, 2, 4, 7, 8])
@pytest.mark.parametrize(
    "weight", [ONES, LAPLACE, torch.outer(torch.tensor([1.0, 0, -1]), torch.tensor([1.0, 0, -1])).double()]
)
def test_the_same_grid_is_no_bound_for_zero_padding(n: int, weight: Tensor) -> None:
    """Sharp kernels on small grids: the periodic norm may be smaller than the zero-padded one, the bound may not."""
    weight = weight[None, None]
    module = conv(weight, padding=1)
    truth = float(torch.linalg.matrix_norm(ConvOperator.of(module, (n, n)).dense(), 2))
    bound = conv_norm(module, (n, n))
    assert bound.kind == "certified_upper"
    assert truth <= bound.value


def test_periodic_norms_do_fall_below_zero_padded_ones() -> None:
    """The pitfall exists: rotations in each channel pair, (1 + 2 cos(pi / 5))^2 against less."""
    turn = torch.tensor([[1.0, -1], [1, 1]], dtype=torch.float64) / math.sqrt(2)  # by pi/4: between the frequencies
    line = torch.stack([turn.T, torch.eye(2, dtype=torch.float64), turn])
    weight = torch.einsum("aij,bkl->ikjlab", line, line).reshape(4, 4, 3, 3)
    truth = float(torch.linalg.matrix_norm(ConvOperator.of(conv(weight, padding=1), (4, 4)).dense(), 2))
    assert truth == pytest.approx((1 + 2 * math.cos(math.pi / 5)) ** 2, rel=1e-13)
    ratio = float(periodic_norms(weight[None], (4, 4))) / truth
    assert ratio == pytest.approx((1 + math.sqrt(2)) ** 2 / truth)
    assert ratio < 0.851
    assert truth <= conv_norm(conv(weight, padding=1), (4, 4)).value


def test_a_proof_fails_below_the_norm() -> None:
    """Cholesky does not certify what is false by 1e-7."""
    operator = ConvOperator.of(conv(kernel(3, 3, 3, 3), padding=1), (6, 6))
    truth = float(torch.linalg.matrix_norm(operator.dense(), 2))
    assert certified_below(operator, truth * (1 - 1e-7)) is None
    assert certified_below(operator, truth * (1 + 1e-7)) >= truth


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_other_paddings_are_bounded(mode: str) -> None:
    """Reflected and replicated pixels, and circular padding that is no torus."""
    for n, stride, padding in [(4, 1, 2 if mode == "circular" else 1), (5, 2, 2), (7, 3, 3), (3, 1, 2)]:
        module = conv(kernel(2, 3, 3, 3), stride, padding, mode=mode)
        truth = float(torch.linalg.matrix_norm(ConvOperator.of(module, (n, n)).dense(), 2))
        bound = conv_norm(module, (n, n))
        assert bound.kind == "certified_upper"
        assert truth <= bound.value
        assert singular_values(module, (n, n))[0] == pytest.approx(truth)


def test_groups_take_the_maximum_and_scales_fold() -> None:
    """Depthwise kernels, a batch norm's scale of either sign, float32 weights."""
    module = conv(kernel(4, 1, 3, 3), padding=1, groups=4, mode="circular")
    each = [conv_norm(conv(kernel(4, 1, 3, 3)[i : i + 1], padding=1, mode="circular"), (6, 6)).value for i in range(4)]
    assert conv_norm(module, (6, 6)).value == pytest.approx(max(each), rel=1e-14)
    scale = torch.tensor([-3.0, 0, 0.5, 1])
    assert conv_norm(module, (6, 6), scale).value == pytest.approx(float((scale.abs() * torch.tensor(each)).max()))
    single = periodic_norms(kernel(1, 3, 3, 3, 3).float(), (8, 8))
    assert single.dtype == torch.float32
    assert float(single) == pytest.approx(float(periodic_norms(kernel(1, 3, 3, 3, 3), (8, 8))), rel=1e-6)


def test_periodic_norms_of_many_layers() -> None:
    """Layers of different sizes do not disturb each other; the zero kernel has norm 0."""
    weights = kernel(5, 4, 4, 3, 3) * torch.tensor([1e-150, 1, 0, 1e150, 2.0], dtype=torch.float64).view(-1, 1, 1, 1, 1)
    norms = periodic_norms(weights, (6, 4), 2)
    assert norms[2] == 0
    for weight, norm in zip(weights, norms, strict=True):
        assert float(norm) == pytest.approx(float(periodic_norms(weight[None], (6, 4), 2)), rel=1e-14)


@settings(max_examples=100)
@given(st.integers(1, 4), SIDES, SIDES, *[st.sampled_from([1, 3, 5])] * 2, st.integers(0, 10**6))
def test_half_an_fft_inverts(channels: int, n1: int, n2: int, k1: int, k2: int, seed: int) -> None:
    """Random "same" convolutions against dense SVD: 1e-8 relative, or rounding of the norm."""
    weight = torch.randn(channels, channels, k1, k2, generator=torch.Generator().manual_seed(seed)).double()
    operator = ConvOperator(weight, (n1, n2), padding=((k1 // 2, k1 // 2), (k2 // 2, k2 // 2)))
    truth = torch.linalg.svdvals(operator.dense())
    found = _by_half_fft(touching(operator))
    assert found or float(truth[-1]) < 1e-7 * float(truth[0])
    if found:
        assert found[0] == pytest.approx(float(truth[-1]), rel=1e-8, abs=1e-14 * float(truth[0]))
        assert found[1] <= 1e-7


@pytest.mark.parametrize("weight", [ONES, LAPLACE, LAPLACE * 0 + torch.tensor([1.0, 0, 1])])
@pytest.mark.parametrize("n", [4, 5, 98])
def test_kernels_with_zeros_in_their_symbols(weight: Tensor, n: int) -> None:
    """Where a pivot or a frequency vanishes, another twist or block QR helps."""
    operator = ConvOperator(weight[None, None], (4, n), padding=((1, 1), (1, 1)))
    truth = torch.linalg.svdvals(operator.dense())
    assert smallest_singular_value(operator).value == pytest.approx(float(truth[-1]), abs=1e-12 * float(truth[0]))
    found = _by_half_fft(operator)
    assert found is None or found[0] == pytest.approx(float(truth[-1]), rel=1e-8, abs=1e-12)


def test_two_ways_agree() -> None:
    """Half an FFT and block QR at a size of CIFAR networks; 3584 entries in an image row are no obstacle."""
    weight = torch.randn(16, 16, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    operator = ConvOperator(weight, (16, 16), padding=((1, 1), (1, 1)))
    least = smallest_singular_value(operator)
    assert least.kind == "converged"
    assert "half FFT" in least.note
    assert least.value == pytest.approx(_by_block_qr(operator), rel=1e-9)
    weight[:, :, 1, 1] += 30 * torch.eye(16)
    wide = smallest_singular_value(replace(operator, grid=(2, 224)))
    assert "half FFT" in wide.note


@pytest.mark.parametrize(("rows", "columns", "stride"), [(16, 8, 2), (8, 16, 2), (8, 16, 1), (16, 8, 1)])
@pytest.mark.parametrize("repeated", [False, True])
def test_rectangular_operators(rows: int, columns: int, stride: int, *, repeated: bool) -> None:
    """Lanczos' method alone where it can tell; a channel written twice may leave it nothing to tell."""
    weight = kernel(rows, columns, 3, 3).double()
    if repeated:
        weight[1], weight[:, 1] = weight[0], weight[:, 0]
    operator = ConvOperator(weight, (14, 14), (stride, stride), padding=((1, 1), (1, 1)))
    truth = torch.linalg.svdvals(operator.dense())
    least = smallest_singular_value(operator)
    assert least.value == pytest.approx(float(truth[-1]), abs=1e-12 * float(truth[0]))
    assert repeated or least.note.startswith("Lanczos")


@pytest.mark.parametrize("exponent", [-1000, -600, 600, 1000])
def test_scale_does_not_matter(exponent: int) -> None:
    """Powers of two scale all numbers exactly, where squares underflow or overflow too; zero kernels have 0."""
    for grid, stride in [((6, 5), 1), ((6, 5), 2), ((6, 30), 1)]:
        operator = ConvOperator.of(conv(kernel(4, 4, 3, 3), stride, padding=1), grid)
        scaled = replace(operator, weight=operator.weight * 2.0**exponent)
        for measure in (torus_bound, smallest_singular_value, *(lambda o, i=i: enclose_norm(o)[i] for i in (0, 1))):
            assert measure(scaled).value == measure(operator).value * 2.0**exponent
            assert measure(replace(operator, weight=operator.weight * 0)).value == 0


class Net(nn.Module):
    """One layer of each sort, one used on two grids."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")
        self.twice = nn.Conv2d(4, 4, 3, padding=1)
        self.point = nn.Conv2d(4, 6, 1, 2)
        self.norm = nn.BatchNorm2d(6)
        self.up = nn.ConvTranspose2d(6, 6, 2, 2)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 5)."""
        x = self.twice(nn.functional.avg_pool2d(self.twice(self.stem(x)), 2))
        return self.head(self.up(self.norm(self.point(x))).mean((2, 3)))


def test_the_layers_of_a_network() -> None:
    """Grids, kinds, refusals, the table and the picture; the model stays as it is."""
    torch.manual_seed(0)
    model = Net()
    model.norm.eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    norms = layer_norms(model, (3, 8, 8), smallest=True)
    assert model.training
    assert not model.norm.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert [(x.name, x.grid) for x in norms] == [
        ("stem", (8, 8)), ("twice", (8, 8)), ("twice", (4, 4)), ("point", (4, 4)), ("up", (2, 2)), ("head", None),
    ]  # fmt: skip
    assert [x.upper.kind for x in norms] == ["exact", *["certified_upper"] * 2, "exact", "certified_upper", "exact"]
    assert norms[4].upper.value == math.inf
    assert "ConvTranspose2d" in norms[4].upper.note
    for layer in norms:
        assert layer.lower.value <= layer.upper.value
    truth = torch.linalg.svdvals(ConvOperator.of(model.twice, (4, 4)).dense())
    assert norms[2].condition
    assert norms[2].condition.kind == "converged"
    assert norms[2].condition.value == pytest.approx(float(truth[0] / truth[-1]), rel=2e-6)
    assert norms.table().row_count == 6
    assert json.loads(json.dumps(norms.to_dict()))["layers"][4]["upper"]["value"] == "inf"
    assert len(layer_norms_figure(norms).axes) == 2
    assert len(layer_norms_figure(layer_norms(model, (3, 8, 8), tight=False)).axes) == 1


class House(nn.Module):
    """The layers of stabzoo.networks.resnet, one scaled by its caller, and a parametrized one."""

    def __init__(self) -> None:
        super().__init__()
        self.scaled = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.project = nn.Conv2d(6, 8, 1, 2, bias=False)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 8, H / 2, W / 2)."""
        return self.normed(self.project(0.5 * self.scaled(x)))


@pytest.mark.parametrize("tight", [True, False])
def test_house_layers_are_accepted(tight: bool) -> None:
    """A scale of the call is not the layer's; layers of one shape share their bound's work, not its value."""
    model = nn.Sequential(House(), nn.Conv2d(8, 8, 3, padding=1))
    norms = layer_norms(model, (3, 8, 8), tight=tight)
    layers = [model[0].scaled, model[0].project, model[0].normed, model[1]]
    for norm, layer, n in zip(norms, layers, [8, 8, 4, 4], strict=True):
        truth = float(torch.linalg.matrix_norm(ConvOperator.of(layer, (n, n)).dense(), 2))
        assert norm.lower.value <= truth * (1 + 1e-14)
        assert truth <= norm.upper.value * (1 + 1e-14) <= truth * 1.2


class Standardised(nn.Conv2d):
    """A convolution whose kernel is not its weight."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        return self._conv_forward(input, self.weight / self.weight.norm(), self.bias)


def test_refusals() -> None:
    """What is not known is said."""
    norms = layer_norms(nn.Sequential(Standardised(3, 4, 3)), (3, 8, 8))
    assert norms[0].upper.value == math.inf
    assert "computes something else" in norms[0].upper.note
    with pytest.raises(ValueError, match="not shift invariant"):
        periodic_norms(kernel(1, 2, 2, 3, 3), (5, 4), 2)
    with pytest.raises(ValueError, match="finite"):
        periodic_norms(kernel(1, 2, 2, 3, 3) * math.nan, (4, 4))
    broken = nn.Sequential(conv(kernel(2, 2, 3, 3).float() * math.inf))
    with pytest.raises(ValueError, match=r"layer '0'.*finite"):
        layer_norms(broken, (2, 8, 8))
    with pytest.raises(ValueError, match="expected periodic padding"):
        singular_values(conv(kernel(8, 8, 3, 3), padding=1), (32, 32))
    with pytest.raises(ValueError, match="expected Linear"):
        singular_values(nn.ReLU(), (4, 4))
    with pytest.raises(ValueError, match="channels, height, width"):
        layer_norms(broken, (8, 8))
    with pytest.raises(ValueError, match="at least one layer"):
        layer_norms_figure(layer_norms(nn.ReLU(), (2, 8, 8)))
    twice = kernel(66, 66, 3, 3)
    twice[1] = twice[0]  # rank deficient: neither Lanczos' method nor, for its size, block QR
    with pytest.raises(ValueError, match="image row"):
        smallest_singular_value(ConvOperator.of(conv(twice, 2, padding=1), (32, 32)))


@pytest.mark.parametrize(
    ("kernel", "stride", "groups", "side"), [(2, 2, 1, 6), (3, 4, 2, 7), (4, 4, 1, 4), (2, 3, 4, 5)]
)
def test_patches_that_do_not_overlap_are_exact(kernel: int, stride: int, groups: int, side: int) -> None:
    """The singular values are those of the whole matrix, pixels that nothing reads included."""
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, kernel, stride, groups=groups)
    truth = torch.linalg.svdvals(ConvOperator.of(conv, (side, side)).dense())
    norm = conv_norm(conv, (side, side))
    assert norm.kind == "exact"
    assert norm.value == pytest.approx(float(truth[0]), rel=1e-12)
    torch.testing.assert_close(singular_values(conv, (side, side)), truth, atol=1e-12, rtol=1e-12)
    (layer,) = layer_norms(nn.Sequential(conv).eval(), (4, side, side), smallest=True)
    assert layer.smallest is not None
    assert layer.smallest.value == pytest.approx(float(truth[-1]), abs=1e-12)


def normed(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """With numbers as a training leaves them."""
    nn.init.uniform_(norm.weight, -2, 2)
    norm.running_var.uniform_(0.1, 3)  # type: ignore[union-attr]
    return norm


def test_a_batch_norm_beside_a_layer_is_folded_in() -> None:
    """The norm is that of torch's fused convolution; of one that gets another state, its largest scale."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), normed(nn.BatchNorm2d(3))
            self.conv2, self.bn2 = nn.Conv2d(3, 3, 1, bias=False), normed(nn.BatchNorm2d(3))
            self.fc = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.bn1(self.conv1(x))
            y = self.conv2(x)
            y += x  # written over the convolution's result: what the norm gets is another state
            return self.fc(self.bn2(y).mean((2, 3)))

    torch.manual_seed(0)
    model = Net().eval()
    plain = {layer.name: layer for layer in layer_norms(model, (2, 6, 6))}
    found = {layer.name: layer for layer in layer_norms(model, (2, 6, 6), folded=True)}
    assert list(plain) == ["conv1", "conv2", "fc"]
    assert list(found) == ["conv1", "conv2", "bn2", "fc"]
    fused = torch.nn.utils.fuse_conv_bn_eval(model.conv1, model.bn1)
    assert found["conv1"].upper.value == pytest.approx(conv_norm(fused, (6, 6)).value, rel=1e-6)
    assert (found["conv1"].batch_norm, found["conv2"].batch_norm) == ("bn1", "")
    assert found["conv2"].upper == plain["conv2"].upper
    scale = model.bn2.weight.detach().double() / (model.bn2.running_var.double() + model.bn2.eps).sqrt()
    assert found["bn2"].upper.value == pytest.approx(float(scale.abs().max()), rel=1e-12)


def test_a_linear_layer_takes_a_batch_norm_in() -> None:
    """As a convolution does; one with the batch's statistics is refused."""
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), norm).eval()
    nn.init.uniform_(norm.weight, -2, 2)
    (layer,) = layer_norms(model, (1, 2, 2), folded=True)
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().double()  # type: ignore[operator]
    weight = scale[:, None] * model[1].weight.detach().double()
    assert layer.upper.value == pytest.approx(float(torch.linalg.matrix_norm(weight, 2)))
    alone = nn.BatchNorm2d(1, track_running_stats=False)  # of pixels: one image is enough
    refused = layer_norms(nn.Sequential(alone, nn.Flatten(), nn.Linear(4, 3)).eval(), (1, 2, 2), folded=True)[0]
    assert math.isinf(refused.upper.value)
    says(refused.upper.note, "batch's statistics")


def test_a_convolution_that_is_met_again_is_bounded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within `remembered` alone; another grid, other weights and other padding have bounds of their own."""
    torch.manual_seed(0)
    plain = conv(kernel(3, 2, 3, 3), padding=1)
    others = [conv(kernel(3, 2, 3, 3), padding=2), conv(2 * kernel(3, 2, 3, 3), padding=1)]
    asked = [(plain, (8, 8)), (plain, (7, 8)), *((other, (8, 8)) for other in others)]
    expected = [conv_norm(module, grid) for module, grid in asked]
    assert len({norm.value for norm in expected}) == len(asked)
    bounded: list[ConvOperator] = []
    compute = zero_padding._torus_bounds

    def counted(operators: Sequence[ConvOperator], twists: bool | None) -> list[Measurement]:
        bounded.extend(operators)
        return compute(operators, twists)

    monkeypatch.setattr(zero_padding, "_torus_bounds", counted)
    with zero_padding.remembered():
        assert [conv_norm(module, grid) for module, grid in asked * 2] == expected * 2
        assert len(bounded) == len(asked)
    assert conv_norm(plain, (8, 8)) == expected[0]
    assert len(bounded) == len(asked) + 1
