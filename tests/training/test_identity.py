"""The same key means the same numbers: whatever decides a result, when it changes, makes another run or is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from torchvision import datasets

import stabzoo
from fixtures.commands import Run as Command
from fixtures.messages import says
from fixtures.plugins import GOOD_CODE
from stabzoo import files
from stabzoo.data.manifest import NOT_HERE, manifest
from stabzoo.data.spec import DIGITS, FOLDERS, Archived, Folder, Timm
from stabzoo.registry.loading import forget
from stabzoo.study import load_study
from stabzoo.study.execution import session
from stabzoo.study.execution.worker import EvaluationRequest, execute
from stabzoo.study.spec import Run, Study
from stabzoo.study.store.records import Record
from stabzoo.study.store.run_folder import RunFolder
from stabzoo.training import spec
from stabzoo.training.spec import sources

STUDY = """\
title: Colours
description: A folder.
networks: [{{label: net, model: {model}, args: {{width: 4}}}}]
data: {{name: folder, path: colours, size: 8}}
training:
  {{epochs: 1, batch_size: 8, optimizer: momentum, lr: 0.1, momentum: 0.9, weight_decay: 0, schedule: one-cycle}}
seeds: [0]
evaluations: [{{kind: clean}}]
"""
DIGITS_TRAINING = "--size 8 --arg width=4 --set epochs=1 --set batch_size=512 --threads 1"


def write_colours(root: Path) -> Path:
    """Two classes, four images each, for training and for tests."""
    random = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in ("blue", "red"):
            folder = root / "colours" / part / name
            folder.mkdir(parents=True)
            for i in range(4):
                Image.fromarray(random.integers(0, 255, (9, 9, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return root / "colours"


def study(tmp_path: Path, model: str = "preresnet20") -> Study:
    """The study of colours."""
    path = tmp_path / "colours.yaml"
    path.write_text(STUDY.format(model=model))
    return load_study(path)


def only_run(tmp_path: Path, model: str = "preresnet20") -> Run:
    """Its one run, of what is here now."""
    ((_, run),) = study(tmp_path, model).runs(root=tmp_path)
    return run


def add_image(folder: Path) -> None:
    """One more."""
    shutil.copy(folder / "train" / "red" / "0.png", folder / "train" / "red" / "9.png")


def remove_image(folder: Path) -> None:
    """One less."""
    (folder / "val" / "red" / "3.png").unlink()


def rename_class(folder: Path) -> None:
    """The same images of another class."""
    for part in ("train", "val"):
        (folder / part / "red").rename(folder / part / "green")


def change_a_byte(folder: Path) -> None:
    """The same names and sizes."""
    path = folder / "val" / "blue" / "0.png"
    path.write_bytes(path.read_bytes()[:-1] + b"!")


@pytest.mark.parametrize("change", [add_image, remove_image, rename_class, change_a_byte])
def test_other_images_are_another_run(change: Callable[[Path], None], tmp_path: Path) -> None:
    """Of a folder, named or through timm."""
    folder = write_colours(tmp_path)
    timm = Timm(name="timm", dataset="", path="colours")
    before, run, by_timm = only_run(tmp_path).key, only_run(tmp_path), manifest(timm, tmp_path)
    assert before == run.key
    change(folder)
    after = only_run(tmp_path)
    assert after.key != run.key
    assert after.settings == run.settings
    assert manifest(timm, tmp_path) != by_timm


def test_of_many_bytes_names_and_sizes_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte more is seen then, another one is not."""
    monkeypatch.setattr(files, "READ", 100)
    folder = write_colours(tmp_path)
    before = only_run(tmp_path).key
    change_a_byte(folder)
    assert only_run(tmp_path).key == before
    with (folder / "val" / "blue" / "0.png").open("ab") as file:
        file.write(b"!")
    assert only_run(tmp_path).key != before


def test_published_files_lie_where_torchvision_puts_them() -> None:
    """So that what was downloaded by it is found."""
    assert {"cifar10": datasets.CIFAR10.base_folder, "cifar100": datasets.CIFAR100.base_folder} == {
        name: folder for name, folder in FOLDERS.items() if name != "mnist"
    }


def test_what_needs_no_manifest_has_none(tmp_path: Path) -> None:
    """Digits come with scikit-learn, published files are compared with their checksums, others are not here."""
    assert manifest(DIGITS, tmp_path) is None
    assert manifest(Archived(name="cifar10"), tmp_path) is None
    assert manifest(Archived(name="cifar10", verified=False), tmp_path) == NOT_HERE
    assert manifest(Folder(name="folder", path="none"), tmp_path) == NOT_HERE
    assert not load_study("quickstart").runs()[0][1].sources


def test_the_code_of_a_plugin(install: Callable[..., Path], tmp_path: Path) -> None:
    """Its version, any file of it, and coefficients that come from elsewhere."""
    write_colours(tmp_path)
    (tmp_path / "elsewhere.py").write_text("BETA = (2, 0)\n")
    folder = install(
        code=GOOD_CODE.replace("from stabzoo", "from elsewhere import BETA\n    from stabzoo", 1).replace(
            "(2, 0)", "BETA"
        )
    )
    keys = [only_run(tmp_path, "leapfrog20").key]

    def differs() -> None:
        for module in ("elsewhere", "stabzoo_leapfrog"):
            stabzoo.registry.loading.unload(module)
        forget()
        keys.append(only_run(tmp_path, "leapfrog20").key)
        assert keys[-1] not in keys[:-1]

    (folder / "data.bin").write_bytes(b"1")
    differs()
    info = next(tmp_path.glob("*.dist-info"))
    (info / "METADATA").write_text((info / "METADATA").read_text().replace("9.0", "9.1"))
    differs()
    (tmp_path / "elsewhere.py").write_text("BETA = (2, 0, 0)[:1] + (1,)\n")
    differs()


def test_software_processor_files_and_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of what decides."""
    write_colours(tmp_path)
    run = only_run(tmp_path)
    weights = tmp_path / "weights.bin"
    found = []
    for content in (b"1", b"2"):
        weights.write_bytes(content)
        found.append(sources("preresnet20", {"checkpoint_path": str(weights)}, None)["args.checkpoint_path"])
    assert found[0] != found[1]
    for change in ({"seed": 1}, {"device": "cuda"}, {"args": {"width": 8}}, {"software": {}}, {"sources": {}}):
        assert run.model_copy(update=change).key != run.key
    monkeypatch.setattr(spec, "version", lambda name: "0")
    spec.software.cache_clear()
    assert only_run(tmp_path).key != run.key
    monkeypatch.undo()
    spec.software.cache_clear()


@pytest.mark.parametrize("what", ["plugin", "data", "processor", "file"])
def test_a_training_does_not_go_on_with_another(
    what: str, run: Command, install: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused, and what differs is named with both values."""
    model, options, fact = "preresnet20", DIGITS_TRAINING, "processor"
    if what == "plugin":
        plugin = install()
        stabzoo.refresh()
        model, fact = "leapfrog20", "plugin leapfrog"
    elif what == "data":
        folder = write_colours(tmp_path)
        options = f"--data {folder} --root {tmp_path} --arg width=4 --recipe digits --set epochs=1 --set batch_size=4 --size 8"
        fact = "data"
    elif what == "file":
        import timm
        import torch

        torch.save(timm.create_model(model, width=4, in_chans=1).state_dict(), tmp_path / "weights.pt")
        options, fact = f"{options} --arg checkpoint_path={tmp_path / 'weights.pt'}", "args.checkpoint_path"
    line = f"train {model} {options} --folder {tmp_path / 'run'}"
    done = run(line)
    assert done.status == 0, done.err
    if what == "plugin":
        (plugin / "more.py").write_text("")
    elif what == "data":
        add_image(folder)
    elif what == "file":
        torch.save(timm.create_model(model, width=4, in_chans=1).state_dict(), tmp_path / "weights.pt")
    else:
        monkeypatch.setattr("stabzoo.cli.train.processor", lambda device: "another")
    refused = run(line)
    assert refused.status == 2
    says(refused.err, tmp_path / "run", fact, "there", "here", "--folder")


def test_results_are_found_where_the_data_are_not(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store is read on another machine; where the data are others, the run is missing."""
    folder = write_colours(tmp_path)
    study(tmp_path)
    done = run(f"study {tmp_path / 'colours.yaml'} --folder {tmp_path / 'runs'} --root {tmp_path} --workers 1")
    assert done.status == 0, done.out + done.err
    monkeypatch.chdir(tmp_path)

    def finished() -> int:
        line = f"study status {tmp_path / 'colours.yaml'} --folder {tmp_path / 'runs'} --json"
        return json.loads(run(line).out)["studies"][0]["finished"]

    assert finished() == 1  # not below ./data
    (tmp_path / "data").mkdir()
    folder.rename(tmp_path / "data" / "colours")
    assert finished() == 1
    add_image(tmp_path / "data" / "colours")
    assert finished() == 0


def test_a_run_does_not_go_on_with_another_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is trained anew, which is said with both, and the result is that of this processor alone."""
    path = tmp_path / "digits.yaml"
    content = yaml.safe_load(STUDY.format(model="preresnet20"))
    content["data"] = {"name": "digits", "size": 8, "test_images": 1697, "split_seed": 0}
    path.write_text(yaml.safe_dump(content))
    small, trained, written = load_study(path), [], []
    ((_, run),) = small.runs(root=tmp_path)
    wanted = EvaluationRequest(small.evaluations)
    for instructions in ("AVX2", "AVX2", "AVX512"):
        monkeypatch.setattr(session, "processor", lambda device, found=instructions: found)
        trained.append(execute(run, wanted, tmp_path / "work"))
        (checkpoint,) = (tmp_path / "work").rglob("checkpoint-*")
        written.append(checkpoint.stat().st_mtime_ns)
        assert isinstance(trained[-1], Record), trained[-1]
        anew = RunFolder(tmp_path / "work", run.key).progress()
        assert anew is not None
        if instructions == "AVX2":
            assert anew.anew is None
        else:
            says(anew.anew or "", "AVX2", "AVX512")
    assert len({record.weights_sha256 for record in trained}) == 1
    assert written[0] == written[1] < written[2]


def test_what_is_no_image_is_no_data(tmp_path: Path) -> None:
    """Notes beside the images, images of no class, and a link that leads nowhere change no key."""
    folder = write_colours(tmp_path)
    timm = Timm(name="timm", dataset="", path="colours")
    before, by_timm = only_run(tmp_path).key, manifest(timm, tmp_path)
    (folder / "train" / "red" / "README.txt").write_text("red")
    (folder / "train" / "red" / ".DS_Store").write_bytes(b"\0")
    (folder / "train" / "red" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    assert manifest(timm, tmp_path) == by_timm
    shutil.copy(folder / "train" / "red" / "0.png", folder / "train" / "beside.png")
    assert only_run(tmp_path).key == before


def test_files_are_named_by_the_arguments_of_timm_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that happens to be a file's name is a value; a file that is not here is not known."""
    monkeypatch.chdir(tmp_path)
    Path("group").write_text("of something else")
    assert sources("preresnet20", {"norm": "group"}, None) == {}
    for name in ("pretrained_cfg", "pretrained_cfg_overlay"):
        found = sources("preresnet20", {name: {"file": "group", "url": "group"}}, None)
        assert list(found) == [f"args.{name}.file"]
        assert sources("preresnet20", {name: "tag"}, None) == {}
    assert sources("preresnet20", {"checkpoint_path": "lost.pt"}, None) == {"args.checkpoint_path": NOT_HERE}
