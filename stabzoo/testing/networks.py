"""Checks of networks of a scheme: gradients, start, changes of shape, evaluation, and what timm tests of a model."""

from __future__ import annotations

import inspect
import warnings
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn

from stabzoo.methods import OwnStep, method_of
from stabzoo.methods.multistep import BACKWARD_EULER, EULER
from stabzoo.testing.checks import STAGES, WIDTH, NotApplicable, Subject
from stabzoo.testing.steps import LOOSE, Reference

__all__ = ["images"]

PIXELS = 16


def images(count: int = 2, pixels: int = PIXELS) -> Tensor:
    """Random images (count, 3, pixels, pixels), the same every time."""
    return torch.randn(count, 3, pixels, pixels, generator=torch.Generator().manual_seed(2))


def check_gradients(subject: Subject) -> None:
    """In training mode a loss has a finite gradient at every parameter, which is 0 only where the scheme says so.

    That is at the projection of a past state whose alpha, and all that follow, are 0 (Adams methods).
    """
    alpha = () if subject.has_own_network else subject.method.alpha
    unused = [f".shortcuts.{j}." for j in range(len(alpha)) if not any(alpha[j:])]
    network = subject.network(blocks=max(2, subject.method.steps)).train()  # until every past state has been used
    network(images(4)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"no gradient reaches {name}"
        assert torch.isfinite(parameter.grad).all(), f"the gradient of {name} is not finite"
        assert parameter.grad.any() or any(part in name for part in unused), f"the gradient of {name} is 0"


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
    """Blocks of a network of the scheme's own compute the stated method around their ``branch``, which is f.

    Those that change the shape of the state are left out.
    """
    if not subject.has_own_network:
        raise NotApplicable("its networks are stabzoo's own, whose blocks are those of the scheme")
    method = method_of(subject.scheme)
    if isinstance(method, OwnStep):
        raise NotApplicable("its network is its own, and no method() is stated beside it")
    network: Any = subject.network(blocks=max(2, method.steps), dtype=torch.float64)
    taken: list[tuple[Any, list[Tensor], Tensor]] = []
    for block in network.blocks():
        block.register_forward_hook(lambda block, given, new: taken.append((block, given[0], new[0])))
    with torch.no_grad():
        network(images().double())
    compared = [
        (i, new, Reference.step(method, past, block.branch))
        for i, (block, past, new) in enumerate(taken)
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
        half = type(subject.scheme).network()(subject.solved_to(LOOSE), (1,) * STAGES, width=WIDTH).eval()
        half = half.to(torch.bfloat16)(images().bfloat16())
    assert result.dtype == torch.float64, f"given float64, expected float64, got {result.dtype}"
    assert half.dtype == torch.bfloat16, f"given bfloat16, expected bfloat16, got {half.dtype}"
    meta = subject.network(device="meta")
    assert all(p.is_meta for p in meta.parameters()), 'device="meta": got a parameter elsewhere'
    assert meta(images().to("meta")).is_meta, "given images on meta, expected logits there"


def check_evaluation(subject: Subject) -> None:
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


def check_timm_registration(subject: Subject) -> None:
    """The model is listed by timm, which knows its data, and finds its first convolution and classifier by name."""
    name, model = subject.model_name, cast(Any, subject.model())
    assert timm.is_model(name), f"timm does not list {name}"
    parameters = inspect.signature(timm.model_entrypoint(name)).parameters
    assert "pretrained" in parameters, f"{name} takes no argument pretrained"
    for key in ("first_conv", "classifier"):
        module = model.pretrained_cfg[key]
        assert isinstance(model.get_submodule(module), nn.Module), f"{key}: there is no module {module}"
    assert model.get_classifier() is model.get_submodule(model.pretrained_cfg["classifier"])


def check_timm_forward_and_backward(subject: Subject) -> None:
    """Logits of the right shape, without NaN; gradients at every parameter; any number of channels and classes."""
    model = subject.model(num_classes=7, in_chans=1, drop_rate=0.1, drop_path_rate=0.1)
    x = images()[:, :1]
    with torch.no_grad():
        logits = model(x)
    assert logits.shape == (2, 7), f"expected logits (2, 7), got {tuple(logits.shape)}"
    assert torch.isfinite(logits).all(), "the logits are not finite"
    model = subject.model().train()
    model(images(4)).mean().backward()
    missing = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not missing, f"no gradient reaches {', '.join(missing)}"


def check_timm_classifier(subject: Subject) -> None:
    """The classifier is replaced or left out; what comes before the pooling stays."""
    model = cast(Any, subject.model())
    x = images()
    with torch.no_grad():
        features = model.forward_features(x)
        assert features.shape[1] == model.num_features, f"num_features: got features {tuple(features.shape)}"
        pooled = model.forward_head(features, pre_logits=True)
        assert pooled.shape == (2, model.head_hidden_size), f"pre_logits: got {tuple(pooled.shape)}"
        for classes in (3, 0):
            model.reset_classifier(classes)
            expected = (2, classes or model.num_features)
            got = tuple(model(x).shape)
            assert got == expected, f"reset_classifier({classes}): expected {expected}, got {got}"
        model.reset_classifier(0, "")
        torch.testing.assert_close(model(x), features)


def check_timm_features(subject: Subject) -> None:
    """``features_only`` and `forward_intermediates` agree, also when what is not needed is pruned."""
    model = cast(Any, subject.model())
    extractor = cast(Any, subject.model(features_only=True))
    extractor.model.load_state_dict(model.state_dict(), strict=False)
    x = images()
    with torch.no_grad():
        final, taken = model.forward_intermediates(x)
        torch.testing.assert_close(final, model.forward_features(x))
        for feature, expected in zip(extractor(x), taken, strict=True):
            torch.testing.assert_close(feature, expected)
        kept = model.prune_intermediate_layers([1])
        (pruned,) = model.forward_intermediates(x, indices=kept, intermediates_only=True)
        torch.testing.assert_close(pruned, taken[1])


def check_timm_checkpointing(subject: Subject) -> None:
    """Gradient checkpointing changes no logits, and gradients reach every parameter."""
    model = cast(Any, subject.model())
    x = images()
    expected = model(x)
    model.set_grad_checkpointing()
    torch.testing.assert_close(model(x), expected)
    model(x).mean().backward()
    assert all(p.grad is not None for p in model.parameters()), "checkpointing loses gradients"


def check_timm_layer_decay(subject: Subject) -> None:
    """The optimizers of timm find every parameter once, in more than two groups by depth."""
    from timm.optim import create_optimizer_v2

    model = subject.model()
    optimizer = create_optimizer_v2(model, opt="adamw", lr=0.01, weight_decay=0.05, layer_decay=0.7)
    found = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(found) == sorted(id(p) for p in model.parameters()), "a parameter is in no group, or in two"
    assert len({group["lr_scale"] for group in optimizer.param_groups}) > 2, "layer decay sees a single group"


def check_timm_torchscript(subject: Subject) -> None:
    """torch.jit.script compiles the model, to the same logits."""
    model = _traceable(subject)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch's own, about TorchScript
        script = torch.jit.script(model)
        torch.testing.assert_close(script(images()), model(images()), rtol=1e-3, atol=1e-4)


def check_timm_fx(subject: Subject) -> None:
    """torch.fx traces the model, to the same logits."""
    model = _traceable(subject)
    with torch.no_grad():
        graph = torch.fx.symbolic_trace(model)
        torch.testing.assert_close(graph(images()), model(images()), rtol=1e-3, atol=1e-4)


def _traceable(subject: Subject) -> nn.Module:
    """The model; of an implicit scheme with a fixed number of iterations, which is what a graph can hold."""
    if subject.takes_solver:
        return subject.model(solver={"fixed_iterations": 10})
    return subject.model()


def check_weights_travel(subject: Subject) -> None:
    """Weights saved by one network are those that another one computes with; no key depends on the call."""
    first, other = subject.model(), timm.create_model(subject.model_name, width=WIDTH).eval()
    other.load_state_dict(first.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(other(images()), first(images()), rtol=0, atol=0)
