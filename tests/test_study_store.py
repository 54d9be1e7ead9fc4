"""The store: a run is either there, whole, or not there."""

import os
from pathlib import Path

import pytest

from stabzoo.study import load_study
from stabzoo.study.evaluations import Clean, Constant
from stabzoo.study.store import Coefficients, Measured, Record, Store, write_atomically


def make_record(seed: int = 0) -> Record:
    """A made-up finished run of the quickstart's first network."""
    study = load_study("quickstart")
    return Record(
        run=study.run(study.networks[0], seed),
        coefficients=Coefficients.model_validate({"alpha": ["1/3", "5/9", "1/9"], "beta": ["16/9"], "beta_next": 0}),
        parameters=70000,
        losses=(1.5, 0.25),
        diverged=False,
        weights_sha256="0" * 64,
        measured=(Measured(evaluation=Clean(kind="clean"), accuracy=97.5),),
        seconds=1.25,
        cpu="AVX2",
    )


def test_record_comes_back_as_it_was_saved(tmp_path: Path):
    """Exact coefficients included; another run is not found."""
    store, record = Store(tmp_path), make_record()
    assert store.load(record.run) is None
    store.save(record)
    assert Store(tmp_path).load(record.run) == record
    assert store.load(make_record(seed=1).run) is None
    assert '"1/3"' in store.path(record.run).read_text(encoding="utf-8")


def test_other_evaluations_of_the_same_weights_are_kept(tmp_path: Path):
    """Asking for another evaluation does not throw away what was measured; other weights do."""
    store, record = Store(tmp_path), make_record()
    noisy = Measured(evaluation=Constant(kind="constant", mu=0.1), accuracy=50)
    store.save(record)
    both = store.save(record.model_copy(update={"measured": (noisy,)}))
    assert both.measured == (noisy, *record.measured)
    assert store.load(record.run) == both
    other = record.model_copy(update={"measured": (noisy,), "weights_sha256": "1" * 64})
    assert store.save(other) == other
    store.path(record.run).write_bytes(b"torn")
    assert store.save(record) == record


def test_torn_file_is_detected_wherever_it_ends(tmp_path: Path):
    """No prefix of a record is taken for a record."""
    store, record = Store(tmp_path), make_record()
    store.save(record)
    content = store.path(record.run).read_bytes()
    for length in [*range(0, len(content) - 2, 97), len(content) - 2]:
        store.path(record.run).write_bytes(content[:length])
        with pytest.raises(ValueError, match="is damaged"):
            store.load(record.run)


@pytest.mark.parametrize("content", [b"\xff\x00garbage", b"[]", b'{"run": 1}'])
def test_other_content_is_detected(content: bytes, tmp_path: Path):
    """Garbage and other JSON are not records."""
    store, record = Store(tmp_path), make_record()
    store.path(record.run).write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        store.load(record.run)


def test_record_under_another_runs_name_is_detected(tmp_path: Path):
    """A file that was copied or renamed does not stand for another run."""
    store, record, other = Store(tmp_path), make_record(), make_record(seed=1)
    store.save(record)
    os.replace(store.path(record.run), store.path(other.run))
    with pytest.raises(ValueError, match="holds another run"):
        store.load(other.run)


def test_crash_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Neither half a file nor a temporary one is left."""
    path = tmp_path / "results.json"
    write_atomically(path, b"old")

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
