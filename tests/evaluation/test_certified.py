"""Certified l2 accuracy and the attacks beside it: certified <= true <= attacked, at every radius and for every image."""

import copy
import math
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from fixtures.messages import raises, says
from stabzoo.config import validate
from stabzoo.data.images import InMemoryDataset
from stabzoo.data.labelled import LabelledImages
from stabzoo.data.loading import load_images
from stabzoo.data.spec import Digits
from stabzoo.diagnostics.bounds.certificate import certificate
from stabzoo.diagnostics.robustness import robustness
from stabzoo.errors import CertificateError, ConfigError
from stabzoo.evaluation.accuracy import measure
from stabzoo.evaluation.attacks import margin, pgd
from stabzoo.evaluation.l2 import Certified, l2_level
from stabzoo.evaluation.spec import RADII, AutoAttack, Clean, Margin, Pgd, radius_text
from stabzoo.plotting.robustness import Curve, draw_robustness
from stabzoo.training.normalized import NormalizedModel
from stabzoo.training.results import Conditions

pytestmark = pytest.mark.usefixtures("one_thread")

LEVELS = [*RADII, Fraction(1, 10), Fraction(1, 4)]


def normalized(network: nn.Module, mean: Tensor | float, std: Tensor | float) -> NormalizedModel:
    """A network behind a normalisation by these."""
    one = torch.ones(1, 1, 1)
    return NormalizedModel(network, SimpleNamespace(mean=mean * one, std=std * one)).eval()  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def images() -> InMemoryDataset:
    """Digits as they were scanned, 80 of them for tests."""
    found = load_images(Digits(name="digits", size=8, test_images=1297, split_seed=0))
    return replace(found, test=found.test[:80], test_labels=found.test_labels[:80])


@pytest.fixture(scope="module")
def trained(images: InMemoryDataset) -> NormalizedModel:
    """A small network with a bound, which knows the digits."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
    )
    model = NormalizedModel(network, images)
    optimizer = torch.optim.Adam(model.parameters(), 0.01, weight_decay=1e-3)
    for _ in range(60):
        loss = functional.cross_entropy(model(images.train), images.train_labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@given(seed=st.integers(0, 999), classes=st.integers(2, 6), std=st.floats(0.1, 3))
@settings(max_examples=20)
def test_of_a_linear_network_certified_true_and_attacked_are_one(seed: int, classes: int, std: float) -> None:
    """Its true radius is min (f_y - f_j) / ||w_y - w_j||, on the pixels' scale; a step beyond it every answer is lost."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(8, classes))
    nn.init.normal_(network[1].weight)
    model = normalized(network, torch.rand(2, 2, 2), std)
    pixels = 0.45 + 0.1 * torch.rand(30, 2, 2, 2)
    with torch.no_grad():
        logits = copy.deepcopy(model).double()(pixels.double())
        labels = logits.argmax(1)
        weight = network[1].weight.double() / float(model.std[0])
        apart = torch.cdist(weight, weight, compute_mode="donot_use_mm_for_euclid_dist")[labels]
        margins = logits.gather(1, labels[:, None]) - logits
        true = (margins / apart).scatter(1, labels[:, None], math.inf).amin(1)
    certified = certificate(model, (2, 2, 2))(pixels, labels)
    assert (certified <= true).all()
    assert (certified >= true - 1e-4).all()
    for radius in true[true < 0.35].sort().values[::6].tolist():  # the box does not cut these ways
        found = margin(model, pixels, labels, radius, 1)
        clear = (true / radius - 1).abs() > 1e-3
        assert torch.equal((model(found).argmax(1) != labels)[clear], (true < radius)[clear])
        assert (found - pixels).flatten(1).norm(dim=1).max() <= radius


@pytest.mark.parametrize("radius", [0.05, 0.3, 1.5])
def test_no_attack_takes_a_certified_answer(trained: NormalizedModel, images: InMemoryDataset, radius: float) -> None:
    """Image by image; every attack stays in its ball and in the box."""
    pixels, labels = images.test, images.test_labels
    certified = trained.certificate(images.shape)(pixels, labels) >= radius
    generator = torch.Generator().manual_seed(0)
    found = [
        pgd(trained, pixels, labels, radius, 20, generator, "l2"),
        margin(trained, pixels, labels, radius, 3),
    ]
    for attacked in found:
        assert (attacked - pixels).flatten(1).norm(dim=1).max() <= radius
        assert attacked.min() >= 0
        assert attacked.max() <= 1
        assert (trained(attacked).argmax(1) == labels)[certified].all()
    assert certified.any() == (radius < 1)


def test_certified_is_at_most_what_attacks_leave(trained: NormalizedModel, images: InMemoryDataset) -> None:
    """As evaluations, at all radii; larger radii leave less; the radii are found once for all."""
    asked = [
        Clean(kind="clean"),
        *(Certified(kind="certified", radius=radius) for radius in LEVELS),
        *(Pgd(kind="pgd", norm="l2", epsilon=float(radius), seed=0) for radius in LEVELS),
        *(Margin(kind="margin", epsilon=float(radius)) for radius in LEVELS),
    ]
    calls = []

    class Counted(NormalizedModel):
        def certificate(self, input_size: tuple[int, int, int]):
            calls.append(input_size)
            return certificate(trained, input_size)

    counted = Counted(trained.network, images).eval()
    clean, *values = measure(counted, images, asked)
    assert calls == [images.shape]
    certified, by_pgd, by_margin = values[:5], values[5:10], values[10:]
    assert 0 < certified[3] < certified[0] or certified[3] >= certified[0] > 0
    for low, *high in zip(certified, by_pgd, by_margin, strict=True):
        assert low <= min(high) <= max(high) <= clean
    by_radius = [value for _, value in sorted(zip(LEVELS, certified, strict=True))]
    assert by_radius == sorted(by_radius, reverse=True)


@pytest.mark.parametrize("epsilon", [1.5, pytest.param(0.2, marks=pytest.mark.slow)])
def test_autoattack_in_the_l2_ball(trained: NormalizedModel, images: InMemoryDataset, epsilon: float) -> None:
    """It stays there, and takes no certified answer."""
    pytest.importorskip("pyautoattack")
    few = replace(images, test=images.test[:6], test_labels=images.test_labels[:6])
    asked = AutoAttack(kind="autoattack", epsilon=epsilon, norm="l2", seed=0)
    says(asked.title, "l2", epsilon)
    found = asked.perturbation(few)(trained, few.test, few.test_labels)
    assert isinstance(found, Tensor)
    assert (found - few.test).flatten(1).norm(dim=1).max() <= epsilon + 1e-5
    certified = trained.certificate(few.shape)(few.test, few.test_labels) > epsilon + 1e-5
    assert (trained(found).argmax(1) == few.test_labels)[certified].all()


def test_ties_and_wrong_answers_are_not_certified() -> None:
    """Nor what is not a number."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    nn.init.zeros_(network[1].weight)
    nn.init.zeros_(network[1].bias)
    pixels, labels = torch.rand(3, 1, 2, 2), torch.arange(3)
    assert certificate(network.eval(), (1, 2, 2))(pixels, labels).tolist() == [0, 0, 0]
    network[1].bias.data[1] = 1
    assert certificate(network, (1, 2, 2))(pixels, labels).tolist() == [0, math.inf, 0]
    network[1].weight.data[2] = math.nan
    assert certificate(network, (1, 2, 2))(pixels, labels).tolist() == [0, 0, 0]


def test_pairs_are_as_tight_as_what_the_network_ends_with() -> None:
    """A linear classifier gives its rows' distances; another end, or one used twice, sqrt(2) L."""
    torch.manual_seed(0)
    linear = nn.Linear(4, 4)
    ends = nn.Sequential(nn.Flatten(), linear).eval()
    found = certificate(ends, (1, 2, 2))
    assert found.features == pytest.approx(1)
    assert found.pairs is not None
    rows = linear.weight.detach().double()
    torch.testing.assert_close(found.pairs[0, 1], (rows[0] - rows[1]).norm(), rtol=1e-8, atol=0)
    for other in (nn.Sequential(nn.Flatten(), linear, nn.ReLU()), nn.Sequential(nn.Flatten(), linear, linear)):
        loose = certificate(other.eval(), (1, 2, 2))
        assert loose.pairs is not None
        assert loose.pairs.unique().item() == pytest.approx(math.sqrt(2) * loose.sensitivity)


def test_where_nothing_is_known_nothing_is_certified() -> None:
    """The reason is said."""
    network = nn.Sequential(nn.GroupNorm(1, 1), nn.Flatten(), nn.Linear(4, 3)).eval()
    found = certificate(network, (1, 2, 2))
    says(found.refused, "GroupNorm")
    assert not found(torch.rand(5, 1, 2, 2), torch.zeros(5, dtype=torch.long)).any()


def test_a_network_that_ends_otherwise_than_it_says_is_found_out() -> None:
    """Its bound would hold, of other margins."""

    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flat, self.fc = nn.Flatten(), nn.Linear(4, 3, bias=False)

        def composition(self) -> list[tuple[str, nn.Module]]:
            return [("flat", self.flat), ("fc", self.fc)]

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.flat(x)).flip(1)

    with raises(CertificateError, "Turned", "linear"):
        certificate(Turned().eval(), (1, 2, 2))


def test_a_network_without_a_certificate_is_refused(images: InMemoryDataset) -> None:
    """By a message that says what is expected."""
    with raises(ConfigError, "certificate", "Sequential"):
        measure(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), images, [Certified(kind="certified", radius=0.1)])  # type: ignore[arg-type]


def test_one_entry_has_several_radii() -> None:
    """Written as exact numbers; a certificate without any has the literature's, and smoothing its abstentions."""
    entries = [
        {"kind": "certified"},
        {"kind": "certified", "radius": "1/7"},
        {"kind": "pgd", "norm": "l2", "radii": ["36/255", 0.25], "seed": 1},
        {"kind": "smoothed", "sigma": 0.25, "radii": [0.5], "seed": 1},
        {"kind": "abstentions", "sigma": 0.5, "seed": 1},
        {"kind": "pgd", "epsilon": 0.1, "seed": 1},
    ]
    found = validate(Conditions, {"evaluations": entries}, "here").evaluations
    assert [radius_text(e.radius) for e in found[:4] if isinstance(e, Certified)] == [
        "36/255",
        "72/255",
        "108/255",
        f"{1 / 7:g}",
    ]
    assert [level and level[2] for level in map(l2_level, found[4:])] == [36 / 255, 0.25, 0.5, None, None, None]
    assert [e.kind for e in found[6:]] == ["smoothed", "abstentions", "abstentions", "pgd"]
    assert len({e.title for e in found}) == len(found)
    again = validate(Conditions, {"evaluations": [e.model_dump(mode="json") for e in found]}, "here").evaluations
    assert again == found
    for wrong, facts in (
        ({"kind": "certified", "radii": []}, ("radii",)),
        ({"kind": "certified", "radii": [0.1], "radius": 0.1}, ("one of the two",)),
        ({"kind": "certified", "radius": -1}, ("radius", "-1")),
        ({"kind": "pgd", "radii": ["1/0"], "seed": 1}, ("epsilon", "1/0")),
    ):
        with raises(ConfigError, "here", *facts):
            validate(Conditions, {"evaluations": [wrong]}, "here")


def test_no_two_evaluations_are_called_alike() -> None:
    """Smoothed networks are told apart by their title; what a title does not say is refused, and named."""
    smoothed = {"kind": "smoothed", "radius": 0.5, "seed": 1}
    apart = [{"sigma": 0.25}, {"sigma": 0.5}, {"sigma": 0.25, "n": 20}, {"sigma": 0.25, "n0": 9}]
    apart += [{"sigma": 0.25, "images": 7}, {"sigma": 0.25, "alpha": 0.01}]
    entries = [{"kind": "clean"}, *({**smoothed, **one} for one in apart)]
    found = validate(Conditions, {"evaluations": entries}, "here").evaluations
    assert len({entry.title for entry in found}) == len({*map(l2_level, found[1:])}) + 1 == 7
    pgd, near = {"kind": "pgd", "norm": "l2", "epsilon": 0.5, "seed": 1}, {**smoothed, "sigma": 0.25}
    for first, second, facts in (
        (pgd, {**pgd, "seed": 2}, ("PGD-10", "seed: 1 and 2")),
        (near, {**near, "sigma": 0.25000001}, ("0.25", "sigma: 0.25 and 0.25000001")),
        (pgd, pgd, ("PGD-10", "twice")),
    ):
        with raises(ConfigError, "here", "evaluations", *facts):
            validate(Conditions, {"evaluations": [first, second]}, "here")


def test_a_diagnosis_has_the_accuracies(trained: NormalizedModel, images: InMemoryDataset) -> None:
    """The same as the evaluations give, though its network takes normalised images."""
    data = LabelledImages(
        "digits", trained.normalise(images.test), images.test_labels, 10, 1 / images.std, -images.mean / images.std
    )
    found = robustness(trained.network, data, LEVELS)
    expected = measure(trained, images, [Certified(kind="certified", radius=radius) for radius in LEVELS])
    assert found.certified == pytest.approx(expected, abs=1.3)  # pixels come back up to rounding
    for low, high in zip(found.certified, found.attacked, strict=True):
        assert low <= high <= found.clean
    assert found.to_dict()["radii"][0]["certified"]["interval"][0] <= found.certified[0]


def test_a_diagnosis_says_where_nothing_is_certified(images: InMemoryDataset) -> None:
    """No bound, or one that leaves nothing near the radii: then nothing is attacked."""
    data = LabelledImages("digits", images.test, images.test_labels, 10, torch.ones(1, 1, 1), torch.zeros(1, 1, 1))
    steep = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 10))
    with torch.no_grad():
        steep[1].weight.zero_()[0, 0] = 1e4  # of a pixel that is black in all images
    with raises(ValueError, "36/255", "margins"):
        robustness(steep, data)
    with raises(ValueError, "GroupNorm"):
        robustness(nn.Sequential(nn.GroupNorm(1, 1), steep), data)


def test_curves_are_drawn() -> None:
    """Both kinds, in one panel for each network, with a band between."""
    levels = [0, 0.1, 0.2]
    curves = [
        Curve("a", "certified", True, levels, [90, 60, 30], [(88, 92), (55, 65), (25, 35)]),
        Curve("a", "attacked, margin", False, levels, [90, 80, 70]),
        Curve("b", "certified", True, [0.05, 0.1, 0.2], [90, 50, 0], dense=True),
        Curve("b", "attacked, margin", False, levels, [95, 80, 70]),
    ]
    figure = draw_robustness(curves)
    assert [axis.get_title() for axis in figure.axes] == ["a", "b"]
    band = figure.axes[0].collections[-1].get_datalim(figure.axes[0].transData)
    assert (band.y0, band.y1) == (30, 90)  # between radius 0.1 and 0.2 that is all that is certified
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["certified", "attacked, margin"]
