"""``stabzoo predict``: what a trained network says of a folder of images."""

from __future__ import annotations

from pathlib import Path

from stabzoo.cli.console import output, print_json, table
from stabzoo.deploy.opening import open_deployed
from stabzoo.deploy.predicting import Predictions, predict
from stabzoo.evaluation.interval import LEVEL, wilson
from stabzoo.files import write_atomically
from stabzoo.terminal import say
from stabzoo.training.process import this_process

__all__ = ["predict_folder"]

MOST_ROWS = 50
MOST_CLASSES = 20


def predict_folder(run: Path, folder: Path, *, csv: Path | None, device: str, as_json: bool) -> None:
    """Predict the classes of images; print them, or what they are worth where the folders are classes.

    Raises:
        ConfigError: the network or an image cannot be read.
    """
    found = predict(open_deployed(run), folder, this_process(device).device)
    if csv is not None:
        write_atomically(csv, found.csv().encode())
    if as_json:
        print_json(
            {
                "classes": found.classes,
                "images": found.files,
                "predicted": [found.classes[i] for i in found.predicted],
                "probabilities": found.probabilities.tolist(),
                "labels": None if found.labels is None else [found.classes[i] for i in found.labels],
                "confusion": found.confusion(),
            }
        )
    elif found.labels is None:
        _print_predictions(found)
    else:
        _print_worth(found)
    if csv is not None and not as_json:
        output().print(csv)


def _print_predictions(found: Predictions) -> None:
    most = found.probabilities.max(1).values.tolist()
    shown = list(zip(found.files, found.predicted, most, strict=True))[:MOST_ROWS]
    table(
        output(),
        {
            "image": [file for file, _, _ in shown],
            "predicted": [found.classes[i] for _, i, _ in shown],
            "probability": [f"{p:.4f}" for _, _, p in shown],
        },
    )
    if (left := len(found.files) - len(shown)) > 0:
        say(output(), f"and {left} more; --csv FILE has all")


def _print_worth(found: Predictions) -> None:
    confusion, correct = found.confusion(), found.correct()
    assert confusion is not None
    assert correct is not None
    images = len(found.files)
    low, high = wilson(100 * correct / images, images)
    say(
        output(),
        f"{correct} of {images} right: {100 * correct / images:.2f} % [{low:.2f}, {high:.2f}], a {100 * LEVEL:.0f} % "
        "interval",
    )
    taken = [sum(column) for column in zip(*confusion, strict=True)]
    rows = [(i, sum(row), row[i]) for i, row in enumerate(confusion)]
    table(
        output(),
        {
            "class": [found.classes[i] for i, _, _ in rows],
            "images": [str(count) for _, count, _ in rows],
            "recall %": [f"{100 * right / count:.2f}" if count else "-" for _, count, right in rows],
            "precision %": [f"{100 * right / taken[i]:.2f}" if taken[i] else "-" for i, _, right in rows],
        },
    )
    if len(found.classes) <= MOST_CLASSES:
        columns = {"taken for": list(found.classes)} | {
            f"{name} ": [str(row[i] or "") for row in confusion] for i, name in enumerate(found.classes)
        }
        table(output(), columns)
