"""Networks made for inference: the same results, fewer layers, and nothing certified that was certified of others."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.utils import parametrizations

import stabzoo
from fixtures.messages import raises
from stabzoo.diagnostics import forward_bounds
from stabzoo.networks.fusion import FusedStep


def trained_like(name: str, **args: object) -> nn.Module:
    """A network in float64 whose batch norms have statistics, scales and shifts as if it had been trained."""
    torch.manual_seed(0)
    model = timm.create_model(name, **args).double().eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.mul_(0.5 + torch.rand_like(module.running_var))
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.1)
    return model


IMAGES = torch.randn(2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

# norms folded; an equation is solved to a tolerance, so nothing is folded in it but in the two steps between shapes
FAMILIES = {
    "antisymmetric_resnet20": 2,
    "basicnet20": 9,
    "fractional_resnet20": 9,
    "hamiltonian20": 2,
    "implicit_resnet20_be": 2,
    "imexnet20": 9,
    "irevnet20": 9,
    "lmresnet20": 9,
    "momentum_resnet20": 9,
    "optimal4_resnet20": 9,
    "parabolic_resnet20": 2,
    "polynet20_poly2": 9,
    "polynet20_2way": 18,
    "postresnet20": 19,
    "preresnet18": 9,
    "preresnet20": 9,
    "revnet20": 16,
    "rk4_resnet20": 9,
    "se_resnet20": 9,
    "stable_resnet_d18": 16,
    "stable_resnet_s11": 2,
    "verlet20": 2,
    "zerosnet20_opt": 9,
    "zerosnet20_tra": 9,
    "cpl_resnet11": 0,
    "mobilenetv3_small_050": 34,
    "resnet18": 20,
}


@pytest.mark.parametrize(("name", "folded"), FAMILIES.items())
def test_it_computes_the_same(name: str, folded: int) -> None:
    """Features to float64's rounding; the network that it was made of is left as it was."""
    model = trained_like(name, **({"img_size": 16} if name == "cpl_resnet11" else {}))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fusion = stabzoo.fuse(model, IMAGES)
    with torch.no_grad():
        there, here = model.forward_features(IMAGES), fusion.network.forward_features(IMAGES)
    assert float((there - here).abs().max()) <= 1e-10 * float(there.abs().max())
    assert len(fusion.folded) == folded
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in before.items())
    assert not any(parameter.requires_grad for parameter in fusion.network.parameters())
    norms = [n for n, m in fusion.network.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert list(fusion.kept) == norms


def test_float32_agrees_to_rounding() -> None:
    """Without images given, on noise of the size that timm says."""
    assert stabzoo.fuse(trained_like("zerosnet20_opt").float()).difference <= 1e-5


def test_the_weight_of_a_step_goes_into_a_kernel() -> None:
    """A kernel times beta: beta f(y) = (beta f)(y); the card, which is about the method, is as before."""
    model = trained_like("zerosnet20_opt")
    fusion = stabzoo.fuse(model, IMAGES)
    steps = [(model.get_submodule(name), fusion.network.get_submodule(name)) for name in fusion.steps]
    assert [type(step) for _, step in steps] == [FusedStep] * 9
    assert all(torch.equal(here.f.conv.weight, there.beta[0] * there.f.conv.weight) for there, here in steps)
    assert any(there.beta[0] != 1 for there, _ in steps)
    assert fusion.network.stability_card() == model.stability_card()


def test_certificates_are_not_carried_over() -> None:
    """A bound of the copy is of its own weights; of a step in another form none is given."""
    plain = trained_like("resnet18").float()
    fused = stabzoo.fuse(plain, IMAGES.float()).network
    there, here = (forward_bounds(network, (3, 32, 32)).sensitivity.value for network in (plain, fused))
    assert here == pytest.approx(there, rel=1e-4)
    assert here != there
    with torch.no_grad():
        fused.fc.weight.mul_(2)
    assert forward_bounds(fused, (3, 32, 32)).sensitivity.value == pytest.approx(2 * here)
    multistep = trained_like("zerosnet20_opt").float()
    assert forward_bounds(multistep, (3, 32, 32)).sensitivity.value < float("inf")
    refused = forward_bounds(stabzoo.fuse(multistep, IMAGES.float()).network, (3, 32, 32))
    assert refused.sensitivity.value == float("inf")


class Reads(nn.Module):
    """A convolution whose result a batch norm reads, and perhaps somebody else."""

    def __init__(self, *, twice: bool) -> None:
        super().__init__()
        self.conv, self.norm, self.twice = nn.Conv2d(3, 4, 1), BatchNormAct2d(4), twice

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, 4, H, W)."""
        y = self.conv(x)
        return self.norm(y) + y if self.twice else self.norm(y)


def test_what_others_read_is_kept() -> None:
    """A result that is read twice, a hook, a norm of the batch, a layer that is used twice."""
    alone = stabzoo.fuse(Reads(twice=False), IMAGES.float())
    assert alone.folded == ("norm",)
    twice = stabzoo.fuse(Reads(twice=True), IMAGES.float())
    assert not twice.folded
    assert list(twice.kept) == ["norm"]
    hooked = Reads(twice=False)
    hooked.conv.register_forward_hook(lambda *_: None)
    assert not stabzoo.fuse(hooked, IMAGES.float()).folded
    conv = nn.Conv2d(3, 3, 1)
    assert not stabzoo.fuse(nn.Sequential(conv, nn.BatchNorm2d(3), conv), IMAGES.float()).folded
    batch = nn.Sequential(conv, nn.BatchNorm2d(3, track_running_stats=False))
    assert not stabzoo.fuse(batch, IMAGES.float()).folded


def test_a_parametrized_kernel_is_computed_once() -> None:
    """The weight that it computes with is folded."""
    conv = parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    fusion = stabzoo.fuse(nn.Sequential(conv, nn.BatchNorm2d(4)), IMAGES.float())
    assert type(fusion.network[0]) is nn.Conv2d
    assert fusion.folded == ("1",)


def test_what_cannot_be_compared_is_refused() -> None:
    """No size of images, weights that are not finite."""
    with raises(ValueError, "give images"):
        stabzoo.fuse(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    broken = timm.create_model("preresnet20")
    with torch.no_grad():
        broken.stem.conv.weight.fill_(torch.nan)
    with raises(ValueError, "not finite"):
        stabzoo.fuse(broken)


def test_the_gain_is_a_ratio_of_times() -> None:
    """Against any network."""
    model = trained_like("postresnet20")
    assert stabzoo.fuse(model, IMAGES).gain(model, IMAGES, rounds=1) > 0
