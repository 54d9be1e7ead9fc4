"""What is fuzzed: for each kind of file or text that may be a stranger's, what reads it, and what it may do about it.

A target takes bytes.  It returns where they are read or refused in a sentence, and raises where they are not: an error
of another type, a traceback, a message that cannot be read, a wrong verdict.  A hang is the business of who calls it.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import sqlite3
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import timm
from safetensors.torch import save
from torch import Tensor

import stabzoo
from stabzoo.cli import main
from stabzoo.config import load_yaml, validate
from stabzoo.data.cifar import _batch
from stabzoo.data.loading import load_images
from stabzoo.data.mnist import _array
from stabzoo.data.spec import Digits
from stabzoo.errors import ConfigError, printable
from stabzoo.families import named_method
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.networks.checkpoints import read_weights
from stabzoo.registry.schema import Registry
from stabzoo.study.spec import load_study
from stabzoo.study.store.run_index import RunIndex
from stabzoo.study.store.store import Store
from stabzoo.training.checkpoint import Checkpoints, pack
from stabzoo.training.kept.loading import load_finished
from stabzoo.training.loop import Trainer
from stabzoo.training.normalized import NormalizedModel
from stabzoo.training.session import Session
from stabzoo.training.spec import Training, recipe

__all__ = ["TARGETS"]

LONGEST = 20_000
"""Characters of a message: twenty mistakes of the longest lines."""

MARKS = ("Traceback (most recent", "errors.pydantic.dev", 'File "')
"""What no message has."""


@cache
def scratch() -> Path:
    """A folder of this process, in memory where that is possible; all that is read lies there."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="stabzoo-fuzz-", dir=memory if os.access(memory, os.W_OK) else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def refused(read: Callable[[], object], *errors: type[Exception]) -> bool:
    """Whether it was refused, in a sentence; nothing but ConfigError and ``errors`` may be raised.

    Raises:
        AssertionError: the sentence is none.
    """
    try:
        read()
    except (ConfigError, *errors) as error:
        sentence(str(error))
        return True
    return False


def sentence(text: str) -> None:
    """Check that a message can be read.

    Raises:
        AssertionError: it is empty, endless, no text for a terminal, or of the insides of stabzoo.
    """
    assert text.strip(), "an empty message"
    assert len(text) <= LONGEST, f"a message of {len(text)} characters: {text[:100]}"
    assert printable(text) == text, f"a message with letters that a terminal obeys: {text[:200]!a}"
    for mark in MARKS:
        assert mark not in text, text


def written(name: str, content: bytes) -> Path:
    """The content as a file."""
    path = scratch() / name
    path.write_bytes(content)
    return path


def yaml(content: bytes) -> None:
    """A file of YAML; what is read is what is written in it: plain values, finite numbers."""
    path = written("any.yaml", content)
    refused(lambda: plain(load_yaml(path)))


def plain(value: Any) -> None:
    """Check that a value is of YAML's own types."""
    if isinstance(value, dict):
        for key, part in value.items():
            assert isinstance(key, str | int), key
            plain(part)
    elif isinstance(value, list):
        for part in value:
            plain(part)
    else:
        assert value is None or isinstance(value, str | bool | int | float), value
        assert not isinstance(value, float) or abs(value) < float("inf"), value


def registry(content: bytes) -> None:
    """A section of registry.yaml; what passes can be expanded to models."""
    path = written("registry.yaml", content)
    refused(lambda: validate(Registry, load_yaml(path), "registry.yaml: fuzz").expanded_models())


def study(content: bytes) -> None:
    """A study's file; what passes has keys for its runs, at each of its scales."""
    path = written("study.yaml", content)

    def read() -> None:
        found = load_study(str(path))
        for scale in list(found.scales)[:2]:
            found.at(scale)
        keys = [found.run(network, seed).key for network in found.networks[:3] for seed in found.seeds[:3]]
        assert all(re.fullmatch("[0-9a-f]{16}", key) for key in keys)

    refused(read)


def training(content: bytes) -> None:
    """A recipe, and the job that a training has left in its folder."""
    path = written("recipe.yaml", content)
    refused(lambda: recipe(str(path), {}))
    written("config.json", content)
    assert refused(lambda: load_finished(scratch(), scratch()))  # there are no weights


def coefficients(content: bytes) -> None:
    """Numbers of a multistep method, ``alpha | beta | beta_next``, or a method's name; what is proved is checked."""
    text = content.decode(errors="surrogateescape")
    alpha, *rest = (part.split() for part in text.split("|"))
    found: list[LinearMultistep] = []

    def read() -> None:
        if rest:
            found.append(LinearMultistep(tuple(alpha), tuple(rest[0]), rest[1][0] if rest[1:] and rest[1] else 0))
        else:
            found.append(named_method(text))

    if refused(read, ValueError) or found[0].steps > 6 or max(map(len, alpha), default=0) > 12:
        return
    certificate = stabzoo.card(found[0]).certificate
    assert stabzoo.verify_certificate(found[0].alpha, certificate)
    assert stabzoo.is_zero_stable(found[0].alpha) == stabzoo.card(found[0]).is_zero_stable


def only_checkpoint(content: bytes) -> Path:
    """A folder with one checkpoint of a training, under the name that its digest gives it."""
    folder = scratch() / "checkpoints"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    digest = hashlib.sha256(content).hexdigest()[:16]
    (folder / f"checkpoint-000000001-{digest}.safetensors").write_bytes(content)
    return folder


def checkpoint(content: bytes) -> None:
    """A checkpoint of a training, whose name has its digest, and one that is given by hand, in each of the formats."""
    folder = only_checkpoint(content)
    state, damaged = Checkpoints(folder).newest()
    assert state is None or not damaged
    name = "model.safetensors" if content[8:9] == b"{" else "weights.pt"
    refused(lambda: read_weights(written(name, content)))


@cache
def trainer() -> Trainer:
    """A training of a small network, in the middle of its first epoch."""
    images = load_images(Digits(name="digits", size=8, test_images=1697, split_seed=0))
    settings = {"epochs": 2, "batch_size": 50, "optimizer": "momentum", "lr": 0.1, "momentum": 0.9, "weight_decay": 0, "schedule": "step", "milestones": [0.5]}  # fmt: skip
    model = timm.create_model("preresnet20", in_chans=1, num_classes=10, width=1)
    return Trainer(NormalizedModel(model, images), images, Training.model_validate(settings), seed=0)


@cache
def whole_state() -> tuple[str, dict[str, Tensor]]:
    """What a checkpoint of it holds: JSON, and tensors by name."""
    packed, tensors = pack(trainer().state())
    return json.dumps(packed), tensors


def state(content: bytes) -> None:
    """A checkpoint with the right digest, whose JSON is anything; a training goes on from it, or says that it cannot."""
    packed = content.decode(errors="replace")
    whole_file = save(whole_state()[1], {"state": packed})
    folder = only_checkpoint(whole_file)

    def resume() -> None:
        Session(trainer(), folder).resume()
        trainer().network.train()
        next(iter(trainer().optimizer.param_groups))["lr"] + 1.0
        trainer().schedule.get_last_lr()
        assert isinstance(trainer().progress.steps, int)

    refused(resume)


def archive(content: bytes) -> None:
    """A batch of CIFAR and a file of MNIST."""
    path = Path("batch")
    refused(lambda: _batch(path, content, b"labels", 10))
    refused(lambda: _array(path, content, 1 if content[4:5] == b"\1" else 3))


def database(content: bytes) -> None:
    """A file of results."""
    written("results.sqlite", content)
    for beside in ("-wal", "-shm", "-journal"):
        (scratch() / f"results.sqlite{beside}").unlink(missing_ok=True)
    refused(lambda: read_results(scratch()))


def read_results(folder: Path) -> None:
    """All that status, report and export read."""
    index = RunIndex(folder, needed=True)
    for status in index.statuses():
        assert status.to_dict()
    assert index.store is not None
    index.store.results()
    index.records(load_study("quickstart", "smoke"))


@cache
def whole() -> bytes:
    """A database with one finished run that two studies ask for."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))  # whose made-up records serve here too
    from fixtures.records import finished

    with tempfile.TemporaryDirectory() as name:
        made = load_study("quickstart", "smoke")
        store = Store(Path(name))
        record = next(iter(finished(made).values()))
        store.save(record)
        for asking in ("quickstart", "mine"):
            store.ask(asking, "smoke", [("a network", record.run)])
        with contextlib.closing(sqlite3.connect(store.path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode = DELETE")
        return store.path.read_bytes()


@cache
def columns() -> list[tuple[str, str]]:
    """The tables of a database of results with their columns."""
    path = written("columns.sqlite", whole())
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT m.name, c.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c WHERE m.type = 'table'"
        ).fetchall()


def cell(content: bytes) -> None:
    """A cell of a database that is whole otherwise: which one, by the first byte, of which type, by the second."""
    path = written("results.sqlite", whole())
    which, kind, rest = content[:1], content[1:2], content[2:]
    table, column = columns()[(which or b"\0")[0] % len(columns())]
    text = rest.decode(errors="replace")
    value: Any = (text, rest, len(rest), rest and float(rest[0]) / 255)[(kind or b"\0")[0] % 4]
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        with contextlib.suppress(sqlite3.IntegrityError):
            connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
    refused(lambda: read_results(scratch()))


COMMANDS = ("analyze", "show", "study show", "study status", "study diff", "study report", "study export", "study run",
            "train", "evaluate", "diagnose", "oscillator", "new-plugin", "list -")  # fmt: skip
"""Of ``check`` and ``doctor`` what they are given is a pattern; they take seconds."""


def cli(content: bytes) -> None:
    """A command line: the command by the first byte, the rest split as a shell splits it.

    What would train, download, measure for seconds, or write beside the scratch folder is stopped where it begins.
    """
    command = COMMANDS[content[0] % len(COMMANDS)] if content else ""
    text = content[1:].decode(errors="surrogateescape")
    with contextlib.suppress(ValueError):  # a quotation that is not closed
        words = [*command.split(), *shlex.split(text)]
        if not any(word.count("/") > 1 or ".." in word or word.startswith(("/", "~")) for word in words):
            run_line(words)


class StoppedError(ConfigError):
    """Here something would begin that takes long."""


def run_line(words: list[str]) -> None:
    """Run a command in the scratch folder.

    Raises:
        AssertionError: it does not end with 0, 1 or 2, it ends with 2 and no sentence, or it writes a traceback.
    """

    def stop(*_: object, **__: object) -> None:
        raise StoppedError("stopped here")

    for module in ("cli.train", "cli.measuring.diagnose", "cli.new_plugin", "plotting.scheme", "plotting.oscillator"):
        import_module(f"stabzoo.{module}")  # imported first in what follows, they would keep what stands in there
    out, err = io.StringIO(), io.StringIO()
    here = os.getcwd()
    folder = scratch() / "here"
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch("stabzoo.cli.train.train_job", stop),
        mock.patch("stabzoo.study.run_study", stop),
        mock.patch("stabzoo.data.loading.fetch", stop),
        mock.patch("stabzoo.cli.train.fetch", stop),
        mock.patch("stabzoo.cli.measuring.diagnose.diagnose", stop),
        mock.patch("stabzoo.cli.new_plugin.write_new_plugin", stop),
        mock.patch("stabzoo.plotting.style.write_figure", stop),
    ):
        try:
            status = main(words)
        finally:
            os.chdir(here)
    said = err.getvalue()
    assert status in (0, 1, 2), status
    if status == 2:
        sentence(said)
    assert "Traceback (most recent" not in said + out.getvalue(), said


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (yaml, registry, study, training, coefficients, checkpoint, state, archive, database, cell, cli)
}
"""By name."""

warnings.simplefilter("ignore")  # what is said of an input is no fault
sys.setrecursionlimit(min(sys.getrecursionlimit(), 1000))  # as a user's
