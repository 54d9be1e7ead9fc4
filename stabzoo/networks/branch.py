"""The residual branch f of a block: the place that a kind of branch builds it for, and the usual one.

A kind of branch is registered by a plugin (`stabzoo.BranchKind`); its ``build`` gets a `BranchSite`, which says between
which channels f maps and has the layers in the network's style.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args

import torch
from timm.layers import DropPath, LayerNorm2d, create_act_layer, get_act_layer, get_norm_layer
from torch import Tensor, nn

from stabzoo.errors import ConfigError, PluginError
from stabzoo.networks.step_check import check_branch_step
from stabzoo.registry.catalogue import catalogue
from stabzoo.registry.guard import failure_text

if TYPE_CHECKING:
    from stabzoo.discretization import BranchKind

__all__ = [
    "Branch",
    "BranchSite",
    "NormName",
    "Style",
    "Usual",
    "adjoint_for_hooks",
    "build_branch",
    "is_hooked",
    "pulled_back",
    "tells_kernel",
]

NormName: TypeAlias = Literal["batch", "group", "layer", "none"]
NORMS: tuple[str, ...] = get_args(NormName)


@dataclass(frozen=True)
class Style:
    """The layers that all of a network is made of.

    Attributes:
        norm: ``"batch"``; ``"group"``, of 32 groups or as many as divide the channels; ``"layer"``, over the channels
            of each pixel; ``"none"``.
        act: An activation, as timm names it, or its class.
        norm_layer: What makes a norm of so many channels instead, as timm names it, or a class.
        device: Where parameters are created.
        dtype: Their type.

    Raises:
        ConfigError: there is no such norm or activation, or a norm where there is to be none.
    """

    norm: NormName = "batch"
    act: str | Callable[..., nn.Module] = "relu"
    device: Any = None
    dtype: Any = None
    norm_layer: str | Callable[..., nn.Module] | None = None

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise ConfigError(f"norm: expected {', '.join(map(repr, NORMS))}; got {self.norm!r:.80}")
        if self.norm_layer is not None and self.norm == "none":
            raise ConfigError(f"norm_layer: expected none beside norm='none', got {self.norm_layer!r:.80}")
        layers: tuple[tuple[str, Any, Callable[..., Any], str], ...] = (
            ("act", self.act, get_act_layer, "an activation that timm knows, e.g. 'relu', 'gelu', 'tanh'"),
            ("norm_layer", self.norm_layer or "batchnorm2d", get_norm_layer, "a norm that timm knows, 'groupnorm'"),
        )
        for field, value, layer_of, expected in layers:
            try:
                known = isinstance(value, str | Callable) and layer_of(value) is not None
            except (KeyError, AssertionError):
                known = False
            if not known:
                raise ConfigError(f"{field}: expected {expected}, or its class; got {value!r:.80}")

    @property
    def dd(self) -> dict[str, Any]:
        """Device and type, as layers take them."""
        return {"device": self.device, "dtype": self.dtype}

    def make_norm(self, channels: int, *, affine: bool = True) -> nn.Module | None:
        """A norm of so many channels; None in a network without norms."""
        if self.norm_layer is not None:
            layer: Any = get_norm_layer(self.norm_layer)
            return layer(channels, **({} if affine else {"affine": False})).to(**self.dd)
        if self.norm == "batch":
            return nn.BatchNorm2d(channels, affine=affine, **self.dd)
        if self.norm == "group":
            return nn.GroupNorm(math.gcd(32, channels), channels, affine=affine, **self.dd)
        return LayerNorm2d(channels, affine=affine, **self.dd) if self.norm == "layer" else None

    def make_act(self, *, inplace: bool = False) -> nn.Module:
        """The activation; ``inplace`` where nobody else reads its argument, if it can."""
        act = create_act_layer(self.act, inplace=inplace)
        assert act is not None
        return act.to(**self.dd)

    def preactivation(self, channels: int) -> nn.Sequential:
        """Norm and activation, or an activation alone: that acts on a state itself, which others read, not in place."""
        norm = self.make_norm(channels)
        layers = OrderedDict[str, nn.Module]() if norm is None else OrderedDict(norm=norm)
        layers["act"] = self.make_act(inplace=norm is not None)
        return nn.Sequential(layers)


@dataclass(frozen=True)
class BranchSite:
    """The place and the layers for a branch f, which maps (B, cin, H, W) to (B, cout, H / stride, W / stride).

    Attributes:
        cin, cout: Channels of the argument and of the result.
        width: Channels inside.
        stride: Pixels of the argument per pixel of the result.
        style: The network's layers: `Style.make_norm`, `Style.make_act`, and ``dd`` (device and dtype) for all others.
        bottleneck: Whether the usual branch has three convolutions, 1x1, 3x3, 1x1.
        preactivated: Whether the block has normed and activated the argument (at a change of shape of ImageNet
            networks).
        relu_last: Whether activations follow the convolutions instead of preceding them.
        drop_path: Rate of stochastic depth.
        dilation: Of the 3x3 convolutions, where a network has stages of one resolution: of the first, and of others.
    """

    cin: int
    width: int
    cout: int
    stride: int = 1
    style: Style = Style()
    bottleneck: bool = False
    preactivated: bool = False
    relu_last: bool = False
    drop_path: float = 0.0
    dilation: tuple[int, int] = (1, 1)

    @property
    def keeps_shape(self) -> bool:
        """Whether f maps states to what can be added to them."""
        return self.cin == self.cout and self.stride == 1

    def usual(self) -> Branch:
        """The usual branch at this site, to be built around, or to be taken where the shape changes."""
        return Branch(self)

    def make_drop_path(self) -> nn.Module:
        """Stochastic depth, the last layer of a branch."""
        return DropPath(self.drop_path) if self.drop_path else nn.Identity()


def tells_kernel(conv: nn.Module) -> bool:
    """Whether ``weight`` alone, possibly computed by a parametrization, determines a convolution.

    This is false for replacements of a convolution: an adapter around it, a quantized layer.
    """
    return getattr(type(conv), "forward", None) is nn.Conv2d.forward


def pulled_back(conv: nn.Module, z: Tensor) -> Tensor:
    """A^T z, where A is the linear part of whatever ``conv`` computes, of states of the shape of z."""
    pull: Callable[[Tensor], tuple[Tensor]] = torch.func.vjp(conv, torch.zeros_like(z))[1]
    return pull(z)[0]


def adjoint_for_hooks(conv: nn.Conv2d, padding: int) -> nn.ConvTranspose2d:
    """A^T of a convolution A with stride 1 and no bias, as a module that has A's weight and none of its own.

    A layer that uses one weight twice computes A^T from A's weight, so that there is one kernel whatever takes A's
    place.  Counters of operations and profilers see modules only: the layer calls this one while it `is_hooked`.  Its
    weight is not among its parameters, and no checkpoint has it.
    """
    channels = conv.out_channels, conv.in_channels
    found = nn.ConvTranspose2d(*channels, cast(Any, conv.kernel_size), padding=padding, bias=False, device="meta")
    del found.weight
    found.__dict__["weight"] = conv.weight
    return found


def is_hooked(adjoint: nn.ConvTranspose2d, conv: nn.Conv2d) -> bool:
    """Whether somebody watches the module of A^T, and it computes A^T: A is its own weight, and no more than that."""
    hooks = adjoint._forward_hooks, adjoint._forward_pre_hooks, adjoint._backward_hooks, adjoint._backward_pre_hooks
    return any(hooks) and tells_kernel(conv) and adjoint.weight is conv.weight


class Branch(nn.Module):
    """The usual branch: two norm-act-conv triplets, three if the site is a bottleneck; the first norm-act may be done.

    Without norms the act-conv pairs alone; the first activation then acts on the state itself, so not in place.  With
    ``relu_last`` conv-act pairs.
    """

    def __init__(self, site: BranchSite) -> None:
        super().__init__()
        style, width, dd = site.style, site.width, site.style.dd
        normed = style.norm != "none"
        first, others = site.dilation
        plan = [(site.cin, width, 3, site.stride)]
        if site.bottleneck:
            plan = [(site.cin, width, 1, 1), (width, width, 3, site.stride)]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for i, (a, b, kernel, s) in enumerate(plan, start=1):
            if i > 1 or not (site.preactivated or site.relu_last):
                if (norm := style.make_norm(a)) is not None:
                    layers[f"norm{i}"] = norm
                layers[f"act{i}"] = style.make_act(inplace=normed or i > 1)
            dilation = first if kernel > 1 else 1
            layers[f"conv{i}"] = nn.Conv2d(a, b, kernel, s, kernel // 2 * dilation, dilation, bias=False, **dd)
        last = len(plan) + 1
        if (norm := style.make_norm(width)) is not None:
            layers[f"norm{last}"] = norm
        layers[f"act{last}"] = style.make_act(inplace=True)
        self.body = nn.Sequential(layers)
        kernel, dilation = (1, 1) if site.bottleneck else (3, others)
        self.conv = nn.Conv2d(
            width, site.cout, kernel, padding=kernel // 2 * dilation, dilation=dilation, bias=False, **dd
        )
        self.relu_last = site.relu_last
        self.act = style.make_act(inplace=True) if site.relu_last else nn.Identity()
        self.drop_path = site.make_drop_path()

    def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
        """(B, C, H, W) -> scale * f(y), (B, C', H', W')."""
        f = self.drop_path(self.act(self.conv(self.body(y))))
        return f if scale == 1.0 else f * scale

    def init_scale(self, factor: float, variance: float) -> None:
        """Multiply the last kernel, and have the norm that sees states expect their variance."""
        with torch.no_grad():
            self.conv.weight.mul_(factor)
            for name, layer in self.body.named_children():
                if name == "norm1" and isinstance(layer, nn.BatchNorm2d) and layer.running_var is not None:
                    layer.running_var.fill_(variance)

    def layers(self) -> Sequence[tuple[str, nn.Module]]:
        """The layers whose composition f is in evaluation mode, with their names."""
        return [*self.body.named_children(), ("conv", self.conv), *([("act", self.act)] if self.relu_last else [])]


class Usual:
    """The kind of the usual branch: what a network has that names none, whichever plugins are read."""

    name = "plain"

    def build(self, site: BranchSite) -> nn.Module:
        """The branch."""
        return site.usual()


def build_branch(kind: BranchKind, site: BranchSite, *, tried: bool) -> nn.Module:
    """The branch that ``kind`` builds, which has what a network asks of it; with ``tried`` it is evaluated once.

    Raises:
        PluginError: it has not, or f(y) has not the shape it should; the message names the branch.
    """
    owner = catalogue().branches.get(kind.name)
    prefix = f"{owner[0]}: " if owner else ""
    where = f"{prefix}branch {kind.name!r} ({site.cin} -> {site.cout} channels, stride {site.stride})"
    try:
        f = kind.build(site)
    except (ConfigError, PluginError, MemoryError):
        raise
    except Exception as error:
        raise PluginError(f"{where} cannot be built: {failure_text(error)}") from error
    if not isinstance(f, nn.Module):
        raise PluginError(f"{where}: build() must return a torch module, got {f!r:.80}")
    if not callable(getattr(f, "init_scale", None)):
        raise PluginError(f"{where}: {type(f).__name__} has no init_scale(factor, variance); see stabzoo.BranchKind")
    dilations = {conv.dilation[0] for conv in f.modules() if isinstance(conv, nn.Conv2d) and conv.kernel_size[0] > 1}
    if not dilations <= {*site.dilation}:
        raise ConfigError(f"output_stride: {where} does not take the dilation {site.dilation[1]} of a later stage")
    if tried and type(f) is not Branch:
        check_branch_step(f, where, torch.empty(0, **site.style.dd), (site.cin, site.cout), site.stride)
    return f
