"""Checks of networks of a scheme: gradients, start, changes of shape, evaluation, and what timm tests of a model."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from stabzoo.discretization import Discretization, Place
from stabzoo.methods import Method, OwnStep, method_of
from stabzoo.methods.multistep import BACKWARD_EULER, EULER, LinearMultistep
from stabzoo.networks.past import given, returned
from stabzoo.networks.places import scheme_block, scheme_starting_block
from stabzoo.networks.steps import trained_coefficients
from stabzoo.testing.checks import PIXELS, NotApplicable, Subject
from stabzoo.testing.steps import LOOSE, TIGHT, Reference, combination, stated_by

__all__ = ["images", "unreached"]


def images(count: int = 2, pixels: int = PIXELS) -> Tensor:
    """Random images (count, 3, pixels, pixels), the same every time."""
    return torch.randn(count, 3, pixels, pixels, generator=torch.Generator().manual_seed(2))


def unreached(network: nn.Module) -> list[str]:
    """The parameters that no gradient has reached; frozen ones, of ``requires_grad=False``, need none."""
    return [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]


def check_gradients(subject: Subject) -> None:
    """In training mode a loss has a finite gradient at every parameter, and at nothing else.

    One of 0 is one at the start, where a gate may be 0, but not after all parameters have been moved.
    """
    network = subject.network(blocks=max(2, subject.method.steps)).train()  # until every past state has been used
    loss = network(images(4)).square().mean()
    hidden = _leaves(loss) - {id(parameter) for parameter in network.parameters()}
    assert not hidden, (
        f"the result has a gradient at {len(hidden)} tensors that are no parameters of the network, so that nothing "
        "trains, moves or saves them; assign each to its module as an nn.Parameter, in __init__"
    )
    loss.backward()
    missing = unreached(network)
    assert not missing, (
        f"no gradient reaches {', '.join(missing)}; use it in forward(), leave it out, or set requires_grad=False"
    )
    last = len(cast(Any, network).stages) - 1, len(cast(Any, network).stages[-1].blocks) - 1
    # where beta_0 is 0 the slope of the last step would be read by the next one
    unread = () if any(subject.method.beta[:1]) else (f"stages.{last[0]}.blocks.{last[1]}.step.",)
    for attempt in ("at the start", "after all parameters have been moved"):
        gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
        for name, gradient in gradients.items():
            assert torch.isfinite(gradient).all(), f"the gradient of {name} is not finite, {attempt}"
        zero = [name for name, g in gradients.items() if not g.any() and not name.startswith(unread)]
        if not zero:
            return
        if attempt == "at the start":
            _move(network)
            network(images(4)).square().mean().backward()
    raise AssertionError(f"the gradient of {', '.join(zero)} is 0; the result must depend on it, or leave it out")


def _leaves(result: Tensor) -> set[int]:
    """The tensors, by id, that the gradient of a result is accumulated at."""
    nodes: list[Any] = [result.grad_fn]
    seen, leaves = set[Any](), set[int]()
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen:
            seen.add(node)
            nodes.extend(following for following, _ in node.next_functions)
            leaves |= {id(node.variable)} if hasattr(node, "variable") else set()
    return leaves


def _move(network: nn.Module) -> None:
    """Change all parameters a little, the same every time, and forget their gradients."""
    generator = torch.Generator().manual_seed(4)
    network.zero_grad()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def check_start_up(subject: Subject) -> None:
    """The first steps of a network, which find fewer past states than the scheme needs, are Euler steps.

    Explicit Euler steps, of an implicit method backward Euler steps; one block a stage is a network, too.
    """
    with torch.no_grad():
        assert torch.isfinite(subject.network()(images())).all(), "a network of one block a stage is not finite"
    if subject.has_own_network:
        return
    steps = [cast(Any, block).step for block in cast(Any, subject.model()).blocks()]
    euler = EULER if subject.method.is_explicit else BACKWARD_EULER
    for index, step in enumerate(steps[: subject.method.steps - 1]):
        stated = getattr(step, "coefficients", None)
        assert stated, f"block {index}: starting_block() must return a step with coefficients(), got {step!r:.80}"
        got = stated()
        assert got == euler, f"block {index}: expected the start {euler}, got {got}"


def check_network_steps(subject: Subject) -> None:
    """Every block of a network of more than ten computes the stated method around its f, also where shapes change.

    Of a network of the scheme's own that is `branch`, where the shape of the state is kept.
    """
    if subject.has_own_network:
        _check_own_blocks(subject)
    else:
        _check_steps(subject)


def _check_steps(subject: Subject) -> None:
    stated, observed = method_of(subject.scheme), Observed(subject.solved_to(TIGHT))
    network = subject.network(blocks=4, scheme=observed, dtype=torch.float64)
    calls: list[tuple[Any, Tensor, list[Tensor], list[Tensor]]] = []
    for step in observed.built:
        step.register_forward_hook(lambda step, args, new: calls.append((step, args[0], list(args[1]), returned(new))))
    with torch.no_grad():
        network(images(pixels=8).double())
        for number, (step, y, history, new) in enumerate(calls):
            f, place = observed.built[step]
            method = stated_by(step, EULER if place.starting else stated, place.states)
            if isinstance(method, OwnStep):
                continue
            f = step.branch if method.parts > 1 else f
            expected = _expected(method, y, history, place.states, new[0], f)
            error = (new[0] - expected).abs().max().item()
            assert error <= 1e-9 * max(1, expected.abs().max().item()), (
                f"block {number}, from {tuple(y.shape[1:])} to {tuple(new[0].shape[1:])}: expected the step of the "
                f"stated {method.kind} method, {method}; it is off by {error:.1e}"
            )
    steady = [step for step, (_, place) in observed.built.items() if not place.starting]
    said = [step.coefficients() for step in steady if hasattr(step, "coefficients") and not trained_coefficients(step)]
    assert not said or subject.method in said, (
        f"coefficients() of the scheme is {subject.method}, but no step of its network says so; got {said[0]}"
    )


def _expected(method: Method, y: Tensor, history: list[Tensor], states: int, new: Tensor, f: nn.Module) -> Tensor:
    """The new state by the method; that of an equation is compared with its right-hand side."""
    if type(method) is not LinearMultistep:
        return Reference.step(method, history[:states], f)
    expected = torch.zeros_like(new)
    if method.keeps_state:
        expected = combination(method.alpha, history[:states])
    if any(method.beta):
        expected = expected + combination(method.beta, [f(y), *history[states:]])
    return expected if method.is_explicit else expected + float(method.beta_next) * f(new)


class Observed:
    """A scheme, and around which f and where it has built which steps."""

    def __init__(self, scheme: Discretization) -> None:
        self._scheme = scheme
        self.built: dict[Any, tuple[nn.Module, Place]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheme, name)

    def block(self, f: nn.Module, place: Place) -> nn.Module:
        """As the scheme's."""
        step = scheme_block(self._scheme, f, place)
        self.built[step] = f, place
        return step

    def starting_block(self, f: nn.Module, *, returns_slope: bool, place: Place) -> nn.Module:
        """As the scheme's."""
        step = scheme_starting_block(self._scheme, f, place, returns_slope=returns_slope)
        self.built[step] = f, place
        return step


def _check_own_blocks(subject: Subject) -> None:
    method = method_of(subject.scheme)
    if isinstance(method, OwnStep):
        raise NotApplicable("it defines its own network, but no method()")
    network: Any = subject.network(blocks=max(2, method.steps), dtype=torch.float64)
    pasts: list[list[Tensor]] = []
    taken: list[tuple[Any, Tensor]] = []
    for block in network.blocks():
        block.register_forward_pre_hook(lambda block, args: pasts.append(given(args)))
        block.register_forward_hook(
            lambda block, _, new: taken.append((block, new[0] if isinstance(new, list) else new))
        )
    with torch.no_grad():
        network(images().double())
    compared = [
        (i, new, Reference.step(method, past, block.branch))
        for i, (past, (block, new)) in enumerate(zip(pasts, taken, strict=True))
        if hasattr(block, "branch") and past[0].shape == new.shape
    ]
    assert compared, "method() is stated, but no block of the network has a branch(y), the f that it is a step around"
    for i, new, expected in compared:
        error = (new - expected).abs().max().item()
        assert error <= 1e-9 * max(1, expected.abs().max().item()), (
            f"block {i}: expected the step of the stated {method.kind} method, {method}; it is off by {error:.1e}"
        )


def check_stage_boundaries(subject: Subject) -> None:
    """Where the feature maps change shape the state has the announced one, for odd sizes rounded up."""
    network = cast(Any, subject.network())
    for pixels in (PIXELS, PIXELS + 1):
        with torch.no_grad():
            features = network.forward_intermediates(images(pixels=pixels), intermediates_only=True)
        for feature, info in zip(features, network.feature_info, strict=True):
            side = -(-pixels // info["reduction"])
            expected = (2, info["num_chs"], side, side)
            assert tuple(feature.shape) == expected, (
                f"after {info['module']}, for {pixels} pixels a side: expected {expected}, got {tuple(feature.shape)}"
            )


def check_network_dtype_and_device(subject: Subject) -> None:
    """A network is created in the type and on the device that are asked for, and computes there."""
    double = subject.network(dtype=torch.float64)
    assert all(p.dtype == torch.float64 for p in double.parameters()), "dtype=torch.float64: got another parameter"
    with torch.no_grad():
        result = double(images().double())
        half = subject.network(scheme=subject.solved_to(LOOSE)).to(torch.bfloat16)(images().bfloat16())
    assert result.dtype == torch.float64, f"given float64, expected float64, got {result.dtype}"
    assert half.dtype == torch.bfloat16, f"given bfloat16, expected bfloat16, got {half.dtype}"
    meta = subject.network(device="meta")
    assert all(p.is_meta for p in meta.parameters()), 'device="meta": got a parameter elsewhere'
    assert meta(images().to("meta")).is_meta, "given images on meta, expected logits there"


def check_evaluation_mode(subject: Subject) -> None:
    """In evaluation mode logits are the same every time, those of an image alone too, and no weight changes."""
    network = subject.network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    x = images(3)
    with torch.no_grad():
        first, second = network(x), network(x)
        alone = torch.cat([network(image[None]) for image in x])
    assert torch.equal(first, second), "the logits of the same images differ from one evaluation to the next"
    torch.testing.assert_close(alone, first, rtol=1e-3, atol=1e-4, msg="an image's logits depend on its batch")
    changed = [name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])]
    assert not changed, f"evaluation changes {', '.join(changed)}"
