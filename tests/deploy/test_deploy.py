"""A trained network in use: predictions, files for other runtimes, and a repository."""

import csv
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

from fixtures.messages import refuses, says
from stabzoo.cli import main
from stabzoo.deploy.opening import open_deployed
from stabzoo.deploy.predicting import predict
from stabzoo.training.kept.loading import load_finished

TRAIN = "--arg width=4 --set epochs=1 --threads 1"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An explicit network of digits, and an implicit one."""
    root = tmp_path_factory.mktemp("deploy")
    for name, model in (("explicit", "zerosnet20_opt"), ("implicit", "implicit_resnet20")):
        assert main(shlex.split(f"train {model} {TRAIN} --folder {root / name}")) == 0
    return root


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images in folders of classes 0, 3 and 7."""
    root = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for i, name in enumerate("003337"):
        (root / name).mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (16, 16), dtype="uint8")).save(root / name / f"{i}.png")
    return root


def test_probabilities_are_those_of_the_network(trained: Path, images: Path) -> None:
    """Of images of the training's size: the same pixels, and so the same probabilities."""
    found = predict(open_deployed(trained / "explicit"), images)
    network = load_finished(trained / "explicit", Path()).network
    pixels = torch.stack([torch.from_numpy(np.array(Image.open(images / file))) for file in found.files])
    with torch.inference_mode():
        expected = network(pixels[:, None].float() / 255).softmax(1)
    torch.testing.assert_close(found.probabilities, expected)
    assert found.labels == (0, 0, 3, 3, 3, 7)
    confusion = found.confusion()
    assert confusion is not None
    assert [sum(row) for row in confusion] == [2, 0, 0, 3, 0, 0, 0, 1, 0, 0]
    assert found.correct() == sum(confusion[i][i] for i in range(10))


def test_the_csv_and_the_document(trained: Path, images: Path, tmp_path: Path, run: Callable[[str], Any]) -> None:
    """A line an image with the probability of each class, which are those of --json."""
    document = json.loads(run(f"predict {trained / 'explicit'} {images} --csv {tmp_path / 'p.csv'} --json").out)
    with open(tmp_path / "p.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == document["images"]
    assert [row["predicted"] for row in rows] == document["predicted"]
    assert [row["class"] for row in rows] == document["labels"] == list("003337")
    for row, probabilities in zip(rows, document["probabilities"], strict=True):
        assert [float(row[f"p({i})"]) for i in range(10)] == pytest.approx(probabilities, rel=1e-5)
    says(run(f"predict {trained / 'explicit'} {images}").out, "of 6 right", "recall", "precision")


def test_folders_that_are_no_classes(trained: Path, images: Path, tmp_path: Path, run: Callable[[str], Any]) -> None:
    """Then nothing is right or wrong; folders of which only some are classes are a mistake."""
    files = sorted(images.rglob("*.png"))
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "a.png").write_bytes(files[0].read_bytes())
    assert predict(open_deployed(trained / "explicit"), tmp_path).labels is None
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "b.png").write_bytes(files[1].read_bytes())
    refuses(run(f"predict {trained / 'explicit'} {tmp_path}"), tmp_path / "some" / "a.png", "'3'")


def test_what_cannot_be_predicted(trained: Path, tmp_path: Path, run: Callable[[str], Any]) -> None:
    """No network, no images, a file that is none."""
    refuses(run(f"predict {tmp_path} {tmp_path}"), tmp_path / "config.json", "stabzoo train")
    refuses(run(f"predict {trained / 'explicit'} {tmp_path}"), tmp_path, "found none")
    (tmp_path / "torn.png").write_bytes(b"torn")
    refuses(run(f"predict {trained / 'explicit'} {tmp_path}"), tmp_path / "torn.png")


def test_a_program_of_torch_export(trained: Path, tmp_path: Path, run: Callable[[str], Any]) -> None:
    """It takes pixels, in batches of any size, and describes itself."""
    path = tmp_path / "digits.pt2"
    says(run(f"export {trained / 'explicit'} --torch-export {path}").out, path, "[0, 1]")
    described = {"config.json": ""}
    program = torch.export.load(path, extra_files=described).module()
    network = load_finished(trained / "explicit", Path()).network
    for batch in (1, 3, 7):
        pixels = torch.rand(batch, 1, 16, 16)
        with torch.inference_mode():
            torch.testing.assert_close(program(pixels), network(pixels))
    assert json.loads(described["config.json"])["architecture"] == "zerosnet20_opt"


@pytest.mark.slow
def test_an_implicit_network_says_that_it_is_not_solved(
    trained: Path, tmp_path: Path, run: Callable[[str], Any]
) -> None:
    """Its iterations are fixed in the file; the network goes on solving."""
    found = run(f"export {trained / 'implicit'} --torch-export {tmp_path / 'i.pt2'}")
    says(found.out, "10 fixed-point iterations", "not solved")


def test_onnx(trained: Path, tmp_path: Path, run: Callable[[str], Any]) -> None:
    """Run in ONNX Runtime, in batches of any size, with the description beside the weights."""
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    path = tmp_path / "digits.onnx"
    says(run(f"export {trained / 'explicit'} --onnx {path}").out, path)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    network = load_finished(trained / "explicit", Path()).network
    pixels = torch.rand(3, 1, 16, 16)
    logits = torch.from_numpy(session.run(["logits"], {"pixels": pixels.numpy()})[0])
    with torch.inference_mode():
        torch.testing.assert_close(logits, network(pixels), rtol=1e-4, atol=1e-5)
    described = session.get_modelmeta().custom_metadata_map["config.json"]
    assert json.loads(described)["label_names"] == list("0123456789")


def test_no_file_is_left_that_computes_something_else(
    trained: Path, tmp_path: Path, run: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison can fail: here the file is of a network whose classifier has other weights."""
    written = torch.export.save

    def other(program: Any, *args: Any, **kwargs: Any) -> None:
        with torch.no_grad():
            next(p for name, p in program.state_dict.items() if name.endswith("head.fc.bias")).add_(1)
        written(program, *args, **kwargs)

    monkeypatch.setattr(torch.export, "save", other)
    refuses(
        run(f"export {trained / 'explicit'} --torch-export {tmp_path / 'x.pt2'}"), tmp_path / "x.pt2", "logits differ"
    )
    assert not (tmp_path / "x.pt2").exists()
    refuses(run(f"export {trained / 'explicit'}"), "--onnx", "--torch-export")


def test_a_repository(trained: Path, images: Path, tmp_path: Path, run: Callable[[str], Any]) -> None:
    """Timm opens it, predict does, and its card says what it is."""
    folder = tmp_path / "digits"
    assert run(f"publish {trained / 'explicit'} --folder {folder}").status == 0
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = create_transform(**resolve_model_data_config(model))
    found = predict(open_deployed(folder), images)
    batch = torch.stack([transform(Image.open(images / file)) for file in found.files])
    with torch.inference_mode():
        torch.testing.assert_close(model(batch).softmax(1), found.probabilities)
    card = (folder / "README.md").read_text()
    says(card, "library_name: timm", "zerosnet20_opt", "strong", "540 test images", "verify_certificate", "momentum")
    refuses(run(f"publish {trained / 'explicit'} --folder {folder}"), folder, "empty")
    refuses(run(f"publish {trained / 'explicit'}"), "OWNER/NAME", "--folder")


def test_what_is_uploaded(trained: Path, run: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The three files, under the name that was given; what the hub refuses is said."""
    sent: dict[str, Any] = {}

    class Hub:
        """Takes the place of the hub's client."""

        def __init__(self, **_: Any) -> None: ...

        def create_repo(self, repo_id: str, **options: Any) -> Any:
            """Refuse one owner."""
            if repo_id.startswith("other/"):
                raise PermissionError("403")
            sent.update(options)
            return type("Url", (str,), {"repo_id": repo_id})(f"https://huggingface.co/{repo_id}")

        def upload_folder(self, *, repo_id: str, folder_path: Path, **_: Any) -> None:
            """Look at what comes."""
            sent.update(repo=repo_id, files=sorted(p.name for p in folder_path.iterdir()))
            sent["card"] = (folder_path / "README.md").read_text()

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    says(run(f"publish {trained / 'explicit'} me/digits --private").out, "https://huggingface.co/me/digits")
    assert (sent["repo"], sent["private"]) == ("me/digits", True)
    assert sent["files"] == ["README.md", "config.json", "model.safetensors"]
    assert "hf-hub:me/digits" in sent["card"]
    refuses(run(f"publish {trained / 'explicit'} other/digits"), "403", "hf auth login")
    refuses(run(f"publish {trained / 'explicit'} digits"), "OWNER/NAME")
