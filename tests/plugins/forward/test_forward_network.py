"""ResNet-D, ResNet-S and ResNet as Tables 2 and 5 count them, the regulariser of Table 1, what is refused."""

import pytest
import timm
import torch
from torch import nn

import stabzoo
from fixtures.messages import raises
from stabzoo.errors import ConfigError, PluginError
from stabzoo.networks.checkpoints import fit_weights
from stabzoo_forward.layers import DLayer, PoolingLayer, SLayer
from stabzoo_forward.regularization import regularizer

COUNTS = {  # Table 2 (1.096 M, which is printed as 1.100 M) and Table 5, in thousands
    "stable_resnet_d{}": {18: 223, 36: 514, 54: 805, 72: 1096},
    "stable_resnet_s{}": {11: 124, 20: 270, 29: 416, 38: 561},
    "postresnet{}": {20: 270, 32: 464, 44: 659, 56: 853},
}
MODELS = [
    (pattern.format(depth), depth, count) for pattern, counts in COUNTS.items() for depth, count in counts.items()
]


@pytest.mark.parametrize(("name", "depth", "count"), MODELS)
def test_parameters_and_depths_are_the_papers(name: str, depth: int, count: int) -> None:
    """Depth is the number of distinct filters and weights; 100 classes have 5760 parameters more, so no biases."""
    model, wide = (timm.create_model(name, num_classes=n, device="meta") for n in (10, 100))
    parameters = sum(p.numel() for p in model.parameters())
    assert round(parameters / 1000) == count
    if not name.startswith("post"):
        assert sum(p.numel() for p in wide.parameters()) - parameters == 5760
        assert [n for n, p in model.named_parameters() if n.endswith("bias") and "norm" not in n] == []
        assert not any("conv" in n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d))
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in model.modules()) == depth
    assert f"{depth}" in name
    blocks = [[type(block) for block in stage.blocks] for stage in model.stages]
    if name.startswith("stable"):
        layer = DLayer if "_d" in name else SLayer
        m = len(blocks[0])
        assert blocks == [[layer] * m, [PoolingLayer] + [layer] * (m - 1), [PoolingLayer] + [layer] * (m - 1)]


@pytest.mark.parametrize("name", ["stable_resnet_d18", "stable_resnet_s11_cert", "sll_resnet20", "postresnet20"])
def test_a_bias_of_the_classifier(name: str) -> None:
    """As timm's scripts set one: it starts at 0, moves the logits alone, and is trained on demand, or in ResNet."""
    fixed, trained = (timm.create_model(name, width=4, head_bias=given).eval() for given in (False, True))
    trained.load_state_dict(fixed.state_dict())
    x = torch.randn(2, 3, 32, 32)
    before = fixed(x)
    for network, is_trained in ((trained, True), (fixed, False)):
        nn.init.constant_(network.get_classifier().bias, -2.0)
        torch.testing.assert_close(network(x), before - 2)
        network.reset_classifier(7)
        assert ("head.fc.bias" in dict(network.named_parameters())) == is_trained
        assert network.get_classifier().bias.shape == (7,)


def test_a_bias_that_is_not_trained_is_kept_and_may_lack() -> None:
    """Checkpoints have it; those of before, without one, mean 0."""
    model, other = (timm.create_model("stable_resnet_s11_cert", width=4) for _ in range(2))
    nn.init.constant_(model.get_classifier().bias, -2.0)
    state = model.state_dict()
    other.load_state_dict(state)
    assert torch.equal(other.get_classifier().bias, torch.full((10,), -2.0))
    del state["head.fc.bias"]
    for load in (other.load_state_dict, lambda state: fit_weights(model, state, "here", "it")):
        load(state)
    assert not other.get_classifier().bias.any()
    assert not model.get_classifier().bias.any()
    del state["head.fc.weight"]
    with raises(ConfigError, "here", "'head.fc.weight'", "nothing"):
        fit_weights(model, state, "here", "it")


def test_the_second_batch_norms_are_fixed() -> None:
    """Gamma = 1 and beta = 0 (Remark 2); the pooling layers' are trained; the certified form has none."""
    for name in ("stable_resnet_d18", "stable_resnet_s11"):
        norms = {n: m for n, m in timm.create_model(name).named_modules() if isinstance(m, nn.BatchNorm2d)}
        assert {n.rpartition(".")[2]: m.affine for n, m in norms.items()} == {
            "norm1": True,
            "norm2": False,
            "norm": True,
        }
    assert not any(isinstance(m, nn.BatchNorm2d) for m in timm.create_model("stable_resnet_s11_cert").modules())


def test_the_initialisation_is_that_of_section_4() -> None:
    """Before the first projection: uniform scaling, He, a truncated normal distribution; biases 0."""
    torch.manual_seed(0)
    model = timm.create_model("stable_resnet_s11", width=64, num_classes=20)
    fc, residual = model.head.fc.weight, model.stages[0].blocks[0].conv.weight
    deviation = 1 / fc.numel()
    assert 0.8 * deviation < fc.std() < deviation  # the cut at two deviations takes 12 percent
    assert fc.abs().max() <= 2 * deviation
    assert residual.std().item() < (2 / (9 * 64)) ** 0.5  # projected: ||A|| <= sqrt(2)
    pool = model.stages[1].blocks[0].conv.weight
    assert pool.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    assert all((p == 0).all() for n, p in model.named_parameters() if n.endswith("bias"))


def test_same_seed_same_weights() -> None:
    """The projection at the start included."""
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(timm.create_model("stable_resnet_d18", width=4).state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))


def test_the_regulariser_is_table_1() -> None:
    """alpha/2 everywhere, but alpha for ResNet-D's first convolution, pooling layers and classifier."""
    for name, ends in (
        ("stable_resnet_d18", 1.0),
        ("stable_resnet_s11", 0.5),
        ("stable_resnet_s11_cert", 0.5),
        ("postresnet20", 0.5),
    ):
        model = timm.create_model(name, width=4)
        expected = 0.0
        for key, parameter in model.named_parameters():
            if key.endswith("weight") and parameter.ndim > 1:
                residual = name.startswith("post") or ("blocks" in key and not (key[7] in "12" and ".blocks.0." in key))
                expected += 1e-2 * (0.5 if residual else ends) * parameter.square().sum().item()
        assert model.regularizer(1e-2).item() == regularizer(model, 1e-2).item() == pytest.approx(expected, rel=1e-5)
    model.regularizer().backward()
    assert model.stem.conv.weight.grad is not None
    assert regularizer(nn.Identity()) == 0


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ({"pool_cap": 0}, ("pool_cap", "greater", "got 0")),
        ({"pool_cap": -1}, ("pool_cap", "greater", "got -1")),
        ({"pool_cap": "inf"}, ("pool_cap", "finite")),
        ({"pool_cap": "much"}, ("pool_cap", "number", "'much'")),
        ({"head_cap": 0}, ("head_cap", "greater", "got 0")),
        ({"downsampling": "max"}, ("downsampling", "'mean' or 'space-to-depth'")),
        ({"img_size": 30}, ("img_size", "multiples of 4", "got 30", "pad")),
        ({"img_size": (32, 18)}, ("img_size", "multiples of 4", "got (32, 18)")),
        ({"img_size": 0}, ("img_size", "height and width", "got 0")),
        ({"img_size": (8, 8, 8)}, ("img_size", "height and width", "(8, 8, 8)")),
        ({"cap": 1}, ("unknown", "'cap'")),
    ],
)
def test_what_is_refused(options: dict, facts: tuple[str, ...]) -> None:
    """What was expected, what was got, what to do."""
    with raises((ValueError, TypeError, PluginError), *facts):
        timm.create_model("stable_resnet_s11_cert", **options)


def test_any_size_is_computed() -> None:
    """Odd sizes too: half, rounded up; only bounds of strided convolutions need even grids."""
    x = torch.randn(1, 3, 30, 17)
    for name in ("stable_resnet_d18", "stable_resnet_s11"):
        assert timm.create_model(name, width=4, img_size=(30, 17)).eval().forward_features(x).shape == (1, 16, 8, 5)
    assert timm.create_model("stable_resnet_s11_cert", width=4, global_pool="avg").eval()(x[..., :16]).shape == (1, 10)


def test_a_classifier_that_reads_every_pixel_has_one_size() -> None:
    """It is built for img_size, keeps its place when it is replaced, and can be exchanged for a mean."""
    model = timm.create_model("stable_resnet_s11_cert", width=4, img_size=(16, 8), num_classes=3).eval()
    x = torch.randn(2, 3, 16, 8)
    assert model(x).shape == (2, 3)
    assert model.head.fc.weight.shape == (3, 16 * 4 * 2)
    assert model.forward_head(model.forward_features(x), pre_logits=True).shape == (2, model.head_hidden_size)
    with raises(AssertionError, "img_size", "(4, 2)"):
        model(torch.randn(1, 3, 32, 16))
    for pool, features in ((None, 128), ("avg", 16), ("flat", 128)):
        model.reset_classifier(5, pool)
        assert model.head.fc.weight.shape == (5, features)
        assert model(x).shape == (2, 5)
    model.reset_classifier(0, "")
    assert model(x).shape == (2, 16, 4, 2)
    with raises(ConfigError, "flat", "img_size"):
        timm.create_model("preresnet20", global_pool="flat")


def test_the_certificate_of_the_whole_network() -> None:
    """||logits(x) - logits(y)|| <= head_cap p^2 ||x - y||, on random weights at their bounds and for several caps."""
    options = [
        {"downsampling": "mean", "pool_cap": cap, "global_pool": pool} for cap in (0.5, 3.0) for pool in ("avg", "flat")
    ]
    for seed, (option, head) in enumerate(zip([{}, *options], (1.0, 5.0, 0.1, 1.0, 2.0), strict=True)):
        cap = option.get("pool_cap", 0.5)
        torch.manual_seed(seed)
        model = timm.create_model(
            "stable_resnet_s11_cert", width=4, img_size=8, head_cap=head, dtype=torch.float64, **option
        ).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_()
            model.post_step()
            x = torch.randn(16, 3, 8, 8, dtype=torch.float64) * 10
            y = (
                x
                + torch.randn(16, 3, 8, 8, dtype=torch.float64) * 10.0 ** torch.linspace(-3, 1, 16)[:, None, None, None]
            )
            ratio = (model(x) - model(y)).norm(dim=1) / (x - y).flatten(1).norm(dim=1)
        assert ratio.max() <= head * (0.5 + cap) ** 2


def test_resnet_d_does_not_grow() -> None:
    """Theorem 5 without shifts: ||logits|| <= ||x||, at any depth and for any A1."""
    torch.manual_seed(0)
    for name in ("stable_resnet_d18", "stable_resnet_d72"):
        model = timm.create_model(name, width=4, img_size=8).eval()
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if "norm" not in key:
                    parameter.normal_(std=3)
            model.post_step()
            x = torch.randn(8, 3, 8, 8) * 100
            assert (model(x).norm(dim=1) <= x.flatten(1).norm(dim=1)).all()


def test_registry_says_what_is_certified() -> None:
    """Of each scheme; nothing of ResNet-S with batch norms."""
    from stabzoo.registry.catalogue import catalogue

    certified = {n: list(c.certified) for n, (p, c) in catalogue().schemes.items() if p.name == "forward"}
    assert certified == {
        "resnet_d": ["growth"],
        "resnet_s": [],
        "resnet_s_cert": ["growth", "sensitivity"],
        "postresnet": [],
    }
    assert "periodic_norms" in stabzoo.__all__
