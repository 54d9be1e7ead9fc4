"""The network of Fig. 1: a convolution, three stages of residual layers, the last two begun by a pooling layer, a head.

    stem                 3x3 convolution to 16 channels
    stages.0             m residual layers, 16 channels
    stages.1, stages.2   a pooling layer (half the resolution, twice the channels) and m - 1 residual layers
    norm, head           relu, global average pooling, a classifier whose bias is trained with ``head_bias`` only

Depth counts the distinct filters and weights: 6m for ResNet-D, 3m + 2 for ResNet-S. What the theorems assume of the
weights holds from the start, and after every `StableResNet.post_step`.

Source: Zhang and Schaeffer, JMIV 2020, section 3.1, Fig. 1, eqs. (14)-(19), initialisation as in section 4.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from timm.layers import calculate_drop_path_rates
from torch import Tensor, nn
from torch.nn.utils import parametrize as parametrizations
from torch.utils.hooks import RemovableHandle

from stabzoo import Shape, StagedNetwork, checkpoint_filter_fn
from stabzoo_forward.caps import ForwardScheme
from stabzoo_forward.constraints import Constraint, NormBound, Projected, Projector
from stabzoo_forward.layers import periodic
from stabzoo_forward.regularization import regularizer

__all__ = ["StableResNet", "checkpoint_filter_fn"]  # timm looks for the filter beside the class


BRANCH = 0.2  # of He's initialisation, where no batch norm sets the scale: norms of about 1/2


class StableResNet(StagedNetwork):
    """ResNet-D, ResNet-S or the post-activation ResNet, as ``scheme`` says.

    Norms, and with them the constraints, are those on the grids of ``img_size``. They hold for images whose sides
    divide it, too (16x16 for the default 32x32), and for no other size, which the network computes with all the same.

    Args:
        scheme: The discretization: which residual layer, normed or not, and what is bounded.
        layers: Blocks per stage; a pooling layer is one.
        width: Channels of the first stage; each further stage doubles them.
        img_size: Side of the images, or height and width.
        parametrize: Keep the constraints by parametrizations (`torch.nn.utils.parametrize`) instead of projections
            after every step: for training loops that call no `post_step`.
        head_bias: Whether the classifier's bias is trained; None: as in the papers, ResNet's alone. It starts at 0, and
            bounds on differences of logits are the same whatever it is. What is not trained is a buffer: an offset
            that a script may set, which checkpoints keep and may lack.
        num_classes: Classes; 0 leaves the classifier out.
        in_chans: Channels of the input image.
        global_pool: Pooling before the classifier, as timm names it; ``"flat"``: none, the classifier reads every
            pixel, of images of ``img_size``; ``""``: nothing.
        drop_rate: Dropout before the classifier.
        drop_path_rate: Stochastic depth: the rate of the last block; it grows linearly from 0.
        device: Where parameters are created.
        dtype: Their type.

    Raises:
        ValueError: ``img_size`` is not positive, or pooling norms are bounded and a pooling layer meets an odd grid.
    """

    __jit_unused_properties__ = ("optional_weights",)

    def __init__(
        self,
        scheme: ForwardScheme,
        layers: tuple[int, ...],
        width: int | None = None,
        img_size: int | tuple[int, int] = 32,
        parametrize: bool = False,
        head_bias: bool | None = None,
        num_classes: int = 10,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        dd = {"device": device, "dtype": dtype}
        width = width or 16
        grids = grids_of(img_size, len(layers), even=scheme.bounds().pool is not None)
        is_post = scheme.layer == "post"
        stem = nn.Sequential()
        if is_post:
            stem.add_module("conv", nn.Conv2d(in_chans, width, 3, padding=1, bias=False, **dd))
            stem.add_module("norm", nn.BatchNorm2d(width, **dd))
            stem.add_module("act", nn.ReLU(inplace=True))
        else:
            stem.add_module("conv", periodic(in_chans, width, **dd))

        rates = iter(cast(list[float], calculate_drop_path_rates(drop_path_rate, sum(layers))))
        shapes, stages = [Shape(width, 1)], []
        for i, count in enumerate(layers):
            blocks: list[nn.Module] = []
            for j in range(count):
                here, there, rate = shapes[-1].channels, width << i, next(rates)
                if j == 0 and i > 0:
                    blocks.append(scheme.transition(here, there, rate, **dd))
                else:
                    blocks.append(scheme.residual(there, grids[i], rate, **dd))
            shapes.append(Shape(width << i, 1 << i))
            stages.append(blocks)
        super().__init__(
            cast(Any, scheme),  # its ClassVars are the protocol's properties
            stem,
            stages,
            shapes,
            norm=nn.ReLU() if scheme.is_rectified and not is_post else nn.Identity(),  # eq. (19)
            grid=grids[-1],
            num_classes=num_classes,
            in_chans=in_chans,
            global_pool=global_pool,
            drop_rate=drop_rate,
            **dd,
        )
        self.layer, self.head_bias = scheme.layer, is_post if head_bias is None else head_bias
        self.grids, self.parametrize, self.projector = grids, False, Projector()
        self.fix_bias()
        self.init_weights()
        if parametrize:
            self.parametrize = True
            for name, constraint in self.constraints().items():
                self._register(name, constraint)

    @torch.jit.ignore()
    def fix_bias(self) -> None:
        """Unless ``head_bias``, make the classifier's bias a buffer of zeros: the paper counts no parameters for it."""
        fc = self.head.fc
        if not self.head_bias and isinstance(fc, nn.Linear):
            del fc.bias
            fc.register_buffer("bias", fc.weight.new_zeros(fc.out_features))
            fc.register_load_state_dict_pre_hook(_without_bias)

    @property
    def optional_weights(self) -> tuple[str, ...]:
        """What a checkpoint may lack: a bias that is not trained, which is 0 then."""
        return () if self.head_bias else ("head.fc.bias",)

    @torch.jit.ignore()
    def constraints(self) -> dict[str, Constraint]:
        """What is kept of which weight, by the weight's name: ``{"stem.conv.weight": NormBound(...), ...}``."""
        scheme, kept = cast(ForwardScheme, self.scheme), dict[str, Constraint]()
        bounds = scheme.bounds()
        if bounds.stem is not None:
            kept["stem.conv.weight"] = NormBound(bounds.stem, self.grids[0])
        if bounds.head is not None and isinstance(self.head.fc, nn.Linear):
            kept["head.fc.weight"] = NormBound(bounds.head)
        for i, stage in enumerate(self.stages):
            for j, block in enumerate(cast(Any, stage).blocks):
                found = block.constraints(bounds, self.grids[i - (j == 0 and i > 0)])
                kept |= {f"stages.{i}.blocks.{j}.{weight}": constraint for weight, constraint in found.items()}
        return kept

    @torch.jit.ignore()
    def post_step(self) -> None:
        """Project the weights onto the constraints; call it after every step of an optimizer, or see `constrain`.

        Afterwards the exact norm of every bounded weight, as stored, is at most its bound. Weights within 0.98 of their
        bound are not touched, nor are those that are no longer finite. Nothing is left to do under ``parametrize``.
        """
        if not self.parametrize:
            self.projector.project({n: (self.get_parameter(n), c) for n, c in self.constraints().items()})

    @torch.jit.ignore()
    def training_state(self) -> list[Any]:
        """What was proved of the weights so far: a training that resumes without it may project differently."""
        return self.projector.state()

    @torch.jit.ignore()
    def load_training_state(self, state: list[Any]) -> None:
        """Remember a `training_state`."""
        self.projector.load(state)

    @torch.jit.ignore()
    def constrain(self, optimizer: torch.optim.Optimizer) -> RemovableHandle:
        """Project now, and after every step that ``optimizer`` takes; the handle's ``remove()`` ends it."""
        self.post_step()
        return optimizer.register_step_post_hook(lambda *_: self.post_step())

    @torch.jit.ignore()
    def remove_parametrizations(self) -> None:
        """Make the projections the weights themselves: an ordinary network, whose names are those of `constraints`."""
        for name in self.constraints() if self.parametrize else ():
            module, _, tensor = name.rpartition(".")
            parametrizations.remove_parametrizations(self.get_submodule(module), tensor)
        self.parametrize = False

    @torch.jit.ignore()
    def regularizer(self, alpha: float = 1e-4) -> Tensor | float:
        """The paper's regulariser (`stabzoo_forward.regularization.regularizer`)."""
        return regularizer(self, alpha)

    def _register(self, name: str, constraint: Constraint) -> None:
        module, _, tensor = name.rpartition(".")
        part = self.get_submodule(module)
        parametrizations.register_parametrization(part, tensor, Projected(constraint))

        def renamed(part: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
            """A checkpoint of plain weights: they satisfy the constraint, and are trained from there."""
            if prefix + tensor in state and parametrizations.is_parametrized(part, tensor):
                state[f"{prefix}parametrizations.{tensor}.original"] = state.pop(prefix + tensor)

        part.register_load_state_dict_pre_hook(renamed)

    @torch.jit.ignore()
    def init_weights(self) -> None:
        """Initialise as section 4 does: uniform scaling, He, and a truncated normal distribution for the classifier.

        The first convolution: uniform with variance 1/fan-in. The others: normal with variance 2/fan-in. The
        classifier: normal with deviation 1/(d_3 C), cut at two deviations. Biases 0, batch norms gamma = 1, beta = 0.
        Without batch norms the branches start smaller, and a classifier of means is a partial isometry times its bound.
        ResNet's, after its own paper: normal with variance 2/fan-out, the classifier as torch has it.
        """
        is_post = self.layer == "post"
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out" if is_post else "fan_in", nonlinearity="relu")
                if name == "stem.conv" and not is_post:
                    nn.init.kaiming_uniform_(module.weight, nonlinearity="linear")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d) or (isinstance(module, nn.Linear) and self.head_bias):
                module.reset_parameters()
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5)  # as torch's own, but for the bias
                nn.init.zeros_(module.bias)
        fc = self.head.fc
        if isinstance(fc, nn.Linear) and not is_post:
            deviation = 1 / fc.weight.numel()
            nn.init.trunc_normal_(fc.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
            if self.head_bias:
                nn.init.zeros_(fc.bias)
        if not cast(ForwardScheme, self.scheme).is_normed:
            self._spread_out()
        for block in self.blocks():
            if (reset := getattr(block, "reset_parameters", None)) is not None:  # those of more than convolutions
                reset()
        if not next(self.parameters()).is_meta:
            self.post_step()

    @torch.no_grad()
    def _spread_out(self) -> None:
        """Without batch norms: branches that do not contract the state to nothing; of means, a classifier at its bound.

        A classifier that reads every pixel starts small, as all others do: at its bound its answers are sure and wrong,
        and the way to a smaller loss is a state of 0, which a relu does not leave again.
        """
        for name, constraint in self.constraints().items():
            weight = self.get_parameter(name)
            if name != "head.fc.weight":
                weight.mul_(1 if name == "stem.conv.weight" else BRANCH)
            elif self.head.global_pool.pool_type != "flat":
                nn.init.orthogonal_(weight, gain=cast(NormBound, constraint).cap)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier; ``global_pool`` None keeps the pooling."""
        super().reset_classifier(num_classes, global_pool)
        self.fix_bias()
        if self.parametrize and "head.fc.weight" in (kept := self.constraints()):
            self._register("head.fc.weight", kept["head.fc.weight"])


def _without_bias(fc: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """A checkpoint of a classifier without bias: it is 0."""
    if prefix + "bias" not in state:
        state[prefix + "bias"] = torch.zeros_like(state.get(prefix + "weight", fc.weight)[:, 0])


def grids_of(img_size: int | tuple[int, int], stages: int, *, even: bool) -> list[tuple[int, int]]:
    """Return height and width of the feature maps of each stage, half of the stage's before, rounded up.

    Raises:
        ValueError: A side is not a positive whole number, or it is odd where it is halved although ``even``.
    """
    grid = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
    if len(grid) != 2 or any(not isinstance(side, int) or side < 1 for side in grid):
        raise ValueError(f"img_size: expected the images' side, or height and width, in pixels; got {img_size!r}")
    unit = 2 ** (stages - 1)
    if even and any(side % unit for side in grid):
        raise ValueError(
            f"img_size: the norm of a convolution with stride 2 is bounded on even grids only, expected multiples of "
            f"{unit}, got {img_size!r}; resize or pad the images"
        )
    return [(-(-grid[0] // 2**i), -(-grid[1] // 2**i)) for i in range(stages)]
