"""Why a network does not learn: what of it is not finite, does not depend on the image, or gets no gradient.

A network that has died answers every image alike: its loss is that of a constant answer, ln(classes) where classes are
equally frequent. The place is found by a run, not guessed: the first module whose output no longer depends on the
image although its input does. A residual branch may be constant without harm; a network is dead when nothing that
finishes after that module depends on the image.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from stabzoo.diagnostics.capture import evaluating, run_hooked
from stabzoo.implicit.step import off_the_record

__all__ = ["Failure", "at_chance", "failure_of", "stall_of"]

CONSTANT = 1e-5
"""Largest difference over the images, relative to the largest entry, that counts as none in single precision."""

NOTICED = 0.1
"""Differences of scaled logits below this move no probability by more than a tenth of itself."""

RELUS = (functional.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)

VANISHED = 1e-7
"""A relative update of a weight below this is lost in single precision."""


@dataclass(frozen=True)
class Failure:
    """What is wrong, where, and the cause in words.

    Attributes:
        kind: ``not finite``, of weights or of outputs; ``constant``, the output does not depend on the image;
            ``statistics``, it does with the images' own statistics in the batch norms, not with the running ones;
            ``small``, the logits differ too little for the loss; ``no gradient``.
        module: The weight or the module at which it begins, by its name in the model.
        cause: One sentence.
    """

    kind: Literal["not finite", "constant", "statistics", "small", "no gradient"]
    module: str
    cause: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {"kind": self.kind, "module": self.module, "cause": self.cause}


def failure_of(model: nn.Module, images: Tensor) -> Failure | None:
    """Why ``model``, in evaluation mode, cannot tell ``images`` (B, C, H, W) apart; None if it can, or B is 1.

    It is run once; its weights, flags and reports of solves stay as they are.

    >>> from torch import nn
    >>> dead = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> _ = nn.init.constant_(dead[1].bias, -1e3)
    >>> failure_of(dead, torch.rand(5, 1, 2, 2)).module
    '2'
    """
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            broken = int((~tensor.isfinite()).sum())
            return Failure("not finite", name, f"{broken} of the {tensor.numel()} numbers in {name} are not finite")
    seen: list[tuple[str, nn.Module, str, str, bool]] = []

    def see(name: str, module: nn.Module, given: Any, result: Any) -> None:
        seen.append((name, module, _state(given), _state(result), _is_zero(result)))

    handles = [
        module.register_forward_hook(lambda m, args, result, name=name: see(name, m, args, result))
        for name, module in model.named_modules()
    ]
    silent: list[int] = []  # how many modules had finished before each relu that passed nothing on
    with off_the_record(model), _Relus(lambda: silent.append(len(seen))):
        run_hooked(model, images, handles)
    for name, module, given, result, _ in seen:
        if result == "not finite" and given != "not finite":
            cause = f"the output of {_titled(name, module)} is not finite though its input is: it overflows"
            return Failure("not finite", name, cause)
    if seen[-1][3] == "varies":
        return None
    last = max((i for i, (*_, result, _zero) in enumerate(seen) if result == "varies"), default=-1)
    at = next((i for i in range(last + 1, len(seen)) if seen[i][2] == "varies"), last + 1)
    name, module, _, _, is_zero = seen[at]
    what = "zero" if is_zero else "the same"
    cause = f"the output of {_titled(name, module)} is {what} for all {len(images)} images though its input is not"
    if _varies_with_batch_statistics(model, images):
        cause += "; with the images' own statistics in the batch norms it tells them apart: the running ones lag"
        return Failure("statistics", name, cause)
    if at in silent:
        cause += ": nothing that its relu gets is positive, and no gradient comes back through it"
    elif (own := list(module.parameters(recurse=False))) and not any(parameter.any() for parameter in own):
        cause += ": its weights are zero"
    return Failure("constant", name, cause)


def _varies_with_batch_statistics(model: nn.Module, images: Tensor) -> bool:
    norms = (nn.modules.batchnorm._BatchNorm,)
    if not any(isinstance(module, norms) for module in model.modules()):
        return False
    copied = copy.deepcopy(model).eval()
    for module in copied.modules():
        if isinstance(module, norms):
            module.train()
    with off_the_record(copied), torch.no_grad():
        return _state(copied(images)) == "varies"


def stall_of(model: nn.Module, images: Tensor, labels: Tensor, *, scale: float, lr: float) -> Failure | None:
    """Why the loss of a network that does tell images apart stays at ln(classes); None where no cause is found.

    Args:
        model: In evaluation mode inside; it stays as it is.
        images: (B, C, H, W), as the model takes them.
        labels: (B,).
        scale: What the logits are multiplied by in the loss.
        lr: The largest learning rate.
    """
    with off_the_record(model), evaluating(model), torch.enable_grad():
        logits = scale * model(images)
        spread = float((logits.amax(0) - logits.amin(0)).detach().max())
        if spread < NOTICED:
            cause = (
                f"the logits of {len(images)} images differ by no more than {spread:.2g} in the loss, where 1 moves a "
                "probability: raise logit_scale, the cap of the classifier's norm, or lr"
            )
            return Failure("small", "", cause)
        named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
        loss = functional.cross_entropy(logits, labels)
        gradients = torch.autograd.grad(loss, [weight for _, weight in named], allow_unused=True)
    lost: list[str] = []
    for (name, weight), gradient in zip(named, gradients, strict=True):
        size = float(weight.detach().norm())
        if size and (gradient is None or lr * float(gradient.norm()) < VANISHED * size):
            lost.append(name)
        elif size:
            break
    if not lost:
        return None
    cause = (
        f"the gradient vanishes: lr times it is below {VANISHED:g} of the weight itself, from the input to {lost[-1]}"
    )
    return Failure("no gradient", lost[-1], cause)


def at_chance(loss: float, classes: int) -> bool:
    """Whether a mean loss is that of equal probabilities, ln(classes), to 0.2 percent."""
    return math.isclose(loss, math.log(classes), rel_tol=2e-3)


class _Relus(TorchFunctionMode):
    """Tells of every relu that is given something and passes nothing on."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self.tell = tell

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = not _is_zero(args[0]) if func in RELUS else False  # before it: it may work in place
        result = func(*args, **(kwargs or {}))
        if given and _is_zero(result):
            self.tell()
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _tensors(entry)


def _state(value: Any) -> Literal["varies", "constant", "not finite"]:
    """Of what a module takes or returns, images along the first dimension: one tensor that varies is enough."""
    tensors = [tensor.detach() for tensor in _tensors(value) if tensor.is_floating_point() and tensor.ndim]
    sizes = [_largest(tensor) for tensor in tensors]
    if not all(map(math.isfinite, sizes)):
        return "not finite"
    return "varies" if any(map(_varies, tensors, sizes)) else "constant"


def _largest(tensor: Tensor) -> float:
    """The largest size of an entry, in one pass without a copy; not finite where an entry is not."""
    if not tensor.numel():
        return 0.0
    low, high = map(float, tensor.aminmax())
    return max(-low, high) if low == low else math.nan


def _varies(tensor: Tensor, largest: float) -> bool:
    """Whether an image's entries differ from the first's: the second's are looked at first, as most do there."""
    return any(
        float((some - tensor[:1]).abs().amax()) > CONSTANT * largest
        for some in (tensor[1:2], tensor[2:])
        if some.numel()
    )


def _is_zero(value: Any) -> bool:
    return all(_largest(tensor.detach()) == 0 for tensor in _tensors(value))


def _titled(name: str, module: nn.Module) -> str:
    return f"{name or 'the model'} ({type(module).__name__})"
