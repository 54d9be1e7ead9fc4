"""Norms and singular values of a network's convolutions and linear layers, on the grids they meet.

A layer whose operator is known exactly or enclosed gets a number; any other gets infinity and the reason.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from stabzoo.diagnostics.capture import run_hooked
from stabzoo.diagnostics.measurement import Measurement
from stabzoo.diagnostics.spectra.folding import scale_and_shift
from stabzoo.diagnostics.spectra.operators import ConvOperator, largest_singular_values, transposed_operator
from stabzoo.diagnostics.spectra.periodic import (
    coarse_grid,
    half_frequencies,
    periodic_singular_values,
    polyphase,
    symbol_norms,
)
from stabzoo.diagnostics.spectra.smallest import smallest_singular_value
from stabzoo.diagnostics.spectra.zero_padding import (
    COPYING,
    enclose_norm,
    padded_bound,
    quickly_enclosed,
    torus_bound,
    torus_bounds,
)

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["LayerNorm", "LayerNorms", "conv_norm", "layer_norms", "operator_norm", "singular_values"]

_DENSE = 2048  # largest dimension of a matrix that is decomposed as it is


@dataclass(frozen=True)
class LayerNorm:
    """One layer on one grid.

    Attributes:
        name: As in `named_modules`.
        shape: Of the weight.
        grid: Height and width of the input; None for linear layers.
        lower, upper: Of the norm; the same exact number where it is known.
        smallest: The smallest of the min(rows, columns) singular values; None if it was not asked for or is not known.
        batch_norm: Name of the batch norm that is folded in; empty: none.
    """

    name: str
    shape: tuple[int, ...]
    grid: tuple[int, int] | None
    lower: Measurement
    upper: Measurement
    smallest: Measurement | None = None
    batch_norm: str = ""

    @property
    def condition(self) -> Measurement | None:
        """Largest over smallest singular value."""
        if self.smallest is None or not math.isfinite(self.upper.value):
            return None
        value = self.upper.value / self.smallest.value if self.smallest.value else math.inf
        exact = self.upper.kind == self.smallest.kind == "exact"
        return Measurement(value, "exact" if exact else "converged", "" if self.smallest.value else "singular")

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        numbers = {"lower": self.lower, "upper": self.upper, "smallest": self.smallest, "condition": self.condition}
        return {
            "name": self.name,
            "shape": list(self.shape),
            "grid": list(self.grid) if self.grid else None,
            **({"batch_norm": self.batch_norm} if self.batch_norm else {}),
            **{key: number.to_dict() for key, number in numbers.items() if number},
        }


@dataclass(frozen=True)
class LayerNorms(Sequence[LayerNorm]):
    """The layers of a network, in the order of their first use."""

    layers: tuple[LayerNorm, ...]

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: Any) -> Any:
        return self.layers[index]

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {"layers": [layer.to_dict() for layer in self.layers]}

    def table(self) -> Table:
        """Return a rich table: norm, what kind of number it is, and the condition number where it was asked for."""
        from rich.table import Table

        with_smallest = any(layer.smallest for layer in self.layers)
        table = Table("layer", "weight", "grid", "norm", "kind", *(["smallest", "condition"] * with_smallest), "note")
        for layer in self.layers:
            pair = [f"{m.value:.4g}" if m else "-" for m in (layer.smallest, layer.condition)] * with_smallest
            grid = "x".join(map(str, layer.grid)) if layer.grid else "-"
            shape, upper = "x".join(map(str, layer.shape)), layer.upper
            table.add_row(layer.name, shape, grid, f"{upper.value:.7g}", upper.kind, *pair, upper.note)
        return table


def conv_norm(conv: nn.Conv2d | nn.ConvTranspose2d, grid: tuple[int, int], scale: Tensor | None = None) -> Measurement:
    """Bound ||diag(scale) conv|| on inputs of one size, fast: exact if periodic or pointwise, else certified.

    Args:
        conv: Any stride, groups, dilation and padding mode; the bias does not matter.
        grid: Height and width of the input.
        scale: (c_out,), e.g. of a batch norm folded into the convolution; its sign does not matter. Not for transposed
            convolutions.

    Raises:
        ValueError: Another kind of module, or a subclass that overrides forward(); the kernel does not fit the grid;
            the weights are complex, or not finite.
    """
    if type(conv) is nn.ConvTranspose2d and scale is None:
        return operator_norm(transposed_operator(conv, grid))
    if isinstance(conv, nn.Conv2d) and type(conv) is not Conv2dSame:
        own = [
            name for name in ("forward", "_conv_forward") if getattr(type(conv), name) is not getattr(nn.Conv2d, name)
        ]
        if own:
            raise ValueError(
                f"{type(conv).__name__} has a {own[0]} of its own, so its weight does not determine its operator"
            )
    return operator_norm(ConvOperator.of(cast(nn.Conv2d, conv), grid, scale))


def layer_norms(
    model: nn.Module, input_size: tuple[int, ...], *, tight: bool = True, smallest: bool = False, folded: bool = False
) -> LayerNorms:
    """Return the norm of every convolution and linear layer of a network.

    One forward pass of noise in evaluation mode finds the grids; the model and its training flags stay as they are. A
    layer used on several grids is listed once for each.

    Args:
        model: Any network that takes images.
        input_size: (channels, height, width).
        tight: Enclose the norms of zero-padded convolutions to 1e-6 where image rows are short enough: up to a second
            for a layer of CIFAR size; elsewhere the lower bound is rough. Otherwise they have the torus' upper bound
            only.
        smallest: Find the smallest singular values too; half a minute for a zero-padded layer of ImageNet size.
        folded: Fold each batch norm into the layer beside it whose result it gets, and list those that get another
            state, whose norm is the largest |gamma/sigma|: what acts on a state, not what is stored.

    Raises:
        ValueError: The input has not three axes, or a layer's weights are not finite.
    """
    if len(input_size) != 3:
        raise ValueError(f"expected input_size = (channels, height, width), got {tuple(input_size)}")
    calls, found = _calls(model, input_size, folded=folded), []
    operators = [_operator(call) for call in calls]
    bounds = {} if tight else _bounds([operator for operator in operators if operator])
    for call, operator in zip(calls, operators, strict=True):
        try:
            found.append(_measure(call, operator, bounds, smallest=smallest))
        except ValueError as error:
            raise ValueError(f"layer {call.name!r}: {error}") from None
    return LayerNorms(tuple(found))


@dataclass
class _Call:
    """A layer on a grid: why its weight does not tell its operator, and the scale of the batch norm that follows."""

    name: str
    layer: nn.Module
    grid: tuple[int, int] | None
    refusal: str = ""
    scale: Tensor | None = None
    batch_norm: str = ""


def _operator(call: _Call) -> ConvOperator | None:
    if not call.grid or call.refusal or isinstance(call.layer, _BatchNorm):
        return None
    try:
        return ConvOperator.of(cast(nn.Conv2d, call.layer), call.grid, call.scale)
    except ValueError as error:
        raise ValueError(f"layer {call.name!r}: {error}") from None


def _bounds(operators: list[ConvOperator]) -> dict[ConvOperator, Measurement]:
    """Return the torus' bound of each zero-padded operator; those of one shape share the work."""
    batches: dict[tuple[Any, ...], list[ConvOperator]] = {}
    for x in operators:
        if x.mode == "zeros" and not x.patchwise:
            key = x.weight.shape, x.grid, x.stride, x.dilation, x.groups, x.padding
            batches.setdefault(key, []).append(x)
    return {x: bound for batch in batches.values() for x, bound in zip(batch, torus_bounds(batch), strict=True)}


@torch.no_grad()
def singular_values(layer: nn.Module, input_size: tuple[int, int]) -> Tensor:
    """Return all singular values of a layer, descending, exactly: min(rows, columns) of them, float64.

    Args:
        layer: Linear, Conv2d or Conv1d; periodic and patchwise convolutions of any size, others up to 2048 rows or
            columns.
        input_size: Height and width of the input; of no importance for linear layers.

    Raises:
        ValueError: The layer is of another kind, or neither periodic nor small.
    """
    if isinstance(layer, nn.Linear):
        return torch.linalg.svdvals(layer.weight.detach().double().cpu())
    if not isinstance(layer, nn.Conv2d | nn.Conv1d):
        raise ValueError(f"expected Linear, Conv1d or Conv2d, got {type(layer).__name__}")
    return _all_values(ConvOperator.of(layer, input_size))


def _all_values(operator: ConvOperator) -> Tensor:
    groups = [operator.group(g) for g in range(operator.groups)]
    if operator.patchwise:
        small = torch.linalg.svdvals(torch.stack([g.weight.flatten(1) for g in groups])).flatten()
        values = small.repeat(math.prod(operator.output_grid)).sort(descending=True).values
        return F.pad(values, (0, min(operator.dimensions) - len(values)))  # pixels that a stride skips
    if operator.shift_invariant:
        args = operator.grid, operator.stride, operator.dilation
        return torch.cat([periodic_singular_values(g.weight, *args) for g in groups]).sort(descending=True).values
    if max(operator.dimensions) > _DENSE:
        raise ValueError(
            f"expected periodic padding with a stride that divides the {operator.grid[0]}x{operator.grid[1]} grid, or "
            f"at most {_DENSE} rows and columns; got {operator.mode!r} padding {operator.padding}, stride "
            f"{operator.stride}, {operator.dimensions[0]} x {operator.dimensions[1]}: ask for the norm only, or choose "
            "a smaller input"
        )
    return torch.linalg.svdvals(operator.dense())


@torch.no_grad()
def operator_norm(operator: ConvOperator) -> Measurement:
    """Return the norm of a convolution's operator: exact for patchwise and periodic ones, else an upper bound."""
    if operator.patchwise:
        matrices = operator.weight.reshape(operator.groups, -1, operator.weight[0].numel())
        note = "pointwise" if operator.pointwise else "patch by patch"
        return Measurement(float(largest_singular_values(matrices).max()), "exact", note)
    if operator.shift_invariant:
        taps = polyphase(
            operator.weight.view(operator.groups, -1, *operator.weight.shape[1:]), operator.stride, operator.dilation
        )
        frequencies, _ = half_frequencies(coarse_grid(operator.grid, operator.stride))
        return Measurement(float(symbol_norms(taps, frequencies).max()), "exact", "periodic, by FFT")
    if operator.mode == "zeros":
        return torus_bound(operator)
    if operator.mode in COPYING and quickly_enclosed(operator):
        return enclose_norm(operator)[1]
    return padded_bound(operator)


def _measure(
    call: _Call, operator: ConvOperator | None, bounds: dict[ConvOperator, Measurement], *, smallest: bool
) -> LayerNorm:
    layer, grid = call.layer, call.grid
    shape = () if layer.weight is None else tuple(cast(Tensor, layer.weight).shape)
    row: Callable[..., LayerNorm] = lambda lower, upper, least=None: LayerNorm(  # noqa: E731
        call.name, shape, grid, lower, upper, least, call.batch_norm
    )
    if call.refusal:
        why = call.refusal
        return row(Measurement(0.0, "certified_lower", why), Measurement(math.inf, "certified_upper", why))
    if isinstance(layer, nn.Linear | _BatchNorm):
        matrix = layer.weight.detach().double().cpu() if isinstance(layer, nn.Linear) else None
        if matrix is None:
            values, how = cast(Tensor, call.scale).abs().sort(descending=True).values, "largest |gamma/sigma|"
        else:
            scaled = matrix if call.scale is None else call.scale[:, None] * matrix
            values, how = torch.linalg.svdvals(scaled) if smallest else largest_singular_values(scaled[None]), "dense"
        norm, least = (Measurement(float(values[i]), "exact", how) for i in (0, -1))
        return row(norm, norm, least if smallest else None)
    assert operator is not None
    if operator.patchwise or operator.shift_invariant:
        norm = operator_norm(operator)
        if not smallest:
            return row(norm, norm)
        return row(norm, norm, Measurement(float(_all_values(operator)[-1]), "exact", norm.note))
    if operator.mode == "circular":
        return row(Measurement(0.0, "certified_lower", "not computed"), operator_norm(operator))
    quick = bounds.get(operator)
    lower, upper = (Measurement(0.0, "certified_lower"), quick) if quick else enclose_norm(operator)
    return row(lower, upper, _smallest(operator) if smallest and operator.mode == "zeros" else None)


def _smallest(operator: ConvOperator) -> Measurement | None:
    try:
        return smallest_singular_value(operator)
    except ValueError:  # too large or too ill-conditioned: not known
        return None


def _refusal(layer: nn.Module, x: Tensor, y: Tensor) -> str:
    """Why a layer's weight does not tell its operator, or an empty string.

    A subclass may do anything to its weight on the way (standardise it, say): there the result is compared with the
    plain layer's on the input it got.
    """
    if layer.weight.is_complex():  # type: ignore[operator]  # pyright: ignore
        return f"{type(layer).__name__} has complex weights: only real ones are measured"
    for plain in (nn.Linear, nn.Conv2d, nn.Conv1d):
        if isinstance(layer, plain):
            if type(layer) in (plain, Conv2dSame):
                return ""
            try:
                expected = plain.forward(cast(Any, layer), x)
            except RuntimeError:
                return f"{type(layer).__name__} takes what a {plain.__name__} does not"
            tolerance = 1e-4 * float(expected.abs().max())
            same = expected.shape == y.shape and bool(((expected - y).abs() <= tolerance).all())
            return "" if same else f"{type(layer).__name__} computes something else than a {plain.__name__}"
    return f"{type(layer).__name__} is not supported"


_KINDS = (nn.Linear, nn.modules.conv._ConvNd)


def _calls(model: nn.Module, input_size: tuple[int, ...], *, folded: bool) -> list[_Call]:
    """Find each layer and grid it is called with, and the batch norms, by one forward pass."""
    names = {module: name for name, module in model.named_modules()}
    seen: dict[tuple[nn.Module, tuple[int, int] | None], _Call] = {}
    results: list[tuple[Tensor, int, _Call]] = []  # with its version, for a sum may be written over it

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        x = args[0] if args else kwargs["input"]
        grid = None
        if not isinstance(module, nn.Linear):
            height, width = (1, 1, *x.shape[2:])[-2:]
            grid = int(height), int(width)
        call = seen.setdefault((module, grid), _Call(names[module], module, grid))
        results.append((output, output._version, call))
        if len(args) + len(kwargs) > 1 and isinstance(module, _KINDS):  # a scale of the call is not the layer's
            output = module.forward(x)
        call.refusal = call.refusal or _refusal(module, x, output)

    def fold(norm: nn.Module, args: tuple[Any, ...]) -> None:
        given, place = args[0], names[norm].rpartition(".")[0]
        before = next(
            (
                call
                for result, version, call in results
                if result is given and version == given._version and call.name.rpartition(".")[0] == place
            ),
            None,
        )
        try:
            scale, _ = scale_and_shift(cast(_BatchNorm, norm))
            refusal = ""
        except ValueError as error:
            scale, refusal = None, str(error)
        if before is not None and not refusal and before.batch_norm in ("", names[norm]):
            before.scale, before.batch_norm = scale, names[norm]
        else:
            seen.setdefault((norm, None), _Call(names[norm], norm, None, refusal, scale))

    parameter = next(itertools.chain(model.parameters(), model.buffers()), torch.zeros(()))
    image = torch.randn(1, *input_size, generator=torch.Generator().manual_seed(0)).to(parameter)
    handles = [m.register_forward_hook(note, with_kwargs=True) for m in names if isinstance(m, _KINDS)]
    if folded:
        handles += [m.register_forward_pre_hook(fold) for m in names if isinstance(m, _BatchNorm)]
    run_hooked(model, image, handles)
    return list(seen.values())
