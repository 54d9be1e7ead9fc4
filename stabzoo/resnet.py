"""The one network: a stem, stages of blocks that each take one step of a scheme, and a head, as timm wants it.

Two forms are known, each as the reference releases of the papers have it:

- ``cifar``: 3x3 stem without norm, 3 stages of n blocks, strides 1/2/2, final BN-ReLU.  Depth 6n+2 (basic) or 9n+2
  (bottleneck).
- ``imagenet``: 7x7/2 stem with BN-ReLU and max pooling, 4 stages, strides 1/2/2/2, no final norm.

The network owns the history: the newest states y_n, y_{n-1}, ... (and past slopes f_{n-1}, ... for schemes that use
them) as a list of tensors.  The first d-1 steps of a d-step scheme are Euler steps.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from timm.layers import ClassifierHead, DropPath, calculate_drop_path_rates, get_device_dtype
from timm.models._features import FeatureGetterNet, feature_take_indices  # timm does not export these
from timm.models._manipulate import checkpoint
from torch import Tensor, nn

from stabzoo.checkpoints import checkpoint_filter_fn
from stabzoo.discretization import Boundary, Discretization
from stabzoo.multistep import LinearMultistep
from stabzoo.steps import LearnableStep, MultistepStep, slopes_kept

if TYPE_CHECKING:
    from stabzoo.stability import StabilityCard
    from stabzoo.stability.growth import ProductGrowth

__all__ = ["DiscretizedResNet", "checkpoint_filter_fn"]  # timm looks for the filter beside the class

EULER = LinearMultistep((1,), (1,))


class Form(NamedTuple):
    """What the two forms differ in beside their stem."""

    width: int  # channels of the first stage
    strides: tuple[int, ...]
    final_norm: bool
    shared_preactivation: (
        bool  # at a change of shape the newest state's shortcut acts on relu(bn1(y)), as the branch does
    )


FORMS = {
    "cifar": Form(16, (1, 2, 2), final_norm=True, shared_preactivation=False),
    "imagenet": Form(64, (1, 2, 2, 2), final_norm=False, shared_preactivation=True),
}


class Projection(nn.Conv2d):
    """A 1x1 convolution with a stride, computed as a matrix product on the subsampled grid.

    The same numbers as ``nn.Conv2d``, faster on a CPU, and safe there: the backward of a narrow strided 1x1
    convolution in channels-last layout crashes on some processors.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, **dd: Any) -> None:
        super().__init__(in_channels, out_channels, 1, stride, bias=False, **dd)
        self.step = stride

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        x = input[:, :, :: self.step, :: self.step]
        kernel = self.weight.flatten(1).expand(x.shape[0], -1, -1)  # bmm, for matmul would leave a transposed result
        return torch.bmm(kernel, x.flatten(2)).unflatten(2, (x.shape[2], x.shape[3]))


def preactivation(channels: int, **dd: Any) -> nn.Sequential:
    """BN-ReLU."""
    return nn.Sequential(OrderedDict(norm=nn.BatchNorm2d(channels, **dd), act=nn.ReLU(inplace=True)))


class ScaledConv2d(nn.Conv2d):
    """A convolution whose result is wanted times a scalar: scaling its kernel saves a pass over the result."""

    def forward(self, input: Tensor, scale: float = 1.0) -> Tensor:
        """(B, C, H, W) -> scale * conv(input), (B, C', H', W')."""
        kernel = self.weight if scale == 1.0 else self.weight * scale
        return F.conv2d(input, kernel, None, self.stride, self.padding)


class Branch(nn.Module):
    """The residual branch f: two BN-ReLU-conv triplets, three if ``bottleneck``; the first BN-ReLU may be done."""

    def __init__(
        self,
        cin: int,
        width: int,
        cout: int,
        stride: int,
        *,
        bottleneck: bool,
        preactivated: bool,
        drop_path: float,
        **dd: Any,
    ) -> None:
        super().__init__()
        plan = [(cin, width, 3, stride)]
        if bottleneck:
            plan = [(cin, width, 1, 1), (width, width, 3, stride)]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for i, (a, b, kernel, s) in enumerate(plan, start=1):
            if i > 1 or not preactivated:
                layers[f"norm{i}"], layers[f"act{i}"] = nn.BatchNorm2d(a, **dd), nn.ReLU(inplace=True)
            layers[f"conv{i}"] = nn.Conv2d(a, b, kernel, s, kernel // 2, bias=False, **dd)
        last = len(plan) + 1
        layers[f"norm{last}"], layers[f"act{last}"] = nn.BatchNorm2d(width, **dd), nn.ReLU(inplace=True)
        self.body = nn.Sequential(layers)
        self.conv = ScaledConv2d(width, cout, 1 if bottleneck else 3, padding=0 if bottleneck else 1, bias=False, **dd)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
        """(B, C, H, W) -> scale * f(y), (B, C', H', W')."""
        return self.drop_path(self.conv(self.body(y), scale))


@dataclass(frozen=True)
class Shape:
    """Shape of a feature map: channels, and the reduction of the input's resolution."""

    channels: int
    reduction: int


@dataclass(frozen=True)
class History:
    """Shapes of the entries that a block finds: states y_n, y_{n-1}, ... and slopes f_{n-1}, ..., newest first."""

    states: tuple[Shape, ...]
    slopes: tuple[Shape, ...] = ()


class Block(nn.Module):
    """Brings the history to the shape of the new state and takes one step.

    Entries that the step uses go through their ``shortcuts`` and are handed on as they came out; ``hands_on_raw`` (the
    Euler starts of ZeroSNet's CIFAR form) hands them on as they came in, to be projected by the block that first uses
    them.
    """

    def __init__(
        self,
        step: nn.Module,
        preact: nn.Module,
        shortcuts: list[nn.Module],
        found: History,
        left: History,
        *,
        hands_on_raw: bool,
    ) -> None:
        super().__init__()
        self.preact = preact
        self.shortcuts = nn.ModuleList(shortcuts)
        self.step = step
        self.found_states, self.found_entries = len(found.states), len(found.states) + len(found.slopes)
        self.states, self.slopes = len(left.states), len(left.slopes)
        self.hands_on_raw = hands_on_raw

    def forward(self, history: list[Tensor]) -> list[Tensor]:
        """States (then slopes), newest first -> the same one step later."""
        history = history[: self.found_entries]
        y = self.preact(history[0])
        used = []
        for i, shortcut in enumerate(self.shortcuts):
            used.append(shortcut(y if i == 0 else history[i]))
        new = self.step(y, used)
        handed = history if self.hands_on_raw else used + history[len(used) :]
        states, slopes = handed[: self.found_states], handed[self.found_states :]
        return (new[:1] + states)[: self.states] + (new[1:] + slopes)[: self.slopes]


class Stage(nn.Module):
    """Blocks of one resolution; the first may change the shape."""

    def __init__(self, blocks: list[Block]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.grad_checkpointing = False

    def forward(self, history: list[Tensor]) -> list[Tensor]:
        """Advance the history by as many steps as there are blocks."""
        for block in self.blocks:
            if self.grad_checkpointing and not torch.jit.is_scripting():
                history = checkpoint(block, history)
            else:
                history = block(history)
        return history


class BlockBuilder:
    """Builds the blocks of a network one after the other and knows the history that the next one will find."""

    def __init__(self, scheme: Discretization, form: Form, stem: Shape, *, bottleneck: bool, **dd: Any) -> None:
        method = scheme.coefficients()
        self.scheme, self.form, self.bottleneck, self.dd = scheme, form, bottleneck, dd
        self.steps, self.slopes = method.steps, slopes_kept(method)
        self.boundary: Boundary = scheme.boundary
        self.history = History((stem,))

    def shortcut(self, here: Shape, there: Shape, *, bare: bool) -> nn.Module:
        """What brings an entry of shape ``here`` to ``there``: nothing, a bare 1x1 convolution, or BN-ReLU-conv1x1."""
        if here == there:
            return nn.Identity()
        conv = Projection(here.channels, there.channels, there.reduction // here.reduction, **self.dd)
        if bare:
            return conv
        layers = preactivation(here.channels, **self.dd)
        layers.add_module("conv", conv)
        return layers

    def block(self, width: int, stride: int, drop_path: float) -> Block:
        """The next block, of ``width`` channels (four times that for a bottleneck block)."""
        newest = self.history.states[0]
        out = Shape(width * 4 if self.bottleneck else width, newest.reduction * stride)
        if self.boundary == "restart" and out != newest:
            found = History((newest,))
            starting = self.steps > 1
        else:
            found = self.history
            starting = len(found.states) < self.steps
        used = found.states[:1] if starting else found.states + found.slopes
        shared = self.form.shared_preactivation and out != newest
        multistep = not starting and self.boundary == "project"
        shortcuts = [self.shortcut(here, out, bare=multistep or self.form.shared_preactivation) for here in used]
        raw = starting and self.boundary == "project" and not self.form.shared_preactivation

        f = Branch(
            newest.channels,
            width,
            out.channels,
            stride,
            bottleneck=self.bottleneck,
            preactivated=shared,
            drop_path=drop_path,
            **self.dd,
        )
        step = MultistepStep(f, EULER, returns_slope=self.slopes > 0) if starting else self.scheme.block(f)
        handed = found.states if raw else ((out,) * len(used) + found.states[len(used) :])[: len(found.states)]
        slopes = found.slopes if starting else (out,) * len(found.slopes)
        self.history = History((out, *handed)[: self.steps], (out, *slopes)[: self.slopes])
        preact = preactivation(newest.channels, **self.dd) if shared else nn.Identity()
        return Block(step, preact, shortcuts, found, self.history, hands_on_raw=raw)


class DiscretizedResNet(nn.Module):
    """A residual network whose every block is one step of ``scheme``.

    Args:
        scheme: The discretization; its coefficients are those of the blocks.
        depth: Layers with weights on the longest path: 6n+2 / 9n+2 (cifar), 18, 34 / 50, 101, 152 (imagenet).
        layers: Blocks per stage.
        form: ``"cifar"`` or ``"imagenet"``.
        bottleneck: Bottleneck blocks (1x1, 3x3, 1x1, expansion 4) instead of basic ones (3x3, 3x3).
        width: Channels of the first stage; by default 16 (cifar) or 64 (imagenet).  Each further stage doubles them.
        num_classes: Classes; 0 leaves the classifier out.
        in_chans: Channels of the input image.
        global_pool: Pooling before the classifier, as timm names it; ``""`` for none.
        drop_rate: Dropout before the classifier.
        drop_path_rate: Stochastic depth: the rate of the last block; it grows linearly from 0.
        device: Where parameters are created.
        dtype: Their type.
    """

    def __init__(
        self,
        scheme: Discretization,
        layers: tuple[int, ...],
        form: str = "cifar",
        bottleneck: bool = False,
        width: int | None = None,
        num_classes: int = 10,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        shape = FORMS[form]
        width = width or shape.width
        self.scheme = scheme
        self.num_classes, self.in_chans, self.drop_rate = num_classes, in_chans, drop_rate

        self.stem = nn.Sequential()
        if form == "cifar":
            self.stem.add_module("conv", nn.Conv2d(in_chans, width, 3, padding=1, bias=False, **dd))
            reduction = 1
        else:
            self.stem.add_module("conv", nn.Conv2d(in_chans, width, 7, stride=2, padding=3, bias=False, **dd))
            self.stem.add_module("norm", nn.BatchNorm2d(width, **dd))
            self.stem.add_module("act", nn.ReLU(inplace=True))
            reduction = 2
        self.feature_info = [{"num_chs": width, "reduction": reduction, "module": "stem"}]
        self.stem_pool = nn.Identity() if form == "cifar" else nn.MaxPool2d(3, stride=2, padding=1)
        reduction = reduction if form == "cifar" else 4

        builder = BlockBuilder(scheme, shape, Shape(width, reduction), bottleneck=bottleneck, **dd)
        drop_paths = iter(cast(list[float], calculate_drop_path_rates(drop_path_rate, sum(layers))))
        self.stages = nn.ModuleList()
        for i, (count, stride) in enumerate(zip(layers, shape.strides, strict=True)):
            blocks = [builder.block(width << i, stride if j == 0 else 1, next(drop_paths)) for j in range(count)]
            self.stages.append(Stage(blocks))
            newest = builder.history.states[0]
            self.feature_info.append(
                {"num_chs": newest.channels, "reduction": newest.reduction, "module": f"stages.{i}"}
            )

        self.num_features = builder.history.states[0].channels
        self.norm = preactivation(self.num_features, **dd) if shape.final_norm else nn.Identity()
        self.head = ClassifierHead(self.num_features, num_classes, pool_type=global_pool, drop_rate=drop_rate, **dd)
        self.head_hidden_size = self.head.num_features
        self.init_weights()

    @torch.jit.ignore()
    def blocks(self) -> list[Block]:
        """All blocks, in the order of the steps."""
        return [cast(Block, block) for stage in self.stages for block in cast(Stage, stage).blocks]

    @torch.jit.ignore()
    def init_weights(self) -> None:
        """He-normal (fan-out) convolutions, unit BN; everything else as its module has it.

        Each block adds a branch of about unit variance to the state.  The running variances of the norms that see
        states start at what that makes, or an untrained network of hundreds of layers overflows in evaluation mode.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d | nn.Linear | LearnableStep):
                module.reset_parameters()
        for n, reader in enumerate([*self.blocks(), self.norm]):
            for name, module in reader.named_modules():
                if isinstance(module, nn.BatchNorm2d) and name.rpartition(".")[2] in ("norm", "norm1"):
                    assert module.running_var is not None
                    module.running_var.fill_(1.0 + n)

    @torch.jit.ignore()
    def stability_card(self) -> "StabilityCard | ProductGrowth":
        """The stability of this network as it is now.

        Fixed coefficients: the card of the scheme.  Coefficients that vary from block to block: zero stability is a
        statement about products of companion matrices, max over m <= n of ||C_n ... C_m||, evaluated exactly for the
        weights as stored.
        """
        from stabzoo import stability

        steps = [block.step for block in self.blocks()]
        if not any(isinstance(step, LearnableStep) for step in steps):
            return stability.card(self.scheme.coefficients())
        return stability.product_growth([cast(LearnableStep | MultistepStep, step).coefficients() for step in steps])

    @torch.jit.ignore()
    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that order the parameters in layer groups (timm's layer decay)."""
        blocks = r"^stages\.(\d+)" if coarse else [(r"^stages\.(\d+)\.blocks\.(\d+)", None), (r"^norm", (99999,))]
        return {"stem": r"^stem", "blocks": blocks}

    @torch.jit.ignore()
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass instead of keeping its activations."""
        for stage in self.stages:
            cast(Stage, stage).grad_checkpointing = enable

    @torch.jit.ignore()
    def get_classifier(self) -> nn.Module:
        """The linear classifier (an identity where there is none)."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier; ``global_pool`` None keeps the pooling."""
        self.num_classes = num_classes
        device = get_device_dtype(self)
        self.head.reset(num_classes, global_pool, in_features=self.num_features, **device)  # pyright: ignore[reportArgumentType]
        self.head_hidden_size = self.head.num_features

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Features after the stem (index 0) and after each stage.

        Args:
            x: Images (B, C, H, W).
            indices: Which features: the last n for an int, all for None.
            norm: Apply the final norm to the last stage's feature.
            stop_early: Do not compute the stages after the last feature asked for.
            output_fmt: Only ``"NCHW"``.
            intermediates_only: Return the list of features alone.

        Returns:
            (output of `forward_features`, features), or the features.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt: expected 'NCHW', got {output_fmt!r}")
        take, last = feature_take_indices(len(self.feature_info), indices)
        taken = []
        x = self.stem(x)
        if 0 in take:
            taken.append(x)
        end = len(self.stages)
        history = [self.stem_pool(x)]
        for i, stage in enumerate(self.stages, start=1):
            if stop_early and i > last:
                break
            history = stage(history)
            if i in take:
                taken.append(self.norm(history[0]) if norm and i == end else history[0])
        if intermediates_only:
            return taken
        return self.norm(history[0]), taken

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop what the features ``indices`` do not need; returns the indices, normalised."""
        take, last = feature_take_indices(len(self.feature_info), indices)
        cut = last < len(self.stages)
        if prune_norm or cut:
            self.norm = nn.Identity()
        self.stages = self.stages[:last]
        if last == 0:
            self.stem_pool = nn.Identity()
        if cut:
            self.num_features = self.head_hidden_size = self.feature_info[last]["num_chs"]
        if prune_head or cut:
            self.reset_classifier(0, "")
        return take

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> unpooled features (B, num_features, H', W')."""
        history = [self.stem_pool(self.stem(x))]
        for stage in self.stages:
            history = stage(history)
        return self.norm(history[0])

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Features -> logits (B, num_classes), or the pooled features (B, head_hidden_size)."""
        return self.head(x, pre_logits=pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, num_classes)."""
        return self.forward_head(self.forward_features(x))


class FeatureGetter(FeatureGetterNet):
    """timm's ``features_only`` wrapper, with the gradient checkpointing that it lacks."""

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass instead of keeping its activations."""
        cast(DiscretizedResNet, self.model).set_grad_checkpointing(enable)
