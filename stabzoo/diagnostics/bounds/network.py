"""Forward stability: how far a network's logits can move when its image moves, and how large they can get.

The bound is put together block by block, from what each block proves about itself, and where every block is a step of
periodic convolutions also for all of them at once (`stabzoo.diagnostics.bounds.joint`). Each hypothesis is checked;
one that does not hold costs its block the theorem's factor, is named, and leaves an honest larger factor, or infinity.

Bounds hold on all of R^n, for images of one size, in evaluation mode, with the weights as they are, in real arithmetic;
they are rounded up.

Source: Zhang and Schaeffer, Forward stability of ResNet and its variants, JMIV 2020, eqs. (45), (51), (55), (57).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch
from timm.layers import ClassifierHead
from timm.layers.adaptive_avgmax_pool import FastAdaptiveAvgPool, SelectAdaptivePool2d
from torch import Tensor, nn

from stabzoo.diagnostics.bounds.examination import cross_examine
from stabzoo.diagnostics.bounds.genuine import altered, frozen, unprovable
from stabzoo.diagnostics.bounds.history import history_bounds
from stabzoo.diagnostics.bounds.joint import Kernel, ReluStep, joint_sensitivity
from stabzoo.diagnostics.bounds.parts import chain, own_bound, sequence_bound
from stabzoo.diagnostics.bounds.rules.composition import composition
from stabzoo.diagnostics.bounds.rules.normalization import fold_batch_norm
from stabzoo.diagnostics.bounds.step_bound import Shape, StepBound, rounded_up
from stabzoo.diagnostics.measurement import Measurement
from stabzoo.diagnostics.spectra.operators import largest_singular_values
from stabzoo.networks.resnet import Block
from stabzoo.networks.staged import ListStage, Stage, StagedNetwork

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["ForwardBounds", "forward_bounds"]


_EVALUATED = 1 + 1e-6  # the offset is often attained, by f(0): float32 may compute a little more


@dataclass(frozen=True)
class ForwardBounds:
    """What is proved of a network.

    Attributes:
        blocks: Its pieces from the image to the logits; the head's is one piece.
        input_size: (channels, height, width).
        joint: Bound of the whole map with `joint_sensitivity`; None where that bounds no part better than the product.
        at_zero: ||f(0)||, rounded up; None of a network that is not bounded.
    """

    blocks: tuple[StepBound, ...]
    input_size: tuple[int, int, int]
    joint: float | None = None
    at_zero: float | None = None

    @property
    def sensitivity(self) -> Measurement:
        """a: ||f(x) - f(y)|| <= a ||x - y|| for the logits (or the last state, without a classifier)."""
        product = chain(self.blocks)[0]
        if self.joint is not None and self.joint < product:
            return Measurement(self.joint, "certified_upper", "all layers at once")
        return self._measurement(product, "product over the blocks")

    @property
    def feature_sensitivity(self) -> Measurement:
        """The same for the unpooled features, before the final norm."""
        return self._measurement(chain([b for b in self.blocks if not _is_head(b)])[0], "product over the blocks")

    @property
    def _size(self) -> tuple[float, float, str]:
        """Growth, offset and how they were found: by block, or ||f(x)|| <= a ||x|| + ||f(0)|| where that fails."""
        _, growth, offset = chain(self.blocks)
        if math.isfinite(growth) and math.isfinite(offset):
            return growth, offset, "block by block"
        if self.at_zero is None:
            return math.inf, math.inf, ""
        return self.sensitivity.value, self.at_zero, "sensitivity and f(0)"

    @property
    def growth(self) -> Measurement:
        """g: ||f(x)|| <= g ||x|| + c."""
        return self._measurement(self._size[0], self._size[2])

    @property
    def offset(self) -> Measurement:
        """c, from the biases; eqs. (45), (55) with every bias taken at every pixel."""
        return self._measurement(self._size[1] * _EVALUATED, self._size[2])

    @property
    def paper_sensitivity(self) -> float | None:
        """Eqs. (51), (57) as printed, whether or not their hypotheses hold; None where a block has no formula."""
        factors = [b.paper for b in self.blocks]
        return None if None in factors else math.prod(cast(list[float], factors))

    @property
    def paper_offset(self) -> float | None:
        """Eqs. (45), (55), every bias at every pixel; None where a block has no formula."""
        parts = [b.paper_offset if b.paper_offset is not None else b.offset for b in self.blocks]
        return None if self.paper_sensitivity is None else sum(parts)

    @property
    def refused(self) -> tuple[str, ...]:
        """Every hypothesis that does not hold, with the block's name."""
        return tuple(f"{b.name}: {reason}" for b in self.blocks for reason in b.refused)

    def _measurement(self, value: float, note: str) -> Measurement:
        if math.isfinite(value):
            return Measurement(value, "certified_upper", note)
        return Measurement(math.inf, "certified_upper", "; ".join(self.refused) or "no bound of the size")

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe: infinite numbers are strings."""
        names = ("sensitivity", "feature_sensitivity", "growth", "offset")
        paper = {"sensitivity": self.paper_sensitivity, "offset": self.paper_offset}
        return {
            "input_size": list(self.input_size),
            **{name: getattr(self, name).to_dict() for name in names},
            "paper": {k: v if v is None or math.isfinite(v) else str(v) for k, v in paper.items()},
            "refused": list(self.refused),
            "blocks": [block.to_dict() for block in self.blocks],
        }

    def table(self) -> Table:
        """Return a rich table: each piece's theorem and factors, the paper's factor beside ours, and the totals."""
        from rich.table import Table

        table = Table("block", "by", "sensitivity", "paper", "growth", "offset", "refused", title="forward bounds")
        for block in self.blocks:
            numbers = (block.sensitivity, block.paper, block.growth, block.offset)
            table.add_row(block.name, block.theorem, *map(_shown, numbers), "; ".join(block.refused))
        table.add_section()
        totals = (self.sensitivity.value, self.paper_sensitivity, self.growth.value, self.offset.value)
        table.add_row("network", self.sensitivity.note, *map(_shown, totals), f"{len(self.refused)} in all")
        return table


def _is_head(block: StepBound) -> bool:
    return block.name.rpartition(".")[2] == "head"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def forward_bounds(
    model: nn.Module, input_size: tuple[int, int, int], *, iterations: int = 0, seconds: float = math.inf
) -> ForwardBounds:
    """Bound a network's sensitivity and growth from above.

    A finite bound is cross-examined: the network runs, in its own arithmetic, on pairs of images in the directions in
    which it moves most, and neither a piece nor the whole may exceed its bound: see
    ``stabzoo.diagnostics.bounds.examination``.

    Args:
        model: A network of this package, or any composition of modules of torch, timm and torchvision that have a rule;
            the bound of an unknown module is infinite.
        input_size: (channels, height, width): the bounds are those for this grid.
        iterations: Gradient steps of the joint bound, if there is one: more steps give a smaller bound.
        seconds: Time limit of these steps; fewer are made if it is reached.

    Raises:
        ValueError: The input size is not three positive numbers, or has another number of channels than the network.
        CertificateError: The network contradicts its bound; the message names the module.
    """
    if len(input_size) != 3 or min(input_size) < 1:
        raise ValueError(f"expected input_size = (channels, height, width), got {tuple(input_size)}")
    if isinstance(model, StagedNetwork) and model.in_chans != input_size[0]:
        raise ValueError(f"expected {model.in_chans} channels, as the network has, got {input_size[0]}")
    try:
        plain = _provable(model)
        blocks = _pieces("", plain, input_size)
    except ValueError as error:
        return ForwardBounds((_refused(str(error)),), input_size)
    blocks = [block if block.name else replace(block, name="network") for block in blocks]
    if not math.isfinite(chain(blocks)[0]):
        return ForwardBounds(tuple(blocks), input_size)
    joint = _joint(plain, blocks, (input_size[1], input_size[2]), iterations, seconds)
    at_zero = _at_zero(plain, input_size)
    if at_zero is None:
        return ForwardBounds((_refused(f"the network cannot be run on images of {input_size}"),), input_size)
    bounds = ForwardBounds(tuple(blocks), input_size, joint, at_zero)
    numbers = (bounds.sensitivity, bounds.growth, bounds.offset)
    sensitivity, growth, offset = (number.value for number in numbers)
    whole = StepBound(bounds.sensitivity.note, sensitivity, None, growth, offset, name="network")
    if reason := cross_examine(model, blocks, whole, input_size):
        return ForwardBounds((*blocks, _refused(reason)), input_size)
    return bounds


def _refused(reason: str) -> StepBound:
    return replace(StepBound.unknown(reason), name="network")


def _provable(model: nn.Module) -> nn.Module:
    """Return the network without parametrizations, or itself.

    Raises:
        ValueError: Nothing is proved of it, whatever its modules are.
    """
    if model.training:
        raise ValueError("training mode: batch norms couple the images and dropout draws at random; call model.eval()")
    plain = frozen(model)
    if reason := altered(plain) or unprovable(plain):
        raise ValueError(reason)
    return plain


@torch.no_grad()
def _at_zero(model: nn.Module, input_size: tuple[int, int, int]) -> float | None:
    """||f(0)||, rounded up; None where the network cannot be run."""
    exact = copy.deepcopy(model).to("cpu", torch.float64)
    try:
        return float(exact(torch.zeros(1, *input_size, dtype=torch.float64)).norm()) * (1 + 1e-8) + 1e-12
    except RuntimeError:
        return None


def _pieces(name: str, module: nn.Module, shape: Shape) -> list[StepBound]:
    """Bound a network of this package, anything that has one among its parts, or any other composition."""
    if isinstance(module, StagedNetwork):
        prefix = f"{name}." if name else ""
        pieces = _network(module, shape)
        return [replace(b, name=prefix + b.name, until=b.until and prefix + b.until) for b in pieces]
    if not any(True for _ in _staged(name, module)):
        return sequence_bound([(name, module)], shape)
    found: list[StepBound] = []
    for own, part in composition(module) or []:
        found += _pieces(f"{name}.{own}" if name else own, part, shape)
        after = found[-1].shape
        if after is None or not math.isfinite(found[-1].sensitivity):
            break
        shape = after
    return found


_PATH = ("forward", "forward_features", "forward_head", "__call__", "__getattr__", "__getattribute__", "_call_impl")
_PARTS = ("stem", "stem_pool", "stages", "norm", "head")


def _network(model: StagedNetwork, shape: Shape) -> list[StepBound]:
    overridden = [n for n in (*_PATH, "_wrapped_call_impl") if getattr(type(model), n) is not getattr(StagedNetwork, n)]
    overridden += [name for name in _PARTS if hasattr(type(model), name)]
    if overridden:
        return [_refused(f"{type(model).__name__} has its own {overridden[0]}")]
    found = sequence_bound([("stem", model.stem), ("stem_pool", model.stem_pool)], shape)
    here = found[-1].shape
    if here is None or found[-1].grid is None:
        return found
    named = _blocks(model)
    uses_history = any(isinstance(block, Block) for _, block in named)
    if uses_history:
        found += list(history_bounds(named, found[-1].grid))
    else:
        for name, block in named:
            try:
                if not hasattr(type(block), "bound"):
                    raise ValueError(f"{type(block).__name__}: nothing is known about what it computes")
                bound = own_bound(block, here)
            except ValueError as error:
                bound = StepBound.unknown(str(error))
            found.append(replace(bound, name=name))
            if bound.grid is None:
                return found
            here = (None, *bound.grid)
        if isinstance(found[0].form, Kernel):
            found[0] = _with_cap(found[0], "||A_0|| <= 1, (20a)", found[0].sensitivity)
    if found[-1].grid is None:
        return found
    head = _head(model, (model.feature_info[-1]["num_chs"], *found[-1].grid))
    return [*found, head if uses_history else _with_cap(head, "||W|| <= 1, (20b)", _norm_of_classifier(model))]


def _blocks(model: StagedNetwork) -> list[tuple[str, nn.Module]]:
    """The blocks with their names, in order.

    Raises:
        ValueError: A container of them is of a class that may compute anything.
    """
    if type(model.stages) is not nn.ModuleList:
        raise ValueError(f"stages is a {type(model.stages).__name__}: nothing is known about what it lists")
    named = []
    for i, stage in enumerate(model.stages):
        kind = type(stage.blocks) if type(stage) in (Stage, ListStage) else type(stage)  # pyright: ignore
        if kind is not nn.ModuleList:
            raise ValueError(
                f"stages.{i} is a {kind.__name__}, or made of one: nothing is known about what it computes"
            )
        named += [(f"stages.{i}.blocks.{j}", block) for j, block in enumerate(cast(Stage, stage).blocks)]
    return named


def _with_cap(bound: StepBound, hypothesis: str, norm: float) -> StepBound:
    """Note that an end of the network is not bounded by 1, as the theorems assume: its norm enters as a factor."""
    if norm <= 1 + 1e-8:
        return bound
    return replace(bound, refused=(*bound.refused, f"{hypothesis}: it is {norm:.6g}, taken as a factor"))


def _norm_of_classifier(model: StagedNetwork) -> float:
    return float(largest_singular_values(_classifier(model)[None]))


def _head(model: StagedNetwork, shape: Shape) -> StepBound:
    """Bound final norm, pooling and classifier together: ||W diag(s)|| / sqrt(h w) with a BN-relu before the mean."""
    norm = list(model.norm) if isinstance(model.norm, nn.Sequential) else [model.norm]
    parts = sequence_bound([("norm", model.norm), ("head", model.head)], shape)
    sensitivity, growth, offset = chain(parts)
    refused = tuple(f"{part.name}: {reason}" for part in parts for reason in part.refused)
    theorem = " · ".join(p.theorem for p in parts if p.theorem != "identity")
    if not math.isfinite(sensitivity):
        return replace(StepBound.unknown("; ".join(refused)), name="head")
    fc = model.head.fc
    if isinstance(fc, nn.Linear) and _pools_mean(model.head):
        scales = [folded[0] for m in norm if type(m) is nn.BatchNorm2d and (folded := fold_batch_norm(m))]
        if len(scales) == 1 and all(type(m) in (nn.BatchNorm2d, nn.ReLU, nn.Identity) for m in norm):
            value = float(largest_singular_values(fc.weight.detach().double().cpu()[None] * scales[0]))
            joint = rounded_up(value / math.sqrt(shape[1] * shape[2]))  # type: ignore[operator]  # pyright: ignore
            if joint < sensitivity:
                sensitivity, theorem = joint, "||W diag(gamma/sigma)||/sqrt(h w)"
    bias = float(fc.bias.detach().double().norm()) if isinstance(fc, nn.Linear) and fc.bias is not None else 0.0
    after = parts[-1].shape
    return StepBound(theorem, sensitivity, None, growth, offset, refused, 1.0, bias, name="head", shape=after)


def _pools_mean(head: ClassifierHead) -> bool:
    """Whether the head's pooling is the mean over all pixels, by what it computes and not by its name."""
    pool = head.global_pool.pool
    mean = type(pool) is FastAdaptiveAvgPool or (
        type(pool) is nn.AdaptiveAvgPool2d and pool.output_size in (1, (1, 1), [1, 1])
    )
    return mean and type(head) is ClassifierHead and type(head.global_pool) is SelectAdaptivePool2d


def _joint(
    plain: nn.Module, blocks: Sequence[StepBound], grid: tuple[int, int], iterations: int, seconds: float
) -> float | None:
    """Bound the whole with the joint bound of each network of this package in it; None where none has one."""
    factors, found = [block.sensitivity for block in blocks], False
    for prefix, model in _staged("", plain):
        own = [i for i, block in enumerate(blocks) if block.name.startswith(prefix)]
        before = blocks[own[0] - 1].grid if own and own[0] else grid
        joint = _joint_of(model, [blocks[i] for i in own], before, iterations, seconds) if before else None
        if joint is not None and joint < chain([blocks[i] for i in own])[0]:
            found = True
            for i in own:
                factors[i] = 1.0
            factors[own[0]] = joint
    return rounded_up(math.prod(factors)) if found else None


def _staged(name: str, module: nn.Module) -> Iterator[tuple[str, StagedNetwork]]:
    """The networks of this package in a composition, each with what the names of its pieces begin with."""
    if isinstance(module, StagedNetwork):
        yield f"{name}." if name else "", module
        return
    for own, part in composition(module) or []:
        yield from _staged(f"{name}.{own}" if name else own, part)


def _joint_of(
    model: StagedNetwork, blocks: Sequence[StepBound], grid: tuple[int, int], iterations: int, seconds: float
) -> float | None:
    """Return the joint bound of the logits, where all pieces are steps of the right form."""
    body = [b for b in blocks if not _is_head(b) and b.theorem != "identity"]
    if len(body) < 2 or not isinstance(body[0].form, Kernel):
        return None
    steps = [b.form for b in body[1:] if isinstance(b.form, ReluStep)]
    total = math.prod(step.inner.stride for step in steps)
    if len(steps) < len(body) - 1 or not _reads_mean(model) or grid[0] % total or grid[1] % total:
        return None
    constants = [b.sensitivity for b in body[1:]]
    return joint_sensitivity(body[0].form, steps, grid, _classifier(model), iterations, constants, seconds)


def _reads_mean(model: StagedNetwork) -> bool:
    """Whether the head is a mean over pixels and a linear classifier, with at most a relu before (states are >= 0)."""
    norms = model.norm.modules()
    return (
        all(type(m) in (nn.Identity, nn.ReLU, nn.Sequential) for m in norms)
        and _pools_mean(model.head)
        and type(model.head.fc) in (nn.Linear, nn.Identity)
    )


def _classifier(model: StagedNetwork) -> Tensor:
    fc = model.head.fc
    if isinstance(fc, nn.Linear):
        return fc.weight.detach().double().cpu()
    return torch.eye(model.num_features, dtype=torch.float64)
