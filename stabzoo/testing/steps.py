"""Checks of one step: the module computes the method that is stated, to the proved order, in the type it is given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from stabzoo.discretization import Discretization
from stabzoo.implicit.settings import SolverSettings
from stabzoo.methods import NOT_DECIDED, Method, OwnStep, SecondOrderMultistep, method_of
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.networks.past import returned
from stabzoo.registry.loading import get_scheme, parameter_names
from stabzoo.schemes import LearnableMultistep
from stabzoo.stability import is_zero_stable
from stabzoo.testing.checks import NotApplicable, Subject
from stabzoo.testing.places import block_at, channels_of, kept_states, place_of, places

__all__ = ["LOOSE", "TIGHT", "CurvedRotation", "LinearField", "Reference", "Step", "check_computes"]

TIGHT = SolverSettings(rtol=1e-13, max_evaluations=1000, on_failure="raise")
LOOSE = SolverSettings(rtol=1e-2)
"""What bfloat16 can reach."""

SMALL = 1e-6  # of a difference quotient in float64


class LinearField(nn.Module):
    """f(y) = M y of each pixel's channels, for states (B, C, H, W) and M (C, C)."""

    matrix: Tensor

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)

    def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
        """(B, C, H, W) -> scale * M y, of that shape."""
        return torch.einsum("ij,bjhw->bihw", self.matrix * scale, y)


class CurvedRotation(nn.Module):
    """f of a rotation u' = (-u_2, u_1) as y = (u_1, u_2 + u_1^2) sees it, times h: nonlinear, with known solutions."""

    def __init__(self, h: float) -> None:
        super().__init__()
        self.h = h

    def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
        """States (B, 2, H, W) -> scale * h f(y), of that shape."""
        first = y[:, :1] * y[:, :1] - y[:, 1:]
        return self.h * scale * torch.cat((first, y[:, :1] * (1 + 2 * first)), 1)

    @staticmethod
    def solution(time: float) -> Tensor:
        """(1, 2, 1, 1) in float64; both components are positive near time 0."""
        u = math.cos(math.pi / 4 + time), math.sin(math.pi / 4 + time)
        return torch.tensor([u[0], u[1] + u[0] ** 2], dtype=torch.float64).view(1, 2, 1, 1)


class Fall(nn.Module):
    """f of the nonlinear second-order equation y'' = 6 y^2, times h^2; y = 1 / (1 + t)^2 solves it."""

    def __init__(self, h: float) -> None:
        super().__init__()
        self.h = h

    def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
        """States -> scale * h^2 f(y), of that shape."""
        return 6 * self.h**2 * scale * y * y

    @staticmethod
    def solution(time: float) -> Tensor:
        """(1, 2, 1, 1) in float64."""
        return torch.full((1, 2, 1, 1), (1 + time) ** -2, dtype=torch.float64)


@dataclass(frozen=True)
class Reference:
    """A tensor as a state of `Method.step`: added, and multiplied by fractions, in its type."""

    tensor: Tensor

    def __add__(self, other: Reference) -> Reference:
        return Reference(self.tensor + other.tensor)

    def __rmul__(self, factor: Fraction) -> Reference:
        return Reference(float(factor) * self.tensor)

    def __abs__(self) -> Reference:
        return Reference(self.tensor.abs())

    @classmethod
    def step(cls, method: Method, past: list[Tensor], f: nn.Module | Any) -> Tensor:
        """The new state after y_n, y_{n-1}, ..., computed by the method itself; groups of channels are the parts."""
        with torch.no_grad():
            return _whole(method.step([cls._split(y, method.parts) for y in past], lambda y: cls._image(f, y)))

    @classmethod
    def _split(cls, y: Tensor, parts: int) -> Reference | tuple[Reference, ...]:
        return tuple(map(cls, y.chunk(parts, 1))) if parts > 1 else cls(y)

    @classmethod
    def _image(cls, f: Any, y: Reference | tuple[Reference, ...]) -> Reference | tuple[Reference, ...]:
        """The f of a state, or of one part of it, in as many parts."""
        return cls._split(f(_whole(y)), len(y) if isinstance(y, tuple) else 1)


def _whole(state: Reference | tuple[Reference, ...]) -> Tensor:
    return torch.cat([part.tensor for part in state], 1) if isinstance(state, tuple) else state.tensor


@dataclass(frozen=True)
class Step:
    """One step around an f, and the exact coefficients that it has."""

    module: nn.Module
    method: LinearMultistep
    states: int

    @classmethod
    def of(cls, subject: Subject, matrix: Tensor) -> Step:
        """A step of the scheme around f(y) = M y; its equation, if there is one, is solved to the last digits."""
        return cls.around(subject, LinearField(matrix))

    @classmethod
    def around(cls, subject: Subject, field: nn.Module) -> Step:
        """The same around any f, in float64."""
        module = block_at(subject.solved_to(TIGHT), field).double().eval()
        own: Any = getattr(module, "coefficients", None)  # a trained step starts at random
        return cls(module, own() if own is not None else subject.method, kept_states(subject.scheme))

    def advance(self, past: list[Tensor], slopes: list[Tensor]) -> Tensor:
        """The new state after copies of y_n, y_{n-1}, ... and f_n, f_{n-1}, ..."""
        kept = slopes[1 : 1 + self.method.past_slopes]
        with torch.no_grad():
            return returned(self.module(past[0].clone(), [tensor.clone() for tensor in [*past, *kept]]))[0]


def scaled(factor: float, channels: int = 2) -> Tensor:
    """The matrix of f(y) = factor * y."""
    return factor * torch.eye(channels, dtype=torch.float64)


def states(count: int, channels: int = 2) -> list[Tensor]:
    """States y_n, y_{n-1}, ... between 1 and 2, where a projection onto y >= 0 changes nothing, in float64."""
    generator = torch.Generator().manual_seed(1)
    return [1 + torch.rand(2, channels, 3, 3, generator=generator, dtype=torch.float64) for _ in range(count)]


def combination(weights: tuple[Fraction, ...], tensors: list[Tensor]) -> Tensor:
    """sum_j w_j x_j in float64."""
    total = torch.zeros_like(tensors[0])
    for weight, tensor in zip(weights, tensors, strict=False):
        total = total + float(weight) * tensor
    return total


def check_step_of_zero(subject: Subject) -> None:
    """With f = 0 one step is the sum of alpha_j y_{n-j}, in float64."""
    _is_of_one_part(subject)
    step = Step.of(subject, scaled(0.0))
    past = states(step.states)
    new = step.advance(past, [torch.zeros_like(y) for y in past])
    _close(new, combination(step.method.alpha, past), 1e-12, f"with f = 0, expected the step {step.method}")


def check_step_of_identity(subject: Subject) -> None:
    """With f a multiple of the identity one step is the exact combination of states and slopes, in float64.

    f(y) = y, of an implicit scheme -y/2, for which the equation has a solution. Of a scheme with a block of its own,
    or of several stages, the part that is linear in f is compared, which is what the coefficients say.
    """
    _is_of_one_part(subject)
    if subject.has_own_block or type(method_of(subject.scheme)) is not LinearMultistep:
        step = Step.of(subject, scaled(SMALL))
        past = states(step.states)
        slopes = [SMALL * y for y in past]
        expected = combination(step.method.beta, past) + float(step.method.beta_next) * combination(
            step.method.alpha, past
        )
        change = (step.advance(past, slopes) - combination(step.method.alpha, past)) / SMALL
        _close(change, expected, 1e-4, f"for f near 0, expected the step {step.method}")
        return
    factor = 1.0 if subject.method.is_explicit else -0.5
    step = Step.of(subject, scaled(factor))
    past = states(step.states)
    slopes = [factor * y for y in past]
    expected = combination(step.method.alpha, past) + combination(step.method.beta, slopes)
    expected = expected / (1 - factor * float(step.method.beta_next))
    _close(step.advance(past, slopes), expected, 1e-10, f"with f(y) = {factor} y, expected the step {step.method}")


def _is_of_one_part(subject: Subject) -> None:
    """Of several parts f is of one of them, or of all, as the step pleases: `check_method` compares that.

    Raises:
        NotApplicable: a state has several parts.
    """
    if method_of(subject.scheme).parts > 1:
        raise NotApplicable("a step of several parts is compared with the method that it states, which has the order")


def check_method(subject: Subject) -> None:
    """With a nonlinear f one step computes the method that the scheme states, in float64.

    Of an implicit scheme also its one-leg twin, and both where the equation is not solved but iterated twice.
    """
    settings: list[dict[str, Any]] = [{}]
    if subject.takes_solver:
        settings = [{"solver": TIGHT}, {"solver": SolverSettings(fixed_iterations=2)}]
    if "one_leg" in parameter_names(type(subject.scheme)) and sum(subject.method.sigma):
        settings += [{**setting, "one_leg": True} for setting in settings]
    for setting in settings:
        check_computes(subject.scheme_with(**setting))


def check_parameter_values(subject: Subject) -> None:
    """The step computes what is stated at other values of the parameters, too, within the claimed condition."""
    others = subject.others()
    if not others:
        raise NotApplicable("it has no parameters with other values that could be tried")
    for other in others:
        given = ", ".join(f"{name} = {value}" for name, value in other.parameters.items())
        for check in (check_step_of_zero, check_step_of_identity, check_method):
            try:
                check(other)
            except NotApplicable:
                continue
            except AssertionError as error:
                raise AssertionError(f"at {given}: {error}") from None


def stated_by(step: Any, stated: Method, states: int) -> Method:
    """What a step that finds so many states says of itself: its coefficients, if they are trained or vary by place."""
    own = getattr(step, "coefficients", None)
    method = own() if own is not None and type(stated) is LinearMultistep else stated
    assert not any(getattr(method, "alpha", ())[states:]), (
        f"a step that finds {states} states says that it reads more, {method}; place.states is how many there are"
    )
    return method


def check_computes(scheme: Discretization) -> None:
    """One step of a scheme, in evaluation mode, computes the method that it states, wherever in a network it stands.

    Raises:
        AssertionError: it computes something else.
        NotApplicable: it states none.
    """
    stated = method_of(scheme)
    if isinstance(stated, OwnStep):
        raise NotApplicable(f"its {stated.kind} is not stated; define method() beside it")
    field = CurvedRotation(0.1)
    for at in places(scheme):
        module: Any = block_at(scheme, field, place_of(field, scheme, **at)).double().eval()
        past = states(at.get("states", kept_states(scheme)), channels=channels_of(scheme))
        method = stated_by(module, stated, len(past))
        f: Any = field
        if method.parts > 1:
            assert hasattr(module, "branch"), "expected branch(y), the f that a step of several parts is around"
            f = module.branch
        slopes = [field(y) for y in past[1 : 1 + scheme.coefficients().past_slopes]]
        with torch.no_grad():
            new = returned(module(past[0].clone(), [tensor.clone() for tensor in [*past, *slopes]]))[0]
        where = f", at step {at['number']} with {len(past)} states" if at else ""
        text = f"expected the step of the stated {method.kind} method, {method!s:.200}{where}"
        _close(new, Reference.step(method, past, f), 1e-9, text)


def check_order(subject: Subject) -> None:
    """On a nonlinear y' = f(y) one step from exact values errs by h^(p+1), p the proved order."""
    stated = method_of(subject.solved_to(TIGHT))
    order = stated.order
    if order is NOT_DECIDED:
        raise NotApplicable("no order is decided for a step without a stated method")
    if order is None:
        raise NotApplicable("a method that is not consistent has no order")
    _is_of_one_part(subject)
    problem = Fall if isinstance(stated, SecondOrderMultistep) else CurvedRotation
    largest = min(0.2 / subject.method.steps, max(1e-3, 1e-7 ** (1 / (order + 1))))  # terms of higher order are small
    errors, sizes = [], [largest / 2**k for k in range(3)]
    for size in sizes:
        field = problem(size)
        step = Step.around(subject, field)
        if step.method != subject.method:
            raise NotApplicable("every block draws its own coefficients, which have their own order")
        past = [field.solution(-j * size) for j in range(step.states)]
        new = step.advance(past, [field(y) for y in past])
        errors.append((new - field.solution(size)).norm().item())
    expected = order + (2 if problem is Fall else 1)
    if expected > 8:
        raise NotApplicable(f"rounding hides an order of {order}")
    measured = [math.log2(coarse / fine) for coarse, fine in pairwise(errors) if fine > 1e-14]
    if not measured:
        raise NotApplicable("the step is exact to rounding")
    low, high = min(measured), max(measured)
    shown = ", ".join(f"{value - expected + (order or 0):.2f}" for value in measured)
    assert expected - 0.4 <= low <= high <= expected + 0.4, f"the proved order is {order}; measured: {shown}"


def check_dtype_and_device(subject: Subject) -> None:
    """A step computes in the type and on the device of the states: float64, float32, bfloat16, meta.

    And the same in all of them, to their rounding.
    """
    scheme, exact = subject.solved_to(LOOSE), list[Tensor]()
    for dtype, tolerance in ((torch.float64, 0.0), (torch.float32, 1e-3), (torch.bfloat16, 0.05)):
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)  # of a trained step, which starts at random
            step = block_at(scheme, LinearField(0.1 * torch.eye(2))).to(dtype).eval()
        result = returned(step(*_arguments(subject, dtype, "cpu")))
        for new, expected in zip(result, exact := exact or result, strict=True):
            assert new.dtype == dtype, f"given {dtype}, expected {dtype}, got {new.dtype}"
            _close(new.double(), expected.double(), tolerance, f"in {dtype} expected what float64 gives")
    step = block_at(subject.scheme, LinearField(torch.eye(2))).to("meta").eval()
    for new in returned(step(*_arguments(subject, torch.float32, "meta"))):
        assert new.device.type == "meta", f"given tensors on meta, expected one there, got {new.device}"


def _arguments(subject: Subject, dtype: torch.dtype, device: str) -> tuple[Tensor, list[Tensor]]:
    count = kept_states(subject.scheme) + subject.method.past_slopes
    history = [torch.ones(2, channels_of(subject.scheme), 3, 3, dtype=dtype, device=device) for _ in range(count)]
    return history[0].clone(), history


def _close(got: Tensor, expected: Tensor, tolerance: float, text: str) -> None:
    assert got.shape == expected.shape, f"{text}, of shape {tuple(expected.shape)}; got {tuple(got.shape)}"
    error = ((got - expected).abs().max() / expected.abs().max().clamp(min=1)).item()
    assert error <= tolerance, f"{text}; the result is off by {error:.1e} (at most {tolerance:.0e} is rounding)"


EXTREME = (0.0, 1e-30, 1.0, 17.0, 40.0, 800.0, 6e4, 3e38)
"""Weights, in both signs; those beyond a type are its largest."""


def check_stable_ranges(subject: Subject) -> None:
    """With ``stable=`` a block stays in its range for all weights and types; its gradient is the exact one."""
    scheme = subject.scheme
    if not isinstance(scheme, LearnableMultistep) or not scheme.stable_ranges:
        raise NotApplicable("it has no stable_ranges, or trains no parameter")
    drawn = (10 * torch.randn(50, generator=torch.Generator().manual_seed(5), dtype=torch.float64)).tolist()
    for guarantee, place in scheme.stable_ranges.items():
        kept = get_scheme(subject.name, stable=guarantee)
        step: Any = block_at(kept, nn.Identity())
        for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
            step.to(dtype)
            largest = torch.finfo(dtype).max
            for weight in (*(sign * size for size in EXTREME for sign in (1, -1)), *drawn):
                with torch.no_grad():
                    step.free.fill_(max(-largest, min(largest, weight)))
                method = step.coefficients()
                held = is_zero_stable(method) and (guarantee == "blocks" or sum(map(abs, method.alpha)) <= 1)
                assert held, f"stable={guarantee!r}: the weight {weight:g} in {dtype} gives {method}, out of the range"
        step.double()
        widths = torch.tensor([float(high - low) for low, high in place.intervals()], dtype=torch.float64)
        for weight in (-600.0, -40.0, -1.0, 0.0, 1.0, 40.0, 600.0):
            with torch.no_grad():
                step.free.fill_(weight)
            (gradient,) = torch.autograd.grad(step.numbers().sum(), step.free)
            expected = widths * torch.sigmoid(step.free.detach()) * torch.sigmoid(-step.free.detach())
            error = ((gradient - expected) / expected).abs().max().item()
            assert error < 1e-12, f"stable={guarantee!r}: the gradient at {weight:g} is off by {error:.1e} of its size"
