"""Networks for inference: batch norms folded into the convolutions before them, and step weights into the last one."""

from __future__ import annotations

import copy
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from timm.layers import BatchNormAct2d
from timm.models import get_notrace_functions, get_notrace_modules
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from stabzoo.implicit.step import ImplicitStep
from stabzoo.networks.branch import Branch
from stabzoo.networks.steps import MultistepStep

__all__ = ["FusedStep", "Fusion", "fuse"]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, BatchNormAct2d)
"""Exact types: what a subclass computes is not known."""

TOLERANCE = 1e-5
"""Largest difference of logits that is accepted, as a share of the largest logit; of float32 networks."""


@dataclass(frozen=True)
class Fusion:
    """A network made for inference alone, and what was done to it.

    Attributes:
        network: In evaluation mode, of the class that it was; its parameters are not trained.
        folded: The batch norms that are part of a convolution now, by name.
        kept: Those that are not, and why.
        steps: The steps whose weight beta is part of a convolution now.
        difference: Of the logits before and after, largest over the images, as a share of the largest logit.
    """

    network: nn.Module
    folded: tuple[str, ...]
    kept: Mapping[str, str]
    steps: tuple[str, ...]
    difference: float

    def gain(self, network: nn.Module, images: Tensor, rounds: int = 15) -> float:
        """Time of an inference of this network as a share of that of ``network``, for example the one it was made of.

        The median over ``rounds`` of times taken side by side.
        """
        ratios = []
        with torch.inference_mode():
            for i in range(rounds + 2):
                ours, theirs = (_seconds(model, images) for model in (self.network, network))
                if i >= 2:
                    ratios.append(ours / theirs)
        return statistics.median(ratios)


class FusedStep(nn.Module):
    """A `MultistepStep` whose beta is part of the branch: y_{n+1} = f(y) + alpha_0 y_n + alpha_1 y_{n-1} + ...

    The sum is accumulated in place into f(y).  The method is the same as before, with another f; nothing is certified
    of this class.
    """

    def __init__(self, step: MultistepStep) -> None:
        super().__init__()
        self.f, self.method = step.f, step.method
        self.terms = [(j, alpha) for j, alpha in enumerate(step.alpha[: step.states]) if alpha]

    def coefficients(self) -> Any:
        """The exact coefficients of the step, with those of f that it was made of."""
        return self.method

    def forward(self, y: Tensor, history: list[Tensor]) -> Tensor:
        """As `MultistepStep.forward`."""
        y_next = self.f(y)
        for j, alpha in self.terms:
            y_next = y_next.add_(history[j], alpha=alpha)
        return y_next


def fuse(model: nn.Module, images: Tensor | None = None) -> Fusion:
    """A copy of ``model`` that infers faster: batch norms and step weights are folded into kernels.

    If only a batch norm reads the result of a convolution (or linear layer), it becomes part of that layer: with
    s = gamma / sqrt(var + eps), kernels s W and bias s (b - mean) + beta.  A batch norm of a state is kept, because a
    ReLU separates it from the next convolution.  In a step y_{n+1} = sum_j alpha_j y_{n-j} + beta f(y_n), beta is
    folded into the last kernel of f.  Implicit steps are not folded.

    Certificates of ``model`` do not apply to the copy, whose numbers differ by rounding.  Bounds of the copy are
    computed from its own weights, or refused.

    >>> import timm, torch, stabzoo
    >>> fusion = stabzoo.fuse(timm.create_model("zerosnet20_opt"))
    >>> len(fusion.folded), len(fusion.kept), len(fusion.steps)
    (9, 10, 9)

    Args:
        model: Any network of timm, of this package or another; it is not changed.
        images: Images to compare the results on, (B, C, H, W); by default 8 of noise, of the model's input size.

    Raises:
        ValueError: The input size is unknown, the network's results are not finite, or those of the fused network
            differ by more than 1e-5 of the largest.
    """
    fused = copy.deepcopy(model).eval().requires_grad_(False)
    images = _noise(fused) if images is None else images
    with torch.no_grad():
        before = _logits(fused, images)
        folded = _fold_norms(fused)
        steps = _fold_steps(fused)
        after = _logits(fused, images)
    difference = float((after - before).abs().max() / before.abs().max().clamp_min(torch.finfo(before.dtype).tiny))
    if not difference <= TOLERANCE:
        raise ValueError(
            f"fuse: expected the results of {type(model).__name__}, got others, by {difference:.2g} of the largest "
            f"one (at most {TOLERANCE:g} is rounding): its weights are not finite, too large for {before.dtype}, or it "
            "uses its layers in a way that tracing does not see"
        )
    kept = {
        name: _why_kept(module)
        for name, module in fused.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    }
    return Fusion(fused, tuple(folded), kept, tuple(steps), difference)


def _noise(model: nn.Module) -> Tensor:
    """Images of the size that timm says of a network, with its own number of channels.

    Raises:
        ValueError: It says none.
    """
    config: Any = getattr(model, "pretrained_cfg", None) or {}
    size = config.get("input_size")
    if size is None:
        raise ValueError(f"fuse: the input size of {type(model).__name__} is not known; give images")
    channels = getattr(model, "in_chans", size[0])
    weight = next(model.parameters())
    noise = torch.randn(8, channels, *size[1:], generator=torch.Generator().manual_seed(0))
    return noise.to(weight.device, weight.dtype)


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    found = model(images)
    return found if isinstance(found, Tensor) else torch.cat([part.flatten() for part in found])


class _Tracer(fx.Tracer):
    """Follows a network as far as it can be followed without running it; what timm says cannot be is a leaf."""

    def __init__(self) -> None:
        super().__init__(autowrap_functions=tuple(get_notrace_functions()))
        self.leaves = (*get_notrace_modules(), ImplicitStep)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Also what solves an equation."""
        return isinstance(m, self.leaves) or super().is_leaf_module(m, module_qualified_name)


def _graphs(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, fx.Graph]]:
    """The computation of a module; where it cannot be followed, those of its children, and so on."""
    tracer = _Tracer()
    try:
        graph = tracer.trace(module)
    except Exception:  # whatever a network of anyone raises when it meets no tensors
        inside = list(module.named_children())
    else:
        yield prefix, graph
        called = {node.target for node in graph.nodes if node.op == "call_module"}
        inside = [(n, m) for n, m in module.named_modules() if n in called and any(m.children())]
    for name, child in inside:
        if isinstance(child, ImplicitStep) or parametrize.is_parametrized(child):
            continue  # results of an equation that is solved to a tolerance change with rounding; a kernel is one layer
        yield from _graphs(child, f"{prefix}{name}.")


def _pairs(model: nn.Module) -> list[tuple[str, str]]:
    """Names of modules whose every result one other reads and nothing else, and of that, which reads nothing else."""
    readers: dict[str, set[str]] = {}
    sources: dict[str, set[str]] = {}
    for prefix, graph in _graphs(model):
        for node in graph.nodes:
            if node.op == "get_attr":  # a weight that is read past its module
                readers.setdefault(f"{prefix}{node.target}".rpartition(".")[0], set()).add("")
            if node.op != "call_module":
                continue
            name, read = f"{prefix}{node.target}", node.args[0] if node.args else None
            users = [user.target if user.op == "call_module" else "" for user in node.users]
            readers.setdefault(name, set()).add(f"{prefix}{users[0]}" if len(users) == 1 and users[0] else "")
            source = f"{prefix}{read.target}" if isinstance(read, fx.Node) and read.op == "call_module" else ""
            sources.setdefault(name, set()).add(source)
    return [
        (layer, norm)
        for layer, (norm, *others) in ((layer, sorted(found)) for layer, found in readers.items())
        if norm and not others and sources[norm] == {layer}
    ]


def _fold_norms(model: nn.Module) -> list[str]:
    """Fold what can be; the names of the norms."""
    names = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    folded = []
    found = [(b, a, model.get_submodule(b), model.get_submodule(a)) for b, a in _pairs(model)]
    for before, after, layer, norm in found:
        plain = not any(_is_altered(module) or names[id(module)] > 1 for module in (layer, norm))
        if not plain or type(norm) not in BATCH_NORMS or cast(Any, norm).running_var is None:
            continue
        if parametrize.is_parametrized(layer):
            for name in list(layer.parametrizations):  # pyright: ignore
                parametrize.remove_parametrizations(layer, name)
        if type(layer) is nn.Linear and type(norm) is nn.BatchNorm1d:
            made: nn.Module = fuse_linear_bn_eval(layer, norm)
        elif type(layer) in CONVOLUTIONS:
            transposed = isinstance(layer, nn.modules.conv._ConvTransposeNd)
            made = fuse_conv_bn_eval(cast(Any, layer), cast(Any, norm), transpose=transposed)
        else:
            continue
        model.set_submodule(before, made)
        rest = (
            nn.Sequential(*(m for _, m in norm.named_children())) if isinstance(norm, BatchNormAct2d) else nn.Identity()
        )
        model.set_submodule(after, rest)
        folded.append(after)
    return folded


def _fold_steps(model: nn.Module) -> list[str]:
    """Have the last kernels of the usual branches scaled by beta; the names of the steps."""
    steps = []
    for name, step in list(model.named_modules()):
        if type(step) is not MultistepStep or step.returns_slope or type(step.f) is not Branch:
            continue
        f = step.f
        if f.relu_last or f.conv.bias is not None or _is_altered(f.conv) or parametrize.is_parametrized(f.conv):
            continue
        f.conv.weight.mul_(step.beta[0])
        model.set_submodule(name, FusedStep(step))
        steps.append(name)
    return steps


def _is_altered(module: nn.Module) -> bool:
    """Whether others look at what it reads or returns, or replace it."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def _why_kept(norm: nn.Module) -> str:
    if type(norm) not in BATCH_NORMS:
        return f"what {type(norm).__name__} computes is not known"
    if norm.running_var is None:  # pyright: ignore
        return "it uses the batch's statistics"
    if _is_altered(norm):
        return "it has hooks or a forward of its own"
    return "it reads a state, or what others read too, or stands in an equation that is solved"


def _seconds(model: nn.Module, images: Tensor) -> float:
    start = time.perf_counter()
    model(images)
    if images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start
