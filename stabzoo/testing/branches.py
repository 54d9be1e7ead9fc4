"""Checks of a kind of residual branch: f keeps its contract, and what it says is proved of itself is so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from stabzoo.discretization import BranchKind
from stabzoo.networks.branch import BranchSite, NormName, Style, build_branch
from stabzoo.registry.loading import get_branch
from stabzoo.testing.runner import CheckFailedError

__all__ = ["check_branch"]

CHANNELS, PIXELS = 4, 4


def check_branch(branch: str | Mapping[str, Any] | BranchKind) -> None:
    """Build a kind of branch at every site that networks have, and check each in float64.

    f(y, scale) is scale * f(y), of the shape and type that the site asks for, a new tensor, with ``y`` as it was; its
    derivatives are those of its values (`torch.autograd.gradcheck`), by y and by every parameter, each of which gets a
    gradient; ``init_scale`` makes f smaller; two branches share nothing.  Where it has ``one_sided_lipschitz`` or
    ``bound(grid)``, random pairs of states must not contradict them, with random weights.

    Args:
        branch: A registered name, a mapping with its name and fields, or the kind.

    Raises:
        CheckFailedError: a check failed; the message has one line each.
        ConfigError: there is no such branch.
        PluginError: the plugin that provides it is broken, or it cannot be built.

    Example:
        >>> check_branch("parabolic")
    """
    kind = get_branch(branch)
    failures: dict[str, None] = {}
    for site in _sites():
        for check in CHECKS:
            try:
                check(kind, site)
            except Exception as error:
                text = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
                failures[f"  {check.__name__.lstrip('_')} ({_text(site)}): {text}"] = None
    if failures:
        raise CheckFailedError(f"branch {kind.name!r}: {len(failures)} checks failed\n" + "\n".join(failures))


def _sites() -> Iterator[BranchSite]:
    """At the same shape and at a change of it, with and without norms, bottlenecks and what the block does before."""
    norms: tuple[NormName, ...] = ("batch", "none")
    for norm in norms:
        style = Style(norm, "tanh", dtype=torch.float64)
        yield BranchSite(CHANNELS, CHANNELS, CHANNELS, style=style)
        yield BranchSite(CHANNELS, CHANNELS // 2, CHANNELS, style=style, bottleneck=True)
        yield BranchSite(CHANNELS, 2 * CHANNELS, 2 * CHANNELS, 2, style, preactivated=True)


def _text(site: BranchSite) -> str:
    extra = f"{', bottleneck' if site.bottleneck else ''}{', preactivated' if site.preactivated else ''}"
    return f"{site.cin} -> {site.cout} channels, norm {site.style.norm}{extra}"


def _built(kind: BranchKind, site: BranchSite, seed: int = 0) -> Any:
    """A branch with weights that depend on the seed alone, in evaluation mode."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        f: Any = build_branch(kind, site, tried=True)
        with torch.no_grad():
            for parameter in f.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return f.eval()


def _state(site: BranchSite, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    side = PIXELS * site.stride
    return torch.randn(2, site.cin, side, side, generator=generator, dtype=torch.float64)


def _scale(kind: BranchKind, site: BranchSite) -> None:
    f, y = _built(kind, site), _state(site)
    with torch.no_grad():
        plain = f(y)
        for scale in (0.0, 1.0, -1.5):
            error = (f(y, scale) - scale * plain).abs().max().item()
            assert error <= 1e-10 * (1 + plain.abs().max().item()), (
                f"expected f(y, {scale}) = {scale} * f(y), off by {error:.1e}"
            )


def _shape_and_type(kind: BranchKind, site: BranchSite) -> None:
    f, y = _built(kind, site), _state(site)
    shape = (2, site.cout, PIXELS, PIXELS)
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        value = f.to(dtype)(y.to(dtype))
        got = f"{tuple(value.shape)} of {value.dtype}"
        assert (value.shape, value.dtype) == (shape, dtype), f"expected {shape} of {dtype}, got {got}"
    value = f.to("meta")(y.to("meta", torch.bfloat16))
    assert value.device.type == "meta", f"given a tensor on meta, expected one there, got {value.device}"


def _new_tensor(kind: BranchKind, site: BranchSite) -> None:
    f, y = _built(kind, site), _state(site)
    before = y.clone()
    with torch.no_grad():
        first = f(y)
        assert torch.equal(y, before), "f(y) changes y; act in place on what f has made alone"
        mine = [y, *f.parameters(), *f.buffers()]
        shared = {tensor.untyped_storage().data_ptr() for tensor in mine}
        assert first.untyped_storage().data_ptr() not in shared, "f(y) must be a new tensor, for the step overwrites it"
        kept = first.clone()
        first.zero_()
        assert torch.equal(f(y), kept), "a second f(y) is another; f must keep nothing of the first"


def _gradients(kind: BranchKind, site: BranchSite) -> None:
    f, y = _built(kind, site), _state(site)[:1].requires_grad_()
    assert torch.autograd.gradcheck(lambda y: f(y.clone(), 0.7), (y,), fast_mode=True), "wrong by y"
    f.train()(_state(site)).square().sum().backward()
    for name, parameter in f.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, f"no gradient reaches {name}; remove it, or freeze it"
            assert torch.isfinite(parameter.grad).all(), f"the gradient of {name} is not finite"
    f.eval()
    names = [name for name, parameter in f.named_parameters() if parameter.requires_grad]
    values = tuple(f.get_parameter(name).detach().requires_grad_() for name in names)

    def by_parameters(*given: Tensor) -> Tensor:
        return torch.func.functional_call(f, dict(zip(names, given, strict=True)), (y.detach().clone(),))

    assert torch.autograd.gradcheck(by_parameters, values, fast_mode=True), "wrong by its parameters"


def _init_scale(kind: BranchKind, site: BranchSite) -> None:
    if site.style.norm != "none":  # which may undo it
        return
    y, sizes = _state(site), []
    for factor in (1.0, 1 / 16):
        f = _built(kind, site)
        f.init_scale(factor, 1.0)
        with torch.no_grad():
            zero = f(torch.zeros_like(y))
            sizes.append((f(y) - zero).norm().item())
    assert sizes[1] <= 0.6 * sizes[0], (
        f"init_scale(1/16, 1) must make f about 16 times smaller, got {sizes[0] / max(sizes[1], 1e-300):.2f} times"
    )


def _independence(kind: BranchKind, site: BranchSite) -> None:
    first, second = _built(kind, site, 0), _built(kind, site, 1)
    mine = {id(tensor) for tensor in (*first.parameters(), *first.buffers())}
    both = [name for name, tensor in (*second.named_parameters(), *second.named_buffers()) if id(tensor) in mine]
    assert not both, f"two branches share {', '.join(both)}; build() must make new modules"


def _claims(kind: BranchKind, site: BranchSite) -> None:
    for seed in range(3):
        f = _built(kind, site, seed)
        mu = getattr(f, "one_sided_lipschitz", None)
        bound = f.bound((PIXELS * site.stride,) * 2).sensitivity if hasattr(f, "bound") else float("inf")
        for pair in range(8):
            u, v = _state(site, 2 * pair), _state(site, 2 * pair + 1)
            v = u + 10.0 ** -(pair % 3) * v
            with torch.no_grad():
                difference, apart = f(u.clone()) - f(v.clone()), u - v
            size = apart.square().sum().item()
            if mu is not None:
                got = (difference * apart).sum().item() / size
                assert got <= mu + 1e-9, f"claims one_sided_lipschitz {mu:g}, got {got:g} for two states"
            got = difference.norm().item() / size**0.5
            assert got <= bound * (1 + 1e-9), f"claims the bound {bound:g}, got {got:g} for two states"


CHECKS: tuple[Callable[[BranchKind, BranchSite], None], ...] = (
    _scale,
    _shape_and_type,
    _new_tensor,
    _gradients,
    _init_scale,
    _independence,
    _claims,
)
