"""A network of a stem, stages of blocks, and a head, as timm wants it: the model contract, whatever the blocks compute.

A block maps the newest state to the next one.  What else it needs (past states of a multistep scheme, nothing of a
one-step scheme) is in the `stabzoo.networks.past.Past` that goes with the state.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from timm.layers import ClassifierHead, get_device_dtype
from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
from timm.models._features import FeatureGetterNet, feature_take_indices  # timm does not export these
from timm.models._manipulate import checkpoint
from torch import Tensor, nn

from stabzoo.discretization import Discretization, Shape
from stabzoo.errors import ConfigError
from stabzoo.implicit.step import ImplicitStep, solver_report
from stabzoo.methods import OwnNetwork, OwnStep, method_of
from stabzoo.networks.arguments import PlainArguments
from stabzoo.networks.checkpoints import checkpoint_filter_fn
from stabzoo.networks.past import Past, advanced, takes_lists
from stabzoo.networks.reversible import advance, is_invertible

if TYPE_CHECKING:
    from stabzoo.implicit.report import BlockReport
    from stabzoo.methods.multistep import LinearMultistep
    from stabzoo.stability import StabilityCard
    from stabzoo.stability.growth import ProductGrowth

__all__ = [
    "ListStage",
    "Shape",
    "Stage",
    "StagedNetwork",
    "checkpoint_filter_fn",
]  # timm looks for the filter beside the class

FLAT = "flat"
"""The pooling that is none: the classifier reads every pixel of the last state."""


class Stage(nn.Module):
    """Blocks of one resolution; the first may change the shape."""

    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.grad_checkpointing = False
        self.reversible = False

    def forward(self, y: Tensor, past: Past) -> Tensor:
        """The newest state -> that after as many steps as there are blocks; ``past`` is left as they leave it."""
        if not torch.jit.is_scripting() and (self.reversible or self.grad_checkpointing) and torch.is_grad_enabled():
            return self.saving(y, past)
        for block in self.blocks:
            y = block(y, past)
        return y

    @torch.jit.unused
    def saving(self, y: Tensor, past: Past) -> Tensor:
        """The same, keeping no activations of the blocks for gradients."""
        history = [y, *past.entries]
        if self.reversible:
            history = advance(list(self.blocks), history)
        else:
            for block in self.blocks:
                history = checkpoint(lambda *given, block=block: tuple(advanced(block, list(given))), *history)
        y, *past.entries = history
        return y


class ListStage(Stage):
    """Blocks that map lists ``[y_n, ...]`` to ``[y_{n+1}, ...]``, as those of own networks may."""

    def forward(self, y: Tensor, past: Past) -> Tensor:
        """As that of a `Stage`."""
        if not torch.jit.is_scripting() and (self.reversible or self.grad_checkpointing) and torch.is_grad_enabled():
            return self.saving(y, past)
        history = [y] + past.entries  # noqa: RUF005 -- TorchScript has no other
        for block in self.blocks:
            history = block(history)
        past.entries = history[1:]
        return history[0]


class StagedNetwork(nn.Module):
    """A network in which every block is one step of ``scheme``; it implements timm's contract, subclasses the parts.

    Images pass through ``stem`` and ``stem_pool``, every stage maps the state to the next, and ``norm`` and ``head``
    read the last state.

    Args:
        scheme: The discretization.
        stem: Maps an image to the first state, of shape ``shapes[0]``.
        stages: The blocks of each stage: modules that map a list ``[y_n, ...]`` to ``[y_{n+1}, ...]``; or, so that
            hooks receive the feature map, y_n and a ``past`` (`stabzoo.Past`), which they advance by one step, to
            y_{n+1}.  All blocks of a stage have the same form.
        shapes: Shapes of the state after the stem and after each stage.
        norm: Applied to the last state before pooling.
        stem_pool: Applied to the stem's feature map to give the first state.
        num_classes: Number of classes; 0 omits the classifier.
        in_chans: Channels of the input image.
        global_pool: Pooling before the classifier, as timm names it; ``""`` for none; ``"flat"``: the classifier reads
            every pixel, so all images must have one size.
        grid: Height and width of the last state, for ``"flat"``.
        drop_rate: Dropout before the classifier.
        device: Where the classifier's parameters are created.
        dtype: Their type.
    """

    _model_args = PlainArguments()  # timm writes down there what it was told to create, and saves it as JSON

    def __init__(
        self,
        scheme: Discretization,
        stem: nn.Module,
        stages: Sequence[Sequence[nn.Module]],
        shapes: Sequence[Shape],
        norm: nn.Module,
        *,
        stem_pool: nn.Module | None = None,
        num_classes: int = 10,
        in_chans: int = 3,
        global_pool: str = "avg",
        grid: tuple[int, int] | None = None,
        drop_rate: float = 0.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.scheme, self.grid = scheme, grid
        self.num_classes, self.in_chans, self.drop_rate = num_classes, in_chans, drop_rate
        self.stem = stem
        self.stem_pool = stem_pool or nn.Identity()
        self.stages = nn.ModuleList(
            (ListStage if any(map(takes_lists, blocks)) else Stage)(list(blocks)) for blocks in stages
        )
        modules = ["stem", *(f"stages.{i}" for i in range(len(stages)))]
        self.feature_info = [
            {"num_chs": shape.channels, "reduction": shape.reduction, "module": module}
            for shape, module in zip(shapes, modules, strict=True)
        ]
        self.num_features = shapes[-1].channels
        self.norm = norm
        self.head = ClassifierHead(self.num_features, 0, drop_rate=drop_rate)
        self._reset_head(num_classes, global_pool, device, dtype)
        for name, module in self.named_modules():
            if isinstance(module, ImplicitStep):
                module.report.name = name

    @torch.jit.ignore()
    def blocks(self) -> list[nn.Module]:
        """All blocks, in the order of the steps."""
        return [block for stage in self.stages for block in cast(Stage, stage).blocks]

    @torch.jit.ignore()
    def block_methods(self) -> "list[LinearMultistep] | None":
        """The method of each block's step, in their order; None where a block does not state its coefficients.

        Raises:
            ValueError: a trained parameter gives no method; the message names the block.
        """
        methods: list[LinearMultistep] = []
        for i, block in enumerate(self.blocks()):
            stated = getattr(getattr(block, "step", None), "coefficients", None)
            if stated is None:
                return None
            try:
                methods.append(stated())
            except ValueError as error:
                raise ValueError(f"block {i}: {error}") from None
        return methods

    @torch.jit.ignore()
    def stability_card(self) -> "StabilityCard | ProductGrowth":
        """The stability of this network as it is now.

        Where the blocks state the coefficients of the scheme, its card.  Where they state others: zero stability is a
        statement about products of companion matrices, max over m <= n of ||C_n ... C_m||, evaluated exactly for the
        weights as stored.  Where nothing is stated, of neither the steps nor the scheme, that of an own network.

        Raises:
            ValueError: a trained parameter is not finite, or gives no method; the message names the block.
        """
        from stabzoo import stability

        scheme, methods = self.scheme, self.block_methods()
        if methods is None:
            stated = not isinstance(method_of(scheme), OwnStep)
            return stability.card(scheme if stated else OwnNetwork(scheme.coefficients()))
        regular = [not getattr(block, "starting", False) for block in self.blocks()]
        coefficients = scheme.coefficients()
        if all(method == coefficients for method, steady in zip(methods, regular, strict=True) if steady):
            return stability.card(scheme)
        return stability.product_growth(methods)

    @torch.jit.ignore()
    def solver_report(self) -> "list[BlockReport]":
        """What the solves of the implicit steps did, block by block; empty for an explicit scheme."""
        return solver_report(self)

    @torch.jit.ignore()
    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that order the parameters in layer groups (timm's layer decay)."""
        blocks = r"^stages\.(\d+)" if coarse else [(r"^stages\.(\d+)\.blocks\.(\d+)", None), (r"^norm", (99999,))]
        return {"stem": r"^stem", "blocks": blocks}

    @torch.jit.ignore()
    def set_grad_checkpointing(
        self, enable: bool = True, mode: Literal["recompute", "reversible"] = "recompute"
    ) -> None:
        """Trade time for memory in the backward pass: keep no activations of the blocks.

        Args:
            enable: Whether to.
            mode: ``"recompute"``: keep the state at every block, and evaluate the block again. ``"reversible"``:
                compute the states from those after them, where a block has an ``inverse``; memory then does not grow
                with the number of such blocks, but where rounding errors would grow too far a state is kept
                (``stabzoo.networks.reversible``). Blocks without, such as those that change the shape, are evaluated as
                ever. Gradients of gradients are refused, and `torch.compile` leaves the stages uncompiled.

        Raises:
            ConfigError: no block can be inverted.
        """
        if mode not in ("recompute", "reversible"):
            raise ConfigError(f"mode: expected 'recompute' or 'reversible', got {mode!r}")
        if enable and mode == "reversible" and not any(is_invertible(block) for block in self.blocks()):
            raise ConfigError(
                f"mode: no block of this network of scheme {self.scheme.name!r} can be inverted: expected steps with "
                "inverse(new, history), no past slopes, and a weight other than 0 on the oldest state; "
                "mode='recompute' is for every network"
            )
        for stage in self.stages:
            cast(Stage, stage).grad_checkpointing = enable and mode == "recompute"
            cast(Stage, stage).reversible = enable and mode == "reversible"

    @torch.jit.ignore()
    def get_classifier(self) -> nn.Module:
        """The linear classifier (an identity where there is none)."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier; ``global_pool`` None keeps the pooling.

        Raises:
            ConfigError: ``"flat"``, of a network that reads images of any size.
        """
        self.num_classes = num_classes
        pool = self.head.global_pool.pool_type if global_pool is None else global_pool
        self._reset_head(num_classes, pool, *get_device_dtype(self).values())

    def _reset_head(self, num_classes: int, pool: str, device: Any, dtype: Any) -> None:
        dd: Any = {"device": device, "dtype": dtype}
        if pool == FLAT:
            if self.grid is None:
                raise ConfigError("global_pool: 'flat' is for networks with an img_size; expected a pooling of timm's")
            flat = SelectAdaptivePool2d(pool_type="", flatten=True)
            flat.pool_type = FLAT
            self.head.global_pool = flat
            self.head.reset(num_classes, None, in_features=self.num_features * self.grid[0] * self.grid[1], **dd)
        else:
            self.head.reset(num_classes, pool, in_features=self.num_features, **dd)
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
        x, past = self.stem_pool(x), Past([])
        for i, stage in enumerate(self.stages, start=1):
            if stop_early and i > last:
                break
            x = stage(x, past)
            if i in take:
                taken.append(self.norm(x) if norm and i == end else x)
        if intermediates_only:
            return taken
        return self.norm(x), taken

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
            self.grid = None
        if prune_head or cut:
            self.reset_classifier(0, "")
        return take

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> unpooled features (B, num_features, H', W')."""
        x, past = self.stem_pool(self.stem(x)), Past([])
        for stage in self.stages:
            x = stage(x, past)
        return self.norm(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Features -> logits (B, num_classes), or the pooled features (B, head_hidden_size)."""
        if not torch.jit.is_scripting() and self.head.global_pool.pool_type == "flat":
            torch._assert(  # which torch.fx and torch.compile keep
                x.shape[2:] == self.grid,
                f"global_pool: the classifier reads every pixel of states of {self.grid}, got images of another size; "
                "give it as img_size when the network is created, or a global_pool of timm's",
            )
        return self.head(x, pre_logits=pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, num_classes)."""
        return self.forward_head(self.forward_features(x))


class FeatureGetter(FeatureGetterNet):
    """timm's ``features_only`` wrapper, with the gradient checkpointing that it lacks."""

    def set_grad_checkpointing(
        self, enable: bool = True, mode: Literal["recompute", "reversible"] = "recompute"
    ) -> None:
        """Keep no activations of the blocks (see `StagedNetwork.set_grad_checkpointing`)."""
        cast(StagedNetwork, self.model).set_grad_checkpointing(enable, mode)


class FeatureDict(FeatureGetter):
    """The same with a dict as its result, by the indices of the features, as timm's ``feature_cls="dict"`` has it."""

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        """(B, C, H, W) -> features by their indices."""
        return dict(zip(cast("list[int]", self.out_indices), super().forward(x), strict=True))
