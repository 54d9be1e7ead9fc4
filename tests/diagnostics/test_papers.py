"""What the papers have besides: bounds in continuous time, answers and features under noise, Lemmas 2 and 3."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

import stabzoo  # noqa: F401
from fixtures.commands import Run
from fixtures.messages import says
from stabzoo.data.labelled import LabelledImages, load_labelled_images
from stabzoo.data.spec import DIGITS
from stabzoo.diagnostics import forward_bounds, periodic_norms
from stabzoo.diagnostics.batchnorm import batch_norm_effects
from stabzoo.diagnostics.bounds.continuous import ContinuousBounds, continuous_bounds
from stabzoo.diagnostics.conditioning.blocks import block_conditioning
from stabzoo.diagnostics.features import answers, feature_maps
from stabzoo.diagnostics.report.diagnosis import Diagnosis
from stabzoo.diagnostics.report.measuring import diagnose
from stabzoo.diagnostics.report.page import page
from stabzoo.diagnostics.report.sections import sections

pytestmark = pytest.mark.usefixtures("one_thread")

GRID = (8, 8)


def network(name: str, seed: int = 0, **args: Any) -> nn.Module:
    """A narrow network with biases and running statistics that are not those of the start."""
    torch.manual_seed(seed)
    model = timm.create_model(name, in_chans=1, width=4, img_size=8, **args).eval()
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if key.endswith(("bias", "bias2", "running_mean")):
                value.normal_(0, 0.2)
            elif key.endswith("running_var"):
                value.uniform_(0.5, 2)
    return model


def runs_of(model: nn.Module) -> list[ContinuousBounds]:
    """Its runs of residual layers."""
    return continuous_bounds(model, forward_bounds(model, (1, *GRID)))


def run_layers(model: nn.Module, found: ContinuousBounds, x: torch.Tensor, parts: int = 1) -> torch.Tensor:
    """Through the layers, each in ``parts`` steps of 1/``parts``: x + (F(x) - x)/parts, then the obstacle."""
    for name in found.layers:
        layer = model.get_submodule(name)
        for _ in range(parts):
            step = _branch(layer, x)
            x = (x + step / parts).relu()
    return x


def _branch(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """-A2 relu(A1 x + b1) + b2 of a layer of ResNet-D or ResNet-S, from its own parts."""
    if hasattr(layer, "conv2"):
        return -layer.norm2(layer.conv2(layer.norm1(layer.conv1(x)).relu()))
    from stabzoo_forward.layers import adjoint

    step = -layer.norm2(adjoint(layer.norm1(layer.conv(x)).relu(), layer.conv.weight))
    return step if layer.bias2 is None else step + layer.bias2[:, None, None]


# Theorems 1 to 4


@pytest.mark.parametrize("name", ["stable_resnet_d18", "stable_resnet_s11", "stable_resnet_s11_cert"])
@pytest.mark.parametrize("parts", [1, 64])
def test_bounds_hold_of_solutions_and_layers(name: str, parts: int) -> None:
    """Of nearly continuous paths all of the theorems', of the layers theirs and Theorem 2's."""
    model = network(name).double()
    for found in runs_of(model):
        channels = model.get_submodule(found.layers[0] + (".conv1" if "d18" in name else ".conv")).in_channels
        side = {4: 8, 8: 4, 16: 2}[int(channels)]  # type: ignore[arg-type]  # pyright: ignore
        for seed in range(6):
            generator = torch.Generator().manual_seed(seed)
            x = 3 * torch.rand(1, channels, side, side, generator=generator, dtype=torch.float64)  # type: ignore[arg-type]  # pyright: ignore
            y = (x + 0.1 * torch.randn(x.shape, generator=generator, dtype=torch.float64)).relu()
            with torch.no_grad():
                fx, fy = run_layers(model, found, x, parts), run_layers(model, found, y, parts)
            moved = float((fx - fy).norm() / (x - y).norm())
            sizes = [found.theorem2, found.theorem3] if parts == 1 else [found.theorem2, found.theorem3, found.theorem4]
            for size in [*sizes, *([found.size] if parts == 1 else [])]:
                if size:
                    assert float(fx.norm()) <= size.growth * float(x.norm()) + size.offset
            assert moved <= found.theorem2.growth
            if parts == 1:
                assert moved <= found.steps
            elif found.theorem4:
                assert moved <= 1 + 1e-9


def test_which_theorem_applies() -> None:
    """Theorem 3 of ResNet-D, Theorem 4 of ResNet-S without batch norms; a batch norm behind A^T breaks the pair."""
    for name, three, four in (
        ("stable_resnet_d18", True, False),
        ("stable_resnet_s11", False, False),
        ("stable_resnet_s11_cert", False, True),
    ):
        found = runs_of(network(name))
        assert [len(run.layers) for run in found] == [3, 2, 2]
        assert {(run.theorem3 is not None, run.theorem4 is not None) for run in found} == {(three, four)}
    assert runs_of(timm.create_model("preresnet20", in_chans=1, width=4).eval()) == []


def test_the_exponent_is_the_norms() -> None:
    """exp(sum ||A||^2) of a pair; Theorem 4 says 1 whatever ||A||, the layers only where ||A||^2 <= 2."""
    model = network("stable_resnet_s11_cert")
    layer = model.get_submodule("stages.0.blocks.1")
    with torch.no_grad():
        layer.conv.weight.mul_(2 / float(periodic_norms(layer.conv.weight[None].double(), GRID)[0]))  # type: ignore[union-attr,operator,index]  # pyright: ignore
    found = runs_of(model)[0]
    squares = [
        float(periodic_norms(model.get_parameter(f"{name}.conv.weight")[None].detach().double(), GRID)[0]) ** 2
        for name in found.layers
    ]
    assert found.exponent == pytest.approx(sum(squares))
    assert found.theorem2.growth == pytest.approx(math.exp(sum(squares)))
    assert found.theorem4 is not None
    assert found.theorem4.growth == 1
    assert found.steps == pytest.approx(3)  # ||A||^2 - 1, the other layers do not expand
    assert found.name == "stages.0.blocks.0 to 2"


# Lemmas 2 and 3


def test_lemma_2_with_the_condition_number() -> None:
    """Noise grows by between 1/k and k; the extreme singular vectors attain k, which the formula does not reach."""
    torch.manual_seed(0)
    model = timm.create_model("preresnet20", in_chans=1, width=4).eval()
    block = block_conditioning(model.get_submodule("stages.0.blocks.1"), [torch.rand(1, 4, 6, 6)])
    true = block.linear.value.value
    assert 1 / true <= block.amplified.value <= true
    assert block.formula.value < true / 2
    assert json.dumps(block.to_dict(), allow_nan=False)


def test_lemma_3_is_false() -> None:
    """The example of the docstring, by hand: 10 % become 100 %; where no mean is taken away it holds with equality."""
    x = torch.tensor([9.0, 11.0, 9.0, 11.0]).view(1, 1, 2, 2)
    noise = torch.ones_like(x)
    for mean, ratio in ((10.0, math.sqrt(101)), (0.0, 1.0)):
        norm = nn.BatchNorm2d(1, eps=0.0).eval()
        norm.running_mean.fill_(mean)  # type: ignore[union-attr]
        (effect,) = batch_norm_effects(nn.Sequential(norm), x, noise)
        assert float(effect.ratio) == pytest.approx(ratio)
        assert effect.holds == (mean == 0)
        assert effect.to_dict()["ratio"]["max"] == pytest.approx(ratio)
    assert batch_norm_effects(nn.Sequential(nn.ReLU()), x, noise) == []


# answers and features


def data(count: int = 12) -> LabelledImages:
    """Digits."""
    return load_labelled_images(DIGITS, Path(), count)


def test_answers_under_noise() -> None:
    """Three images of different classes, each clean and under four perturbations; probabilities are the network's."""
    images = data()
    torch.manual_seed(0)
    model = timm.create_model("preresnet20", in_chans=1, width=4).eval()
    found = answers(model, images, 0.1)
    assert len(found) == 15
    assert len({answer.label for answer in found}) == 3
    for answer in found:
        assert answer.label == images.labels[answer.image]
        assert float(answer.probabilities.sum()) == pytest.approx(1)
        assert answer.probabilities[answer.first] >= answer.probabilities[answer.second]
        assert 0 <= float(answer.pixels.min()) <= float(answer.pixels.max()) <= 1
        with torch.no_grad():
            expected = model(images.normalise(answer.pixels)[None])[0].double().softmax(0)
        torch.testing.assert_close(answer.probabilities, expected, atol=1e-5, rtol=1e-4)
    clean = [answer for answer in found if not answer.noise]
    torch.testing.assert_close(images.normalise(clean[0].pixels), images.images[clean[0].image], atol=1e-5, rtol=1e-5)


def test_features_are_those_of_the_network() -> None:
    """The channels of largest norm, how many are not zero, and how far noise moves all of them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)).eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, -1.0, 2.0]).view(3, 1, 1, 1))  # type: ignore[union-attr,operator]  # pyright: ignore
    image = torch.rand(1, 1, 4, 4)
    (found,) = feature_maps(model, image, 0.1 * image, ["1"], maps=2)
    assert (found.channels, found.alive) == (3, 2)
    torch.testing.assert_close(found.maps, torch.cat([2 * image[0], image[0]]).double())
    assert found.norm == pytest.approx(math.sqrt(5) * float(image.norm()))
    assert found.moved == pytest.approx(0.1)


# the report


def titles(found: Diagnosis) -> list[str]:
    """Of its sections."""
    return [section.title for section in sections(found)]


def test_the_report_has_what_the_papers_have() -> None:
    """Sections, JSON and pictures."""
    torch.manual_seed(0)
    model = timm.create_model("stable_resnet_s11", in_chans=1, width=4).eval()
    found = diagnose(model, data(), name="narrow", condition_numbers=False, seconds=0.1)
    for part in ("continuous time", "Class probabilities", "Features along", "Batch norm and"):
        assert any(part in title for title in titles(found))
    content = found.to_dict()
    assert json.dumps(content, allow_nan=False)
    assert [len(run["layers"]) for run in content["continuous_time"]] == [3, 2, 2]
    assert (len(content["answers"]), len(content["batch_norms"]), len(content["features"])) == (15, 16, 4)
    assert page(found).count("data:image/png;base64,") == 6
    narrow = timm.create_model("preresnet20", in_chans=1, width=2).eval()
    found = diagnose(narrow, data(4), name="narrow", seconds=0.1)
    lemma = next(section for section in sections(found) if section.title.startswith("Bounds of a relative"))
    assert len(lemma.rows) == 9
    assert any(row[-1].startswith("false") for row in lemma.rows)


@pytest.mark.parametrize(
    ("weight", "value", "kind"), [("stem.conv.weight", math.nan, "not finite"), ("stem.conv.weight", 0.0, "constant")]
)
def test_a_network_that_answers_nothing_says_so(run: Run, tmp_path: Path, weight: str, value: float, kind: str) -> None:
    """Of a diverged and of a dead network nothing is measured; the weight or the layer is named."""
    torch.manual_seed(0)
    model = timm.create_model("stable_resnet_s11_cert", in_chans=1, img_size=8)
    with torch.no_grad():
        model.get_parameter(weight).fill_(value)
    torch.save(model.state_dict(), tmp_path / "dead.pt")
    result = run(
        f"diagnose stable_resnet_s11_cert --size 8 --images 4 --checkpoint {tmp_path / 'dead.pt'} --folder {tmp_path / 'report'}"
    )
    assert (result.status, result.err) == (0, "")
    says(result.out, "answers nothing", kind, "stem.conv")
    assert "Forward bounds" not in result.out
    content = json.loads((tmp_path / "report" / "diagnosis.json").read_text())
    assert content["failure"]["kind"] == kind
    assert content["attack"] is content["layer_norms"] is None
    assert "data:image" not in (tmp_path / "report" / "diagnosis.html").read_text()
