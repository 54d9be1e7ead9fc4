"""The models are timm models: its factory, its features, its scripts' arguments."""

import pytest
import timm
import torch
from timm.data import resolve_data_config
from timm.optim import create_optimizer_v2

import stabzoo
from stabzoo.methods.multistep import LinearMultistep

FAMILIES = ["preresnet20", "lmresnet20", "lmresnet20_shared", "multistep20", "zerosnet20", "zerosnet20_opt", "zerosnet20_tra", "zerosnet164_opt",
            "preresnet18", "zerosnet50_opt", "stable_resnet_d18", "stable_resnet_s11", "stable_resnet_s11_cert", "cpl_resnet11", "postresnet20",
            "implicit_resnet20", "implicit_resnet20_be", "basicnet20"]  # fmt: skip
NARROW = {"width": 4}


def image(model: torch.nn.Module, channels: int = 3) -> torch.Tensor:
    """A small batch for a model."""
    size = 64 if model.pretrained_cfg["input_size"][-1] == 224 else 32
    return torch.randn(2, channels, size, size)


def test_every_promised_model_is_registered() -> None:
    """The names of the catalogue are timm's too, with a data configuration."""
    depths = {
        "preresnet{}": (20, 32, 44, 56, 110, 164, 326, 18, 34, 50, 101, 152),
        "lmresnet{}": (20, 32, 44, 56, 110, 164),
        "zerosnet{}": (20, 32, 44, 56, 110),
        "zerosnet{}_opt": (20, 32, 44, 56, 110, 164, 326, 650, 1298, 18, 34, 50, 101, 152),
        "zerosnet{}_tra": (20, 32, 44, 56, 110, 164, 326, 650, 1298, 18, 34, 50, 101, 152),
        "stable_resnet_d{}": (18, 36, 54, 72),
        "stable_resnet_s{}": (11, 20, 29, 38),
        "stable_resnet_s{}_cert": (11, 20, 29, 38),
        "postresnet{}": (20, 32, 44, 56),
        "implicit_resnet{}": (20, 32, 44, 56),
        "implicit_resnet{}_be": (20, 32, 44, 56),
        "implicit_resnet{}_tr": (20, 32, 44, 56),
    }
    names = {pattern.format(n) for pattern, numbers in depths.items() for n in numbers}
    assert names <= set(stabzoo.list_models()) == set(timm.list_models(module="stabzoo"))
    for name in stabzoo.list_models():
        cfg = timm.get_pretrained_cfg(name)
        small = (cfg.input_size, cfg.pool_size, cfg.num_classes) == ((3, 32, 32), (8, 8), 10)
        assert small or (cfg.input_size, cfg.pool_size, cfg.num_classes) == ((3, 224, 224), (7, 7), 1000)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_arguments_of_timms_scripts(name: str) -> None:
    """Classes, channels, pooling, dropout, stochastic depth, device and dtype."""
    model = timm.create_model(
        name, num_classes=7, in_chans=1, global_pool="max", drop_rate=0.1, drop_path_rate=0.1, **NARROW
    ).eval()
    assert model(image(model, 1)).shape == (2, 7)
    model.reset_classifier(3)
    assert model(image(model, 1)).shape == (2, 3)
    assert model.head.global_pool.pool_type == "max"
    bare = timm.create_model(name, num_classes=0, global_pool="", dtype=torch.float64, **NARROW).eval()
    features = bare(image(bare).double())
    assert features.shape[:2] == (2, bare.num_features)
    assert features.dtype == torch.float64
    assert all(p.is_meta for p in timm.create_model(name, device="meta").parameters())


@pytest.mark.parametrize("name", FAMILIES)
def test_features(name: str) -> None:
    """features_only, intermediates and the backbone agree, with and without gradient checkpointing."""
    model = timm.create_model(name, **NARROW).eval()
    x = image(model)
    last, taken = model.forward_intermediates(x)
    torch.testing.assert_close(last, model.forward_features(x))
    extractor = timm.create_model(name, features_only=True, **NARROW).eval()
    extractor.model.load_state_dict(model.state_dict(), strict=False)
    for feature, same, info in zip(extractor(x), taken, model.feature_info, strict=True):
        torch.testing.assert_close(feature, same)
        assert feature.shape == (2, info["num_chs"], x.shape[2] // info["reduction"], x.shape[3] // info["reduction"])
    expected = model(x)
    model.set_grad_checkpointing()
    torch.testing.assert_close(model(x), expected)
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("name", FAMILIES)
def test_layer_decay_orders_the_groups(name: str) -> None:
    """Each parameter is in one group, the classifier last; coefficients are not decayed."""
    model = timm.create_model(name, **NARROW)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=0.01, weight_decay=0.05, layer_decay=0.7)
    assert sum(p.numel() for g in optimizer.param_groups for p in g["params"]) == sum(
        p.numel() for p in model.parameters()
    )
    scale = {id(p): g["lr_scale"] for g in optimizer.param_groups for p in g["params"]}
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    named = dict(model.named_parameters())
    assert scale[id(named["head.fc.weight"])] == 1.0 > scale[id(named["stem.conv.weight"])]
    assert all(decay[id(p)] == 0 for key, p in named.items() if key.endswith("step.parameter"))


def test_weights_travel_through_timms_formats(tmp_path) -> None:
    """save_for_hf and back with the scheme's parameters; a local file with other channels and classes."""
    from timm.models import save_for_hf

    model = timm.create_model("zerosnet20", lam="5/2", num_classes=6, **NARROW).eval()
    save_for_hf(model, tmp_path, safe_serialization=True)
    restored = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    x = image(model)
    torch.testing.assert_close(restored(x), model(x), rtol=0, atol=0)
    assert restored.scheme == model.scheme
    assert resolve_data_config({}, model=restored)["input_size"] == (3, 32, 32)
    file = tmp_path / "weights.pth"
    torch.save(timm.create_model("zerosnet20_tra").state_dict(), file)
    timm.create_model(
        "zerosnet20_tra", pretrained=True, pretrained_cfg_overlay={"file": str(file)}, in_chans=1, num_classes=4
    )


@pytest.mark.parametrize(
    "name",
    [
        "zerosnet20_opt",
        "zerosnet20_tra",
        "multistep20",
        "stable_resnet_d18",
        "stable_resnet_s11_cert",
        "cpl_resnet11",
        "sll_resnet11",
        "aol_net11",
        "sandwich_net11",
        "hamiltonian20",
    ],
)
def test_graphs(name: str) -> None:
    """torch.export, torch.fx and torch.compile see the whole network."""
    model = timm.create_model(name, **NARROW).eval()
    x = image(model)
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), expected)
        torch.testing.assert_close(torch.fx.symbolic_trace(model)(x), expected)
        torch.testing.assert_close(torch.compile(model, backend="eager", fullgraph=True)(x), expected)


def test_evaluation_before_training_stays_finite() -> None:
    """Networks of hundreds of layers, untrained, in evaluation mode."""
    model = timm.create_model("zerosnet650_opt", **NARROW).eval()
    with torch.no_grad():
        assert model.forward_features(image(model)).abs().max() < 100


def test_a_step_trains_and_the_initialisation_is_reproducible() -> None:
    """Same seed, same weights; the loss of one batch falls."""
    torch.manual_seed(3)
    model = timm.create_model("zerosnet20_tra", **NARROW)
    torch.manual_seed(3)
    again = timm.create_model("zerosnet20_tra", **NARROW)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    x, y = image(model), torch.tensor([0, 1])
    optimizer = create_optimizer_v2(model, opt="sgd", lr=0.05)
    losses = []
    for _ in range(8):
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    coefficients = {block.step.coefficients() for block in model.blocks()}
    assert len(coefficients) == 8  # the Euler start, and seven trained steps
    assert all(isinstance(c, LinearMultistep) for c in coefficients)
