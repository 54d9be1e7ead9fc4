"""Checks of a step as a function: the same in every mode and call, differentiable, and leaving alone what is not its.

They are made on the steps of a scheme around a smooth f, and on the blocks of a network of its own within it.
"""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError, gradcheck
from torch.overrides import TorchFunctionMode

from stabzoo.networks.past import returned
from stabzoo.networks.reversible import is_invertible
from stabzoo.testing.checks import NotApplicable, Subject
from stabzoo.testing.places import block_at
from stabzoo.testing.trials import SmoothField, Trial, set_mode, trials

__all__ = ["check_derivatives", "check_modes"]

CALLS = 24
ROUNDING = 1e-10  # what two ways to one number may differ by, relatively, in float64


def check_modes(subject: Subject) -> None:
    """Around a deterministic f a step computes the same in training and in evaluation, with and without gradients."""
    for trial in trials(subject):
        given = trial.arguments()
        expected: list[Tensor] = []
        for training in (False, True):
            set_mode(trial.module, training=training)
            for grad in (False, True):
                with torch.set_grad_enabled(grad):
                    got = trial(given)
                mode = f"{'train()' if training else 'eval()'}{'' if grad else ' under no_grad()'}"
                _same(got, expected := expected or got, f"{trial.what}: in {mode} the result is another", ROUNDING)


def check_batch(subject: Subject) -> None:
    """What a step makes of an image does not depend on the others of its batch, nor on how many there are."""
    for trial in trials(subject):
        for training in (False, True):
            set_mode(trial.module, training=training)
            with torch.no_grad():
                three = trial.arguments(3)
                whole = trial([tensor.clone() for tensor in three])
                for images in (slice(0, 1), slice(1, 3)):
                    part = trial([tensor[images].clone() for tensor in three])
                    count = images.stop - images.start
                    text = f"{trial.what}: in a batch of {count} an image's result is not that in a batch of 3"
                    _same(part, [tensor[images] for tensor in whole], text, ROUNDING)


def check_derivatives(subject: Subject) -> None:
    """Gradients are the derivatives of what is computed: through y, history, slopes, and parameters; in float64."""
    for trial in trials(subject):
        set_mode(trial.module, training=True)
        given = trial.arguments(1)
        for i, name in enumerate(trial.names):
            by_argument = partial(_with_argument, trial, given, i)
            _differentiable(by_argument, given[i].clone(), f"{trial.what}: the gradient by {name}")
        for name, parameter in trial.module.named_parameters():
            if parameter.requires_grad:
                by_parameter = partial(_with_parameter, trial, given, name)
                _differentiable(by_parameter, parameter.detach().clone(), f"{trial.what}: the gradient by {name}")


def _with_argument(trial: Trial, given: list[Tensor], i: int, x: Tensor) -> Tensor:
    return _joined(trial([*given[:i], x, *given[i + 1 :]]))


def _with_parameter(trial: Trial, given: list[Tensor], name: str, x: Tensor) -> Tensor:
    packed = trial.packed(given)
    new = torch.func.functional_call(trial.module, {name: x}, packed)
    return _joined(returned(new) if trial.is_step or isinstance(new, list) else [new, *packed[1].entries])


def _joined(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])  # so that one without a gradient counts, too


def _differentiable(function: Callable[[Tensor], Tensor], x: Tensor, what: str) -> None:
    try:
        gradcheck(function, (x.requires_grad_(),), nondet_tol=1e-8, check_undefined_grad=False, fast_mode=True)
    except (GradcheckError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise AssertionError(
            f"{what} is not the derivative of what is computed ({reason:.120}); compute without detach(), .data, "
            "no_grad() and in-place changes of what a gradient needs"
        ) from None


def check_returned_slope(subject: Subject) -> None:
    """Where past slopes are used, a step returns ``[y_{n+1}, f_n]``, and f_n is f(y) itself."""
    if not subject.method.past_slopes or subject.has_own_network:
        raise NotApplicable("its steps use no past slopes, and return none")
    for trial in trials(subject):
        assert trial.field is not None
        for training in (False, True):
            given = trial.arguments()
            with torch.no_grad():
                expected = trial.field(given[0])
                got = set_mode(trial.module, training=training)(given[0], given[1:])
            assert len(got) > 1, f"{trial.what}: expected [y_next, f(y)], got {len(got)} tensor; return the slope, too"
            _same(got[1:2], [expected], f"{trial.what}: expected f(y) as the slope, the second tensor", ROUNDING)


def check_new_tensors(subject: Subject) -> None:
    """What a step returns shares no storage with anything: not one with another, with an argument, or with a weight."""
    for trial in trials(subject):
        for training, grad in ((False, False), (True, True)):
            set_mode(trial.module, training=training)
            given = trial.arguments()
            with torch.set_grad_enabled(grad):
                got = trial(given)
            owned = [*trial.module.named_parameters(), *trial.module.named_buffers()]
            returned = [(name, tensor) for name, tensor in zip(("y_next", "the slope"), got, strict=False)]
            for name, tensor in returned[: 1 + trial.slopes]:
                for other, theirs in [*zip(trial.names, given, strict=True), *owned, *returned]:
                    assert name == other or _storage(tensor) != _storage(theirs), (
                        f"{trial.what}: {name} shares its storage with {other}, which a change in place of one would "
                        "change; return a new tensor (clone())"
                    )


def check_arguments(subject: Subject) -> None:
    """A step changes none of what it is given: neither y, nor the history, a list that others read."""
    for trial in trials(subject):
        for training in (False, True):
            for grad in (False, True):
                set_mode(trial.module, training=training)
                given = trial.arguments()
                before, versions = [tensor.clone() for tensor in given], [tensor._version for tensor in given]
                packed = trial.packed(given)
                with torch.set_grad_enabled(grad):
                    trial.module(*packed)
                if isinstance(packed[-1], list):  # a `Past` is there to be changed
                    history, handed = packed[-1], given if len(packed) == 1 else given[1:]
                    assert [id(tensor) for tensor in history] == [id(tensor) for tensor in handed], (
                        f"{trial.what} changes the list `history`, which is its network's; make a list of its own"
                    )
                for name, tensor, old, version in zip(trial.names, given, before, versions, strict=True):
                    is_same = torch.equal(tensor, old) and tensor._version == version
                    assert is_same, (
                        f"{trial.what} changes {name} in place, which other steps read; compute a new tensor"
                    )


def check_state(subject: Subject) -> None:
    """More than 20 calls compute the same, change no weight and no buffer, and draw no random numbers."""
    for trial in trials(subject):
        weights = {name: tensor.clone() for name, tensor in _weights(trial.module)}
        drawn = torch.random.get_rng_state()
        fresh = copy.deepcopy(trial.module)
        expected: dict[tuple[int, int], list[Tensor]] = {}
        for call in range(CALLS):
            set_mode(trial.module, training=call < CALLS - 6)
            kind = batch, seed = 1 + call % 3, call % 2
            if kind not in expected:
                alone = replace(trial, module=set_mode(copy.deepcopy(fresh), training=True))
                expected[kind] = [tensor.detach() for tensor in alone(trial.arguments(batch, seed))]
            with torch.set_grad_enabled(call // 6 % 2 == 0):
                got = [tensor.detach().clone() for tensor in trial(trial.arguments(batch, seed))]
            text = f"{trial.what}: call {call + 1} differs from what a new step computes; keep no state in a step"
            _same(got, expected[kind], text, ROUNDING)
        assert torch.equal(drawn, torch.random.get_rng_state()), (
            f"{trial.what} draws from torch's global random numbers; a step draws none, f may"
        )
        for name, tensor in _weights(trial.module):
            assert torch.equal(tensor, weights[name]), f"{trial.what} changes {name} when it is called; leave it be"


def check_memory(subject: Subject) -> None:
    """Of what a call makes nothing outlives the next one, and nothing that has the graph of a gradient the call.

    What the first call makes may stay.
    """
    for trial in trials(subject):
        set_mode(trial.module, training=True)
        trial(trial.arguments())
        with Made() as made:
            for _ in range(2):
                made.calls.append([])
                result = trial(trial.arguments())
                del result
        if made.kept():
            gc.collect()
        kept = made.kept()
        assert not kept, (
            f"{trial.what} keeps {len(kept)} tensors that a call has made, the first of shape "
            f"{tuple(kept[0].shape)}, so that memory grows with every call; store none of them"
        )


class Made(TorchFunctionMode):
    """Inside, the tensors that torch's functions return are noted by call, as long as something keeps them alive."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[weakref.ref[Tensor]]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the function, and note its result, but for an argument that it returns: `to` of the type that it has."""
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and not any(result is given for given in args):
            self.calls[-1].append(weakref.ref(result))
        return result

    def kept(self) -> list[Tensor]:
        """Those of earlier calls than the last that are alive, and those of the last one that hold a graph."""
        alive = [[tensor for note in notes if (tensor := note()) is not None] for notes in self.calls]
        return [*chain(*alive[:-1]), *(tensor for tensor in alive[-1] if tensor.grad_fn is not None)]


def check_inverse(subject: Subject) -> None:
    """Where a step has an ``inverse``, it gives back what the step was given, in float64 up to rounding errors.

    ``inverse(new, history)`` of a step is the oldest state, from y_{n+1} and the states that are kept; ``inverse(new)``
    of a block of an own network is all that the block was given.  One that says ``invertible = False`` has none.
    """
    inverted = [trial for trial in trials(subject) if trial.keeps_shape and is_invertible(trial.module)]
    if not inverted:
        raise NotApplicable("its steps have no inverse")
    for trial in inverted:
        for training in (False, True):
            module: Any = set_mode(trial.module, training=training)
            given = trial.arguments()
            given[0] = given[1].clone() if trial.is_step else given[0]  # both are y_n
            with torch.no_grad():
                new = trial(given)
                if trial.is_step:
                    passed, expected = [new[0], *given[1:-1]], given[-1:]
                    before = [tensor.clone() for tensor in passed]
                    got = [module.inverse(passed[0], passed[1:])]
                else:
                    passed, expected = new, given
                    before = [tensor.clone() for tensor in passed]
                    got = module.inverse(list(passed))
            _same(passed, before, f"{trial.what}: inverse() changes what it is given", 0.0)
            text = f"{trial.what}: inverse() does not give back what the step was given"
            mode = "train()" if training else "eval()"
            _same(got, expected, f"{text}, in {mode}; fix it, or say invertible = False", ROUNDING)


def check_separate_weights(subject: Subject) -> None:
    """No weight or buffer belongs to two blocks: of one network, of two, or of two steps that a scheme builds."""
    owners: list[tuple[str, nn.Module]] = []
    if not subject.has_own_network:
        owners += [(f"step {i} of one scheme", block_at(subject.scheme, SmoothField(2, 2, 1))) for i in range(2)]
    for which in ("a network", "another network"):
        network: Any = subject.network(blocks=2)
        owners += [(f"block {i} of {which}", block) for i, block in enumerate(network.blocks())]
    seen: dict[int, tuple[str, str]] = {}
    for owner, module in owners:
        for name, tensor in _weights(module):
            storage = _storage(tensor)
            known = seen.setdefault(storage, (owner, name)) if tensor.numel() else (owner, name)
            assert known[0] == owner, (
                f"{name} of {owner} is {known[1]} of {known[0]}; make a tensor of its own for each, in __init__"
            )


def _weights(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _same(got: list[Tensor], expected: list[Tensor], text: str, tolerance: float) -> None:
    assert len(got) == len(expected), f"{text}: {len(got)} tensors, then {len(expected)}"
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape, f"{text}: expected the shape {tuple(b.shape)}, got {tuple(a.shape)}"
        error = ((a - b).abs().max() / b.abs().max().clamp(min=1)).item()
        assert error <= tolerance, f"{text}; it is off by {error:.1e}"
