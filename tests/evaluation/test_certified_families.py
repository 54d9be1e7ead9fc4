"""Certified <= true <= attacked for a narrow network of each 1-Lipschitz family, and for one in a wrapper."""

import copy
from types import SimpleNamespace

import pytest
import timm
import torch
from torch import Tensor, nn

from stabzoo.evaluation.attacks import margin, pgd
from stabzoo.evaluation.l2 import Certified
from stabzoo.evaluation.spec import AutoAttack
from stabzoo.training.normalized import NormalizedModel

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE, CLASSES, IMAGES = (1, 8, 8), 5, 24
FAMILIES = ("stable_resnet_s11_cert", "cpl_resnet11", "sll_resnet11", "aol_net11", "sandwich_net11", "wrapped")


def network_of(family: str, seed: int) -> nn.Module:
    """One with random weights, moved from where they begin, so that no two networks are alike."""
    torch.manual_seed(seed)
    name = "cpl_resnet11" if family == "wrapped" else family
    network = timm.create_model(name, width=4, img_size=SHAPE[1], in_chans=1, num_classes=CLASSES)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter) * parameter.abs().mean().clamp(min=0.1))
    network.post_step()
    return nn.Sequential(nn.Identity(), network) if family == "wrapped" else network


def of_pixels(network: nn.Module) -> NormalizedModel:
    """It, behind a normalisation that enlarges distances."""
    one = torch.ones(1, 1, 1)
    return NormalizedModel(network, SimpleNamespace(mean=0.4 * one, std=0.3 * one)).eval()  # type: ignore[arg-type]


def classifier(model: nn.Module) -> nn.Linear:
    """What it ends with."""
    return [module for module in model.modules() if isinstance(module, nn.Linear)][-1]


def centre(model: nn.Module, pixels: Tensor) -> None:
    """Take the mean feature out of the classifier: by what the images have in common all of them get one answer."""
    last, seen = classifier(model), []
    handle = last.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(pixels)
    handle.remove()
    mean = nn.functional.normalize(seen[0].mean(0), dim=0)
    last.weight -= torch.outer(last.weight @ mean, mean)
    if last.bias is not None:
        last.bias.zero_()


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest) -> tuple[NormalizedModel, Tensor, Tensor, Tensor]:
    """A network, images, its own answers to them, which so are right, and their certified radii."""
    model = of_pixels(network_of(request.param, seed=1))
    pixels = torch.rand(IMAGES, *SHAPE, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        centre(model, pixels)
        labels = model(pixels).argmax(1)
    radii = model.certificate(SHAPE)(pixels, labels)
    assert (radii > 0).double().mean() > 0.9
    return model, pixels, labels, radii


def survivors(model: NormalizedModel, found: Tensor, pixels: Tensor, labels: Tensor, radius: float) -> Tensor:
    """Which images keep their answer at the ends of an attack, all of which lie in the ball."""
    assert (found - pixels).double().flatten(1).norm(dim=1).max() <= radius
    with torch.no_grad():
        return model(found).argmax(1) == labels


@pytest.mark.parametrize("share", [0.25, 0.75, 1.0])
def test_no_attack_exceeds_a_certified_radius(
    case: tuple[NormalizedModel, Tensor, Tensor, Tensor], share: float
) -> None:
    """At a quantile of the radii: every image whose radius is as large withstands, so fewer are certified than are left."""
    model, pixels, labels, radii = case
    radius = float(radii.quantile(share))
    certified = Certified(kind="certified", radius=str(radius)).share(radii)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(3)
    for found in (pgd(model, pixels, labels, radius, 20, generator, "l2"), margin(model, pixels, labels, radius, 4)):
        kept = survivors(model, found, pixels, labels, radius)
        assert kept[radii >= radius].all()
        assert certified <= 100 * kept.double().mean()


def test_attacks_can_take_answers(case: tuple[NormalizedModel, Tensor, Tensor, Tensor]) -> None:
    """Far outside of the certified radii, and so the test above can fail."""
    model, pixels, labels, radii = case
    kept = survivors(model, margin(model, pixels, labels, 4.0, 4), pixels, labels, 4.0)
    assert not kept.all()
    assert radii.max() < 4


@pytest.mark.slow
def test_autoattack_exceeds_no_certified_radius(case: tuple[NormalizedModel, Tensor, Tensor, Tensor]) -> None:
    """Of one image, whose radius is the median."""
    pytest.importorskip("pyautoattack")
    model, pixels, labels, radii = case
    chosen = radii.argsort()[IMAGES // 2 :][:1]
    radius = float(radii[chosen]) / (1 + 1e-5)  # its own steps end on the sphere up to rounding
    attack = AutoAttack(kind="autoattack", epsilon=radius, norm="l2", seed=0)
    found = attack.perturbation(SimpleNamespace(classes=CLASSES))(model, pixels[chosen], labels[chosen])  # type: ignore[arg-type]
    assert isinstance(found, Tensor)
    assert survivors(model, found, pixels[chosen], labels[chosen], float(radii[chosen])).all()


def test_ties_are_not_certified(case: tuple[NormalizedModel, Tensor, Tensor, Tensor]) -> None:
    """Of two classes with the same logit everywhere, neither; the others stay certified."""
    model, pixels, _, _ = case
    tied = copy.deepcopy(model)
    linear = classifier(tied)
    with torch.no_grad():
        before = model(pixels).argmax(1)
        likeliest = int(before.mode().values)
        other = (likeliest + 1) % CLASSES
        linear.weight[other] = linear.weight[likeliest]
        if linear.bias is not None:
            linear.bias[other] = linear.bias[likeliest]
        logits = tied(pixels)
    assert torch.equal(logits[:, other], logits[:, likeliest])
    certificate = tied.certificate(SHAPE)
    first = logits.argmax(1)
    tie = (first == likeliest) | (first == other)
    assert tie.any()
    for label in (first, torch.full_like(first, other), torch.full_like(first, likeliest)):
        assert not certificate(pixels, label)[tie].any()
