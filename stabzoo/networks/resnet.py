"""The one network of the explicit multistep schemes: every block takes one step, the network owns the history.

Two forms are known, each as the reference releases of the papers have it:

- ``cifar``: 3x3 stem without norm, 3 stages of n blocks, strides 1/2/2, final BN-ReLU.  Depth 6n+2 (basic) or 9n+2
  (bottleneck).
- ``imagenet``: 7x7/2 stem with BN-ReLU and max pooling, 4 stages, strides 1/2/2/2, no final norm.

The network owns the history: the newest states y_n, y_{n-1}, ... (and past slopes f_{n-1}, ... for schemes that use
them) as a list of tensors.  The first d-1 steps of a d-step scheme are Euler steps.  A scheme may keep more
states than its coefficients need, or all of the stage (see ``memory`` of `stabzoo.Discretization`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import mul
from typing import Any, NamedTuple, cast

import torch
from timm.layers import calculate_drop_path_rates
from torch import Tensor, nn

from stabzoo.discretization import BranchKind, Discretization, Place, Shape, memory_of
from stabzoo.errors import ConfigError, PluginError
from stabzoo.methods.multistep import EULER, MAX_STEPS, LinearMultistep
from stabzoo.networks.branch import BranchSite, NormName, Style, Usual, build_branch
from stabzoo.networks.checkpoints import checkpoint_filter_fn
from stabzoo.networks.past import Past
from stabzoo.networks.places import scheme_block, scheme_starting_block
from stabzoo.networks.reversible import is_invertible
from stabzoo.networks.staged import StagedNetwork
from stabzoo.networks.step_check import check_step
from stabzoo.networks.steps import MultistepStep, trained_coefficients
from stabzoo.registry.loading import get_branch

__all__ = ["DiscretizedResNet", "checkpoint_filter_fn"]  # timm looks for the filter beside the class


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


class Unread(nn.Module):
    """What stands for a state that no step reads any more where shapes change: zeros of the new shape."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        return torch.zeros_like(x[:, :1, :: self.stride, :: self.stride]).expand(-1, self.channels, -1, -1)


@dataclass(frozen=True)
class History:
    """Shapes of the entries that a block finds: states y_n, y_{n-1}, ... and slopes f_{n-1}, ..., newest first."""

    states: tuple[Shape, ...]
    slopes: tuple[Shape, ...] = ()


class Block(nn.Module):
    """Brings the history to the shape of the new state and takes one step.

    Entries that the step uses go through their ``shortcuts`` and are handed on as they came out; ``hands_on_raw`` (the
    Euler starts of ZeroSNet's CIFAR form) hands them on as they came in, to be projected by the block that first uses
    them.  ``starting`` blocks are others than the scheme's: they find fewer states than it needs.  ``uses_all``: the
    step uses the oldest state that the network keeps.
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
        starting: bool,
        uses_all: bool,
    ) -> None:
        super().__init__()
        self.starting = starting
        self.preact = preact
        self.shortcuts = nn.ModuleList(shortcuts)
        self.step = step
        self.found_states, self.found_entries = len(found.states), len(found.states) + len(found.slopes)
        self.states, self.slopes = len(left.states), len(left.slopes)
        self.hands_on_raw = hands_on_raw
        kept = all(type(module) is nn.Identity for module in (preact, *shortcuts)) and not self.slopes
        loses = self.states == self.found_states
        self.invertible = kept and (not loses or (uses_all and is_invertible(step)))
        multistep = self.invertible and loses and type(step) is MultistepStep
        self.weight_of_lost: float | None = cast(MultistepStep, step).alpha[-1] if multistep else None

    def forward(self, y: Tensor, past: Past) -> Tensor:
        """The newest state -> the next one; ``past`` is left one step later."""
        history = ([y] + past.entries)[: self.found_entries]  # noqa: RUF005 -- TorchScript has no other
        y = self.preact(y)
        used = []
        for i, shortcut in enumerate(self.shortcuts):
            used.append(shortcut(y if i == 0 else history[i]))
        result = self.step(y, used)
        if isinstance(result, list):  # noqa: SIM108 -- nor a choice of types
            new = result
        else:
            new = [result]
        handed = history if self.hands_on_raw else used + history[len(used) :]
        states, slopes = handed[: self.found_states], handed[self.found_states :]
        past.entries = states[: self.states - 1] + (new[1:] + slopes)[: self.slopes]
        return new[0]

    @torch.jit.unused
    def inverse(self, history: list[Tensor]) -> list[Tensor]:
        """The history that `forward` was given, newest first, from the one it left; for an ``invertible`` block."""
        new, kept = history[0], history[1:]
        if self.states > self.found_states:  # one of the first steps, which loses no state
            return kept
        return [*kept, cast(Any, self.step).inverse(new, kept)]


def states_read(method: LinearMultistep) -> int:
    """How many of the states y_n, y_{n-1}, ... have an alpha other than 0, or are followed by one that has."""
    return max((j for j, alpha in enumerate(method.alpha, start=1) if alpha), default=0)


class BlockBuilder:
    """Builds the blocks of a network one after the other and knows the history that the next one will find."""

    def __init__(
        self,
        scheme: Discretization,
        form: Form,
        stem: Shape,
        count: int,
        style: Style,
        kind: BranchKind,
        *,
        bottleneck: bool,
        relu_last: bool,
    ) -> None:
        method = scheme.coefficients()
        self.scheme, self.form, self.bottleneck, self.style, self.kind = scheme, form, bottleneck, style, kind
        self.relu_last = relu_last
        self.skips = method.keeps_state
        self.memory = memory_of(scheme)
        self.steps = method.steps
        self.needed, self.slopes = self.memory or method.steps, method.past_slopes
        self.at_downsampling = "restart" if self.memory is None else scheme.at_downsampling
        self.needs_equal_shapes = scheme.needs_equal_shapes
        self.read = (self.memory or MAX_STEPS) if hasattr(scheme, "memory") else states_read(method)
        self.history = History((stem,))
        self.number, self.count = 0, count
        self.checked: set[tuple[Shape, Shape, bool, int]] = set()
        self.tried: set[BranchSite] = set()

    def shortcut(self, here: Shape, there: Shape, *, bare: bool) -> nn.Module:
        """What brings an entry of shape ``here`` to ``there``: nothing, a bare 1x1 convolution, or norm-act-conv1x1."""
        if here == there:
            return nn.Identity()
        stride = there.reduction // here.reduction
        conv = nn.Conv2d(here.channels, there.channels, 1, stride, bias=False, **self.style.dd)
        if bare:
            return conv
        layers = self.style.preactivation(here.channels)
        layers.add_module("conv", conv)
        return layers

    def shortcuts(
        self, used: Sequence[Shape], states: int, there: Shape, step: nn.Module, *, bare: bool
    ) -> list[nn.Module]:
        """What brings the entries that a step uses to shape ``there``; of states that no step reads, zeros of it.

        Raises:
            PluginError: the step states coefficients that read more states than those of its scheme.
        """
        stated, read = getattr(step, "coefficients", None), self.read
        if trained_coefficients(step):
            read = states  # any may become other than 0
        elif stated is not None and (reads := states_read(stated())) > max(read, 1):
            raise PluginError(
                f"scheme {self.scheme.name!r}, block {self.number} of the network: its step states coefficients that "
                f"read {reads} states, the scheme some that read {read}; state `memory = {reads}` in its class"
            )
        return [
            Unread(there.channels, there.reduction // here.reduction)
            if read <= j < states and here != there
            else self.shortcut(here, there, bare=bare)
            for j, here in enumerate(used)
        ]

    def check(self, step: Any, here: Shape, there: Shape, entries: int, *, starting: bool) -> None:
        """Try a step between two shapes that no step of its kind was tried between."""
        if (here, there, starting, entries) in self.checked:
            return
        self.checked.add((here, there, starting, entries))
        stride = there.reduction // here.reduction
        change = f"{here.channels} -> {there.channels} channels, stride {stride}"
        check_step(
            step,
            "starting_block" if starting else "block",
            f"scheme {self.scheme.name!r}, block {self.number} of the network ({change})",
            torch.empty(0, **self.style.dd),
            (here.channels, there.channels),
            stride,
            entries,
            1 + (self.slopes > 0),
        )

    def branch(
        self,
        cin: int,
        width: int,
        cout: int,
        stride: int,
        *,
        preactivated: bool,
        drop_path: float,
        dilation: tuple[int, int],
    ) -> nn.Module:
        """A residual branch of the network's kind, from ``cin`` to ``cout`` channels."""
        site = BranchSite(
            cin, width, cout, stride, self.style, self.bottleneck, preactivated, self.relu_last, drop_path, dilation
        )
        first = replace(site, drop_path=0.0) not in self.tried
        self.tried.add(replace(site, drop_path=0.0))
        return build_branch(self.kind, site, tried=first)

    def block(
        self, width: int, stride: int, drop_path: float, *, stage: int, number_in_stage: int, dilation: tuple[int, int]
    ) -> Block:
        """The next block, of ``width`` channels (four times that for a bottleneck block)."""
        newest = self.history.states[0]
        out = Shape(width * 4 if self.bottleneck else width, newest.reduction * stride)
        if self.at_downsampling == "restart" and out != newest:
            found = History((newest,))
            starting = self.needed > 1 or self.needs_equal_shapes  # f of what f made needs equal shapes
        else:
            found = self.history
            starting = len(found.states) < self.needed
        used = found.states[:1] if starting else found.states + found.slopes
        if not self.skips:  # y_{n+1} = f(y_n): no state enters beside the branch, and none is kept
            used = ()
        shared = self.form.shared_preactivation and out != newest and not self.relu_last
        multistep = not starting and self.at_downsampling == "project"
        bare = multistep or self.form.shared_preactivation or self.relu_last
        raw = starting and self.at_downsampling == "project" and not self.form.shared_preactivation

        def branch(cin: int | None = None, cout: int | None = None) -> nn.Module:
            made = cout or out.channels
            inner = max(made // 4, 1) if self.bottleneck else made
            return self.branch(
                cin or newest.channels,
                inner,
                made,
                stride,
                preactivated=shared,
                drop_path=drop_path,
                dilation=dilation,
            )

        f = branch()
        place = Place(
            number=self.number,
            count=self.count,
            stage=stage,
            number_in_stage=number_in_stage,
            here=newest,
            there=out,
            starting=starting,
            states=len(used[: len(found.states)]),
            device=self.style.device,
            dtype=self.style.dtype,
            branch=branch,
        )
        if not starting:
            step = scheme_block(self.scheme, f, place)
        elif out == newest or not self.needs_equal_shapes:
            step = scheme_starting_block(self.scheme, f, place, returns_slope=self.slopes > 0)
        else:
            step = MultistepStep(f, EULER, returns_slope=self.slopes > 0)
        shortcuts = self.shortcuts(used, place.states, out, step, bare=bare)
        self.number += 1
        self.check(step, newest, out, len(used), starting=starting)
        handed = found.states if raw else ((out,) * len(used) + found.states[len(used) :])[: len(found.states)]
        slopes = found.slopes if starting else (out,) * len(found.slopes)
        self.history = History((out, *handed)[: self.memory], (out, *slopes)[: self.slopes])
        preact = self.style.preactivation(newest.channels) if shared else nn.Identity()
        return Block(
            step,
            preact,
            shortcuts,
            found,
            self.history,
            hands_on_raw=raw,
            starting=starting,
            uses_all=self.memory == self.steps,
        )


def branches(module: nn.Module) -> Iterator[Any]:
    """The residual branches in a step, those within others left to them."""
    if callable(getattr(module, "init_scale", None)):
        yield module
    else:
        for child in module.children():
            yield from branches(child)


def expect_variance(readers: Iterable[nn.Module], variance: float) -> None:
    """Have the batch norms in what reads states of this variance start with it."""
    for reader in readers:
        for module in reader.modules():
            if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
                module.running_var.fill_(variance)


def dilated(
    strides: Sequence[int], reduction: int, output_stride: int | None, layers: Sequence[int]
) -> Iterator[tuple[int, int, int]]:
    """Blocks, stride and dilation of each stage, the first of which finds ``reduction`` pixels of an image to one.

    Raises:
        ConfigError: no stage has the ``output_stride``.
    """
    possible = [reduction * stride for stride in accumulate(strides, mul)]
    if output_stride not in (None, *possible):
        expected = ", ".join(map(str, dict.fromkeys(possible)))
        raise ConfigError(f"output_stride: expected one of {expected}, got {output_stride!r:.80}")
    dilation = 1
    for count, stride, reached in zip(layers, strides, possible, strict=True):
        beyond = output_stride is not None and reached > output_stride
        dilation *= stride if beyond else 1
        yield count, 1 if beyond else stride, dilation


class DiscretizedResNet(StagedNetwork):
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
        norm: ``"batch"``, ``"group"`` (32 groups, or as many as divide the channels), ``"layer"`` (over the channels of
            each pixel), or ``"none"`` for a network without any.  No convolution gains a bias in its place (the paper's
            blocks have none), and the branches start smaller: see `init_weights`.
        act: The activation, as timm names it: ``"relu"``, ``"gelu"``, ``"tanh"``, ...; or its class.
        branch: The kind of the residual branches: a registered name, or a mapping of ``name`` and the kind's own
            fields, or a `stabzoo.BranchKind`; None: the usual one, ``"plain"``.
        relu: ``"first"``, before every convolution of a branch: W2 relu(W1 relu(y)), pre-activation; or ``"last"``,
            after every one of the usual branch: relu(W2 relu(W1 y)), the blocks of Understanding ResNet from a discrete
            dynamical system perspective, section 2, that have no batch norms.  Then a change of shape is a bare 1x1
            convolution.
        global_pool: Pooling before the classifier, as timm names it; ``""`` for none.
        drop_rate: Dropout before the classifier.
        drop_path_rate: Stochastic depth: the rate of the last block; it grows linearly from 0.
        device: Where parameters are created.
        dtype: Their type.
        output_stride: Pixels of an image to one of the last state, as timm's networks have it; by default all strides
            (4 or 32).  Stages that would go beyond keep the resolution and dilate their 3x3 convolutions instead.
        norm_layer: What makes the norms instead of ``norm``, as timm has it: a name or a class, e.g.
            ``FrozenBatchNorm2d``.
        act_layer: timm's name of ``act``.

    Raises:
        ConfigError: an option is not known, or does not go with another.
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
        norm: NormName = "batch",
        relu: str = "first",
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        device: Any = None,
        dtype: Any = None,
        act: str | Callable[..., nn.Module] = "relu",
        branch: str | Mapping[str, Any] | BranchKind | None = None,
        output_stride: int | None = None,
        norm_layer: str | Callable[..., nn.Module] | None = None,
        act_layer: str | Callable[..., nn.Module] | None = None,
    ) -> None:
        style = Style(norm, act_layer or act, device, dtype, norm_layer)
        kind = Usual() if branch is None else get_branch(branch)
        if relu not in ("first", "last"):
            raise ConfigError(f"relu: expected 'first' or 'last', got {relu!r}")
        if relu == "last" and norm != "none":
            raise ConfigError("relu: 'last' needs blocks without norms; add norm='none'")
        if relu == "last" and kind.name != "plain":
            raise ConfigError(f"relu: 'last' needs the branch 'plain'; got the branch {kind.name!r}")
        dd = style.dd
        shape = FORMS[form]
        width = width or shape.width
        stem = nn.Sequential()
        if form == "cifar":
            stem.add_module("conv", nn.Conv2d(in_chans, width, 3, padding=1, bias=False, **dd))
        else:
            stem.add_module("conv", nn.Conv2d(in_chans, width, 7, stride=2, padding=3, bias=False, **dd))
            if (stem_norm := style.make_norm(width)) is not None:
                stem.add_module("norm", stem_norm)
            stem.add_module("act", style.make_act(inplace=True))
        shapes = [Shape(width, 1 if form == "cifar" else 2)]

        first = Shape(width, 1 if form == "cifar" else 4)
        builder = BlockBuilder(
            scheme, shape, first, sum(layers), style, kind, bottleneck=bottleneck, relu_last=relu == "last"
        )
        drop_paths = iter(cast(list[float], calculate_drop_path_rates(drop_path_rate, sum(layers))))
        stages = []
        before = 1
        for i, (count, stride, dilation) in enumerate(dilated(shape.strides, first.reduction, output_stride, layers)):
            stages.append(
                [
                    builder.block(
                        width << i,
                        1 if j else stride,
                        next(drop_paths),
                        stage=i,
                        number_in_stage=j,
                        dilation=(dilation if j else before, dilation),
                    )
                    for j in range(count)
                ]
            )
            before = dilation
            shapes.append(builder.history.states[0])
        super().__init__(
            scheme,
            stem,
            stages,
            shapes,
            norm=style.preactivation(shapes[-1].channels) if shape.final_norm else nn.Identity(),
            stem_pool=None if form == "cifar" else nn.MaxPool2d(3, stride=2, padding=1),
            num_classes=num_classes,
            in_chans=in_chans,
            global_pool=global_pool,
            drop_rate=drop_rate,
            **dd,
        )
        self.is_normed = norm != "none"
        self.init_weights()

    @torch.jit.ignore()
    def init_weights(self) -> None:
        """He-normal (fan-out) convolutions, unit norms; everything else as its module has it.

        Each block adds a branch of about unit variance to the state.  The running variances of the norms that see
        states start at what that makes, or an untrained network of hundreds of layers overflows in evaluation mode.
        Without norms a branch is about as large as its state: that of each of L blocks is divided by sqrt(L), so that
        the variance grows by (1 + 1/L)^L < e in all.  Neither where no state is added to the branch.

        The equation of an implicit step has a solution while beta_next df/dy is far from 1: there the branches
        are divided by L, the step size of L steps over a time of 1.  How, each branch says by its ``init_scale``.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif callable(reset := getattr(module, "reset_parameters", None)):
                reset()
        method, blocks = self.scheme.coefficients(), cast(list[Block], self.blocks())
        if not method.keeps_state:
            return
        factor = 1.0
        if not method.is_explicit or not self.is_normed:
            factor = len(blocks) ** (-0.5 if method.is_explicit else -1.0)
        for n, block in enumerate(blocks):
            for branch in branches(block.step):
                branch.init_scale(factor, 1.0 + n)
            expect_variance([block.preact, *block.shortcuts], 1.0 + n)
        expect_variance([self.norm], 1.0 + len(blocks))
