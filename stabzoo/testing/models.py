"""Checks of the registered models of a scheme: what timm tests of a model, and every form and kind of block once."""

from __future__ import annotations

import inspect
import warnings
from typing import Any, cast

import timm
import torch
from torch import nn

from stabzoo.testing.checks import WIDTH, Subject
from stabzoo.testing.networks import images, unreached
from stabzoo.zoo import build_model

__all__ = ["check_models_on_meta"]


def check_models_on_meta(subject: Subject) -> None:
    """One registered model of each form and kind of block, of a few blocks per stage, works on the meta device.

    A step may fail in the shapes of one form alone.
    """
    seen: set[tuple[str, str, int]] = set()
    blocks = max(2, subject.method.steps)
    for name, model in subject.models.items():
        kind = (model.form, model.block, len(model.layers))
        if kind in seen:
            continue
        seen.add(kind)
        shallow = model.model_copy(update={"stages": tuple(min(count, blocks) for count in model.layers)})
        pixels = 32 if model.form == "cifar" else 64
        try:
            network = build_model(name, shallow, width=WIDTH, num_classes=7, device="meta").train()
            shape = tuple(network(torch.empty(2, 3, pixels, pixels, device="meta")).shape)
        except Exception as error:
            raise AssertionError(f"{name} ({model.form}, {model.block}): {type(error).__name__}: {error}") from error
        assert shape == (2, 7), f"{name} ({model.form}, {model.block}): expected logits (2, 7), got {shape}"


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
    missing = unreached(model)
    assert not missing, f"no gradient reaches {', '.join(missing)}; use it in forward(), or set requires_grad=False"


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
            expected = (2, classes or pooled.shape[1])
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
    missing = unreached(model)
    assert not missing, f"checkpointing loses the gradient of {', '.join(missing)}"


def check_timm_layer_decay(subject: Subject) -> None:
    """The optimizers of timm find every parameter once, in more than two groups by depth."""
    from timm.optim import create_optimizer_v2

    model = subject.model()
    optimizer = create_optimizer_v2(model, opt="adamw", lr=0.01, weight_decay=0.05, layer_decay=0.7)
    found = [id(p) for group in optimizer.param_groups for p in group["params"]]
    trained = [id(p) for p in model.parameters() if p.requires_grad]
    assert sorted(found) == sorted(trained), "a parameter is in no group, or in two"
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
    first, other = subject.model(), subject.model(seed=1)
    other.load_state_dict(first.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(other(images()), first(images()), rtol=0, atol=0)
