"""``stabzoo diagnose``: one report on real images, its data, its checkpoints, and what goes wrong."""

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from fixtures.archives import write_cifar100
from fixtures.commands import Run
from fixtures.messages import raises, refuses, says
from stabzoo.cli.arguments.datasets import dataset_of
from stabzoo.cli.measuring.subject import Asked, _built, _trained
from stabzoo.data.cifar import load_cifar
from stabzoo.data.labelled import LabelledImages, load_labelled_images
from stabzoo.data.loading import load_images
from stabzoo.data.spec import DIGITS
from stabzoo.diagnostics.bounds.network import ForwardBounds
from stabzoo.diagnostics.bounds.step_bound import StepBound
from stabzoo.diagnostics.failure import Failure
from stabzoo.diagnostics.features import steadiness
from stabzoo.diagnostics.report.diagnosis import Diagnosis
from stabzoo.diagnostics.report.measuring import diagnose
from stabzoo.diagnostics.report.sections import Section, sections
from stabzoo.diagnostics.report.summary import summary
from stabzoo.errors import ConfigError
from stabzoo.training.networks import load_model, own_size

pytestmark = pytest.mark.usefixtures("one_thread")


def write_cifar(root: Path, count: int = 6, protocol: int = 2) -> Path:
    """A tiny CIFAR-10 in the real format: six pickled batches of bytes."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for i, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        pixels = random.integers(0, 256, (count, 3072), dtype=np.uint8)
        pixels[:, 0] = i  # the red value of the first pixel says which batch it is
        batch = {b"batch_label": name.encode(), b"labels": [k % 10 for k in range(count)], b"data": pixels}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=protocol))
    return folder


# the report


def test_a_report_of_a_certified_network(run: Run, tmp_path: Path) -> None:
    """Terminal, JSON and page agree, and every certified number lies above the measured one."""
    result = run(f"diagnose stable_resnet_s11_cert --images 24 --seconds 0.5 --folder {tmp_path / 'report'}")
    assert (result.status, result.err) == (0, "")
    for title in (
        "Forward bounds",
        "Accuracy within an l2 distance",
        "Operator norms",
        "Growth of a perturbation",
        "Median principal angles",
        "condition numbers: left out",
    ):
        assert title in result.out
    data = json.loads((tmp_path / "report" / "diagnosis.json").read_text())
    certified = data["forward_bounds"]["sensitivity"]
    assert certified["kind"] == "certified_upper"
    assert 0 < data["attack"]["value"] <= certified["value"] <= 1
    assert data["forward_bounds"]["paper"]["sensitivity"] is None  # it has no space to depth
    assert data["attack"]["kind"] == "certified_lower"
    robust = data["robustness"]
    assert [level["radius"] * 255 for level in robust["radii"]] == pytest.approx([36, 72, 108])
    assert robust["feature_sensitivity"] > 0
    assert all(level["certified"]["value"] <= level["attacked"]["value"] for level in robust["radii"])
    norms = {layer["name"]: layer["upper"] for layer in data["layer_norms"]["layers"]}
    assert norms["stem.conv"]["kind"] == "exact"
    assert norms["stem.conv"]["value"] <= 1
    assert [state["name"] for state in data["perturbation_growth"]["states"]][:2] == ["input", "stages.0.blocks.0"]
    assert set(data["angles"]) == {"stages.0", "stages.1", "stages.2", "penultimate"}
    page = (tmp_path / "report" / "diagnosis.html").read_text()
    assert page.count("data:image/png;base64,") == 6
    assert f"{certified['value']:.4g}" in page
    assert f"{certified['value']:.4g}" in result.out


def test_condition_numbers_on_request() -> None:
    """The formula beside the truth, which it is far from."""
    torch.manual_seed(0)
    model = timm.create_model("preresnet20", in_chans=1, width=4).eval()
    data = load_labelled_images(DIGITS, Path(), 12)
    found = diagnose(model, data, name="narrow", condition_numbers=True, seconds=0.1)
    assert [block.formula.kind for block in found.conditioning].count("heuristic") == len(found.conditioning) == 9
    first = found.conditioning[0]
    assert first.linear.value.kind == "exact"
    assert first.linear.value.value > 3 * first.formula.value
    section = next(s for s in sections(found) if s.title.startswith("Condition numbers"))
    assert len(section.rows) == 9
    assert next(model.parameters()).dtype == torch.float32


@pytest.mark.slow
def test_the_equations_of_implicit_steps() -> None:
    """What is proved of them beside how they were solved; explicit networks have no such section."""
    torch.manual_seed(0)
    model = timm.create_model("implicit_resnet20", in_chans=1, width=4).eval()
    data = load_labelled_images(DIGITS, Path(), 12)
    found = diagnose(model, data, name="narrow", condition_numbers=True, seconds=0.1)
    says(found.skipped["condition numbers"], "implicit steps", "not computed")
    assert {proved.proof for proved in found.well_posed} == {"contraction"}
    section = next(s for s in sections(found) if s.title.startswith("Equations"))
    says(section.meaning, "well-posed by: contraction", "not solved: none")  # what all seven rows say
    assert json.dumps(found.to_dict()["implicit_steps"], allow_nan=False)
    rows = [dict(zip(section.columns, row, strict=True)) for row in section.rows]
    assert len(rows) == 7
    for row in rows:  # the solver is no worse than the iteration that is proved to converge
        assert float(row["evaluations"]) <= int(row["iterations"]) + 1


def test_any_timm_model_has_a_report(run: Run) -> None:
    """A network of another's: what is not proved is infinite, with the reason."""
    result = run("diagnose test_resnet --size 32 --images 4 --seconds 0.1 --json")
    assert (result.status, result.err) == (0, "")
    data = json.loads(result.out)
    bounds = data["forward_bounds"]
    assert bounds["refused"] if bounds["sensitivity"]["value"] == "inf" else bounds["sensitivity"]["value"] > 0
    assert data["attack"]["value"] > 0


def test_columns_that_carry_nothing_are_left_out() -> None:
    """Empty ones; of those that say the same in every row, that is said once."""
    rows = (("a", "", "exact", "1"), ("b", "–", "exact", "2"), ("c", "", "exact", "2"))
    found = Section("t", "Meaning.", ("name", "note", "kind", "value"), rows).informative()
    assert found.columns == ("name", "value")
    assert found.rows == (("a", "1"), ("b", "2"), ("c", "2"))
    says(found.meaning, "Meaning.", "kind: exact")
    assert Section("t", "", ("name", "kind"), (("a", "exact"),)).informative().columns == ("name", "kind")


@pytest.fixture(scope="module")
def narrow() -> Diagnosis:
    """Of a narrow certified network, with no time for its searches."""
    torch.manual_seed(0)
    model = timm.create_model("stable_resnet_s11_cert", in_chans=1, width=2, img_size=8).eval()
    data = load_labelled_images(DIGITS.model_copy(update={"size": 8}), Path(), 24)
    told: list[tuple[str, float]] = []
    found = diagnose(
        model,
        data,
        name="narrow",
        checkpoint="here",
        condition_numbers=False,
        seconds=1e-9,
        tell=lambda part, done: told.append((part, done)),
    )
    shares = [done for _, done in told]
    assert shares == sorted(shares)
    assert (shares[0], told[-1]) == (0.0, ("done", 1.0))
    assert "perturbation growth" in dict(told)
    return found


def test_a_summary_says_what_the_numbers_mean(narrow: Diagnosis) -> None:
    """Proved beside found, accuracy with and without noise, and advice that depends on them."""
    assert narrow.bounds is not None
    assert narrow.attack is not None
    assert narrow.steadiness is not None
    text = "\n".join(summary(narrow))
    says(text, f"{narrow.bounds.sensitivity.value:.3g}", f"{narrow.attack.sensitivity.value:.3g}", "Proved")
    says(text, f"{100 * (narrow.steadiness.right or 0) / 24:.3g} % of 24 images")
    assert narrow.robustness is not None
    says(text, "36/255", f"{narrow.robustness.certified[0]:.3g} %", f"{narrow.robustness.attacked[0]:.3g} %")
    assert "random" not in text
    unproved = replace(narrow, checkpoint=None, bounds=ForwardBounds((StepBound.unknown("fc: why"),), (1, 8, 8)))
    text = "\n".join(summary(unproved))
    says(text, "random", "--checkpoint", "Nothing is proved", "fc: why")
    dead = replace(narrow, failure=Failure("constant", "stem", "the stem is dead"))
    (sentence,) = summary(dead)
    says(sentence, "the stem is dead")


def test_one_image_answered_otherwise_is_counted() -> None:
    """Right answers and equal ones, of images that pass in several batches; no right ones where classes differ."""
    images = torch.eye(4).view(4, 1, 2, 2)
    data = LabelledImages("eye", images, torch.tensor([0, 1, 2, 0]), 4, torch.ones(1, 1, 1), torch.zeros(1, 1, 1))
    noise = torch.zeros_like(images)
    noise[1] = 2 * images[0]
    found = steadiness(torch.nn.Flatten(), data, noise)
    assert (found.images, found.same, found.right, found.right_under_noise) == (4, 3, 3, 2)
    found = steadiness(torch.nn.Flatten(), replace(data, classes=5), noise)
    assert (found.same, found.right, found.right_under_noise) == (3, None, None)


def test_large_images_are_fewer() -> None:
    """As many as have a million pixels, at most 256."""
    for side, count in ((16, 256), (64, 256), (224, 20)):
        data = DIGITS.model_copy(update={"size": side})
        assert len(load_labelled_images(data, Path()).images) == count


def test_a_timm_model_has_its_own_size() -> None:
    """Its own unless another is asked for, which a transformer is built for; those of stabzoo take any."""
    assert own_size("preresnet20") is None
    assert own_size("test_vit") == (160, True)
    assert own_size("test_resnet") == (160, False)
    for name, size, expected in (("test_vit", None, 160), ("test_vit", 32, 32), ("preresnet20", None, 16)):
        subject = _built(asked(name, size=size))
        assert subject.data.input_size == (1, expected, expected)
        with torch.no_grad():
            assert subject.model(subject.data.images[:1]).shape == (1, 10)


def asked(name: str, **options: Any) -> Asked:
    """What the command is asked for, two images unless it is said otherwise."""
    others = {
        "root": Path(),
        "data": None,
        "size": None,
        "verified": True,
        "checkpoint": None,
        "pretrained": False,
        "arguments": (),
        "images": 2,
        "device": "cpu",
    }
    return Asked(name, **{**others, **options})


def test_arguments_and_pretrained_weights(tmp_path: Path) -> None:
    """Arguments reach the model; pretrained weights keep their classes, and their own normalisation of images."""
    assert _built(asked("preresnet20", arguments=("width=4", "norm=none"))).model.num_features == 16
    torch.manual_seed(7)
    model = timm.create_model("test_resnet", num_classes=3)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    overlay = {"file": str(tmp_path / "weights.safetensors"), "num_classes": 3, "mean": [0.1] * 3, "std": [0.2] * 3}
    arguments = (f"pretrained_cfg_overlay={json.dumps(overlay)}", "num_classes=3")
    (tmp_path / "images").mkdir()
    for label in ("cats", "dogs"):
        (tmp_path / "images" / label).mkdir()
        Image.fromarray(np.full((40, 40, 3), 128, np.uint8)).save(tmp_path / "images" / label / "0.png")
    data = str(tmp_path / "images")
    subject = _built(asked("test_resnet", data=data, size=32, pretrained=True, arguments=arguments))
    assert torch.equal(subject.model.state_dict()["fc.weight"], model.state_dict()["fc.weight"])
    torch.testing.assert_close(subject.data.images[0, :, 0, 0], torch.full((3,), (128 / 255 - 0.1) / 0.2))
    assert subject.weights is not None


def test_a_folder_of_a_training_says_it_all(run: Run, tmp_path: Path) -> None:
    """Model, arguments, weights and data of a training, and of a study's run, are read from what they left."""
    folder = tmp_path / "trained"
    line = "train zerosnet20_tra --arg width=2 --size 8 --set epochs=1 --set batch_size=400 --threads 1"
    assert run(f"{line} --folder {folder}").status == 0
    subject = _trained(asked(str(folder)))
    assert (subject.name, subject.data.input_size, subject.weights) == ("zerosnet20_tra", (1, 8, 8), str(folder))
    assert subject.model.num_features == 8
    for name, value in load_file(folder / "model.safetensors").items():
        assert torch.equal(subject.model.state_dict()[name], value)
    refuses(run(f"diagnose {folder} --arg width=2 --size 8"), "--size, --arg", folder, "config.json")
    refuses(run(f"diagnose {tmp_path}"), tmp_path / "config.json", "stabzoo train")
    assert run(f"evaluate {folder} --json").status == 0


# data and checkpoints


@pytest.mark.parametrize("protocol", [2, 5])
def test_cifar_is_read_without_executing_it(tmp_path: Path, protocol: int) -> None:
    """Pixels in [0, 1], the five training batches in their order."""
    write_cifar(tmp_path, protocol=protocol)
    images, labels = load_cifar(tmp_path, 10, verified=False, train=True)
    assert images.shape == (30, 3, 32, 32)
    assert images[:, 0, 0, 0].tolist() == [i for i in range(5) for _ in range(6)]
    assert labels.tolist() == [0, 1, 2, 3, 4, 5] * 5
    assert load_cifar(tmp_path, 10, verified=False, train=False)[0][0, 0, 0, 0] == 5


class Hostile:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return eval, ("1/0",)


def test_a_hostile_or_damaged_batch_is_refused(tmp_path: Path) -> None:
    """By its name, before anything runs."""
    folder = write_cifar(tmp_path)
    (folder / "test_batch").write_bytes(pickle.dumps({b"data": Hostile(), b"labels": []}))
    with raises(ConfigError, folder / "test_batch", "CIFAR-10", "builtins eval"):
        load_cifar(tmp_path, 10, verified=False, train=False)
    (folder / "test_batch").write_bytes(b"\x80")
    with raises(ConfigError, folder / "test_batch", "not a batch of CIFAR-10", "not enough data"):
        load_cifar(tmp_path, 10, verified=False, train=False)
    (folder / "test_batch").write_bytes(pickle.dumps({b"data": np.zeros((1, 12), np.uint8), b"labels": [0]}))
    with raises(ConfigError, folder / "test_batch", "(1, 3072)", "got (1, 12)"):
        load_cifar(tmp_path, 10, verified=False, train=False)
    (folder / "test_batch").write_bytes(pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]}))
    with raises(ConfigError, folder / "test_batch", "labels", "0 to 9", "10 to 10"):
        load_cifar(tmp_path, 10, verified=False, train=False)
    (folder / "data_batch_3").unlink()
    with raises(ConfigError, folder / "data_batch_3", "No such file", "CIFAR-10's archive", "cifar-10-batches-py"):
        load_cifar(tmp_path, 10, verified=False, train=True)


def test_a_folder_of_images_is_data(tmp_path: Path) -> None:
    """One folder a class, or train and val of them; every n-th test image, cut and normalised as in a training."""
    for label in ("cats", "dogs"):
        (tmp_path / label).mkdir()
        for i in range(3):
            pixels = np.random.default_rng(i).integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / label / f"{i}.png")
    data = dataset_of(str(tmp_path), 32, verified=True, only_tested=True)
    model = load_model("preresnet20", load_images(data, Path()), None)
    found = load_labelled_images(data, Path(), 4)
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert found.classes == model.num_classes == 2
    assert found.input_size == (3, 32, 32)
    torch.testing.assert_close(found.scale.flatten(), 1 / torch.tensor([0.229, 0.224, 0.225]))
    (tmp_path / "cats" / "0.png").write_bytes(b"not an image")
    with raises(ConfigError, "cats/0.png", "not an image"):
        load_labelled_images(data, Path(), 4)
    parts = load_images(dataset_of(str(tmp_path), 32, verified=True), Path())  # for a training there must be two
    assert (parts.train_count, parts.test_count) == (4, 2)


def test_diagnose_takes_the_data_that_train_takes(run: Run, tmp_path: Path) -> None:
    """By the same names, verified unless it is said otherwise, normalised by the training images' own moments."""
    write_cifar100(tmp_path)
    write_cifar(tmp_path)
    for name, classes in (("cifar10", 10), ("cifar100", 100)):
        refuses(run(f"diagnose preresnet20 --data {name} --root {tmp_path}"), "not the published file")
        data = dataset_of(name, None, verified=False, only_tested=True)
        assert load_model("preresnet20", load_images(data, tmp_path), None).num_classes == classes
        assert load_labelled_images(data, tmp_path, 4).name == name
    images = load_images(dataset_of("cifar10", None, verified=False), tmp_path)
    found = load_labelled_images(dataset_of("cifar10", None, verified=False), tmp_path, 4)
    torch.testing.assert_close(found.images, (images.test[:4] - images.mean) / images.std)


def test_a_checkpoint_is_what_is_measured(tmp_path: Path) -> None:
    """Saved and loaded weights are the same, as safetensors and as torch has it."""
    torch.manual_seed(5)
    model = timm.create_model("preresnet20", in_chans=1)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    torch.save({"state_dict": model.state_dict()}, tmp_path / "weights.pt")
    for name in ("weights.safetensors", "weights.pt"):
        loaded = load_model("preresnet20", load_images(DIGITS), tmp_path / name)
        assert torch.equal(loaded.state_dict()["head.fc.weight"], model.state_dict()["head.fc.weight"])


def test_mistakes_are_one_sentence(run: Run, tmp_path: Path) -> None:
    """Each names what is at fault, and nothing is written."""
    torch.save(timm.create_model("preresnet32", in_chans=1).state_dict(), tmp_path / "other.pt")
    torch.save({"state_dict": Hostile()}, tmp_path / "hostile.pt")
    (tmp_path / "torn.safetensors").write_bytes(b"{")
    (tmp_path / "file").write_text("")
    for line, facts in {
        "preresnet21": ("model 'preresnet21'", "preresnet20"),
        "preresnet20 --data nowhere": ("--data", "digits, percolation, elpv, cifar10, cifar100, mnist", "'nowhere'"),
        f"preresnet20 --data cifar10 --root {tmp_path}": ("data_batch_1", "No such file"),
        f"preresnet20 --checkpoint {tmp_path}/other.pt": (f"{tmp_path}/other.pt", "preresnet20", "stages.0.blocks.3"),
        f"preresnet20 --checkpoint {tmp_path}/hostile.pt": (f"{tmp_path}/hostile.pt", "tensors only", "executed"),
        f"preresnet20 --checkpoint {tmp_path}/torn.safetensors": (f"{tmp_path}/torn.safetensors", "tensors only"),
        f"preresnet20 --checkpoint {tmp_path}/none.pt": (f"{tmp_path}/none.pt", "FileNotFoundError"),
        "preresnet20 --images 1": ("images", "at least 2", "got 1"),
        "preresnet20 --sigma 0": ("sigma: ", "above 0", "got 0.0"),
        f"stable_resnet_s11_cert --images 4 --folder {tmp_path}/file/x": (f"{tmp_path}/file", "cannot be written"),
    }.items():
        result = run(f"diagnose {line}")
        assert result.status == 2, line
        says(result.err, *facts)
        assert result.out == ""
        assert "Traceback" not in result.err
