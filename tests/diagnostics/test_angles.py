"""Median principal angles: the streamed selection against brute force, sampling, degenerate vectors, any model."""

import json
import math

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fixtures.messages import raises, says
from stabzoo.diagnostics import angles
from stabzoo.diagnostics.angles import PrincipalAngles, class_angles, layer_angles, median_angle
from stabzoo.diagnostics.capture import feature_layers, outputs


def brute(u: torch.Tensor, v: torch.Tensor | None) -> float:
    """Definition 1, word by word."""

    def angle(a: np.ndarray, b: np.ndarray) -> float:
        return math.acos(max(-1.0, min(1.0, float(a @ b) / (np.linalg.norm(a) * np.linalg.norm(b)))))

    x = u.double().numpy()
    if v is None:
        return float(np.median([angle(x[i], x[j]) for i in range(len(x)) for j in range(i)]))
    return float(np.median([angle(a, b) for a in x for b in v.double().numpy()]))


@given(
    st.integers(2, 12), st.integers(1, 9), st.integers(1, 5), st.booleans(), st.integers(0, 999),
    st.sampled_from([torch.float32, torch.float64]), st.sampled_from([3, 4, 2048]),
)  # fmt: skip
@settings(max_examples=150)
def test_the_selection_is_the_median(n, m, d, whole, seed, dtype, block) -> None:
    """Small integers (many ties) and real numbers, within and between, over several blocks."""
    generator = torch.Generator().manual_seed(seed)
    new = lambda k: torch.randn(k, d, generator=generator, dtype=dtype)  # noqa: E731
    u, v = new(n), new(m)
    if whole:
        u, v = u.mul(2).round() + 0.25, v.mul(2).round() + 0.25
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(angles, "BLOCK", block)
        for other in (None, v):
            found = median_angle(u, other)
            tolerance = 1.5e-3 if dtype == torch.float32 else 1e-7  # of arccos at 1
            assert found.angle.value == pytest.approx(brute(u, other), abs=tolerance)
            assert found.angle.kind == "exact"
            assert found.pairs == (n * (n - 1) // 2 if other is None else n * m)


@given(st.integers(1, 400), st.integers(0, 999), st.sampled_from([np.float32, np.float64]))
@settings(max_examples=60)
def test_any_rank_is_selected_to_the_bit(n: int, seed: int, kind: type) -> None:
    """Signed zeros, tiny and repeated cosines included."""
    random = np.random.default_rng(seed)
    values = random.choice([0.0, -0.0, 1e-30, -1e-30, 0.5, -1, 1], n) * random.choice([1.0, random.random()], n)
    values = values.astype(kind)
    dtype = torch.float32 if kind == np.float32 else torch.float64
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(angles, "_cosine_blocks", lambda *_: iter([values[: n // 2], values[n // 2 :]]))
        ranks = (0, n // 2, n - 1)
        assert angles._select(torch.empty(0, dtype=dtype), None, *ranks) == np.sort(values)[list(ranks)].tolist()


def test_products_that_are_not_reproducible_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than a median of nothing."""
    passes = iter([0.5, 0.25])
    monkeypatch.setattr(angles, "_cosine_blocks", lambda *_: iter([np.full(1035, next(passes), np.float32)]))
    with raises(RuntimeError, "two passes", "exact_up_to=0"):
        median_angle(torch.randn(46, 3))


@pytest.mark.parametrize("between", [False, True])
def test_the_sampled_interval_covers_the_exact_median(between: bool) -> None:
    """As often as it says: 90 % or more, of 200 samples (4 deviations allowed)."""
    torch.manual_seed(0)
    u, v = torch.randn(80, 5) + 1, torch.randn(50, 5)
    other = v if between else None
    exact = median_angle(u, other).angle.value
    hits = 0
    for seed in range(200):
        found = median_angle(u, other, exact_up_to=10, samples=301, confidence=0.9, seed=seed)
        assert found.interval is not None
        assert found.angle.kind == "heuristic"
        assert found.pairs == (4000 if between else 3160)
        hits += found.interval[0] <= exact <= found.interval[1]
    assert hits >= 200 * 0.9 - 4 * math.sqrt(200 * 0.09)


def test_a_sample_too_small_for_its_confidence_says_nothing() -> None:
    """The interval is then all angles."""
    assert median_angle(torch.randn(9, 2), exact_up_to=0, samples=3).interval == (0.0, math.pi)


def test_vectors_without_a_direction_are_counted() -> None:
    """Dead features, overflowed ones; the smallest and the largest numbers have a direction."""
    rows = [[0.0, 0.0], [1e-300, 0.0], [0.0, 1e300], [math.nan, 1.0], [math.inf, 1.0]]
    found = median_angle(torch.tensor(rows, dtype=torch.float64))
    assert (found.unusable, found.pairs, found.angle.value) == (3, 1, math.pi / 2)
    for dead, of in ((median_angle(torch.zeros(5, 2)), 5), (median_angle(torch.zeros(5, 2), torch.ones(4, 2)), 9)):
        told = dead.to_dict()
        says(str(told.pop("note")), "no pair", f"5 of {of}")
        assert told == {"value": "nan", "kind": "exact", "pairs": 0, "unusable": 5}
    assert median_angle(torch.ones(1, 2)).pairs == 0


def test_within_and_between_the_classes() -> None:
    """Each by its labels, JSON-safe."""
    features = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]], dtype=torch.float64)
    found = class_angles(features, torch.tensor([7, 7, 3, 3]))
    assert {label: angle.angle.value for label, angle in found.within.items()} == {3: 0, 7: 0}
    assert {pair: angle.angle.value for pair, angle in found.between.items()} == {(3, 7): math.pi / 2}
    assert set(json.loads(json.dumps(found.to_dict(), allow_nan=False))["between"]) == {"3,7"}


class Wrapped(nn.Module):
    """As a study wraps a network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Call it."""
        return self.network(x - 0.5)


PLAIN = nn.Sequential(
    nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(),
    nn.Flatten(), nn.Linear(64, 2),
)  # fmt: skip


@pytest.mark.parametrize(
    ("model", "layers"),
    [
        (lambda: timm.create_model("preresnet20", width=4), ["stages.0", "stages.1", "stages.2", "penultimate"]),
        (
            lambda: timm.create_model("resnet18"),
            ["act1", "layer1", "layer2", "layer3", "layer4", "penultimate"],
        ),
        (
            lambda: Wrapped(timm.create_model("zerosnet20_opt", width=4)),
            ["network.stages.0", "network.stages.1", "network.stages.2", "penultimate"],
        ),
        (lambda: PLAIN, ["1", "4", "penultimate"]),
    ],
)
def test_the_layers_before_each_downsampling(model, layers: list[str]) -> None:
    """Ours, timm's, one inside a wrapper, and any other."""
    network = model()
    x = torch.randn(2, 3, 8, 8) if network is PLAIN else torch.randn(2, 3, 32, 32)
    assert feature_layers(network, x) == layers


def test_a_callback_records_the_layers_of_each_epoch() -> None:
    """JSON-safe; the network is as it was; the features are those of evaluation mode."""
    model = timm.create_model("preresnet20", width=4, num_classes=3).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    images, labels = torch.randn(12, 3, 8, 8), torch.arange(12) % 3
    record = PrincipalAngles(images, labels, {"batch_size": 5})
    for epoch in (1, 2):
        record(model, epoch)
    assert [entry["epoch"] for entry in json.loads(json.dumps(record.history, allow_nan=False))] == [1, 2]
    assert record.history[0]["layers"] == record.history[1]["layers"]
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with torch.no_grad():
        features = model.eval().forward_head(model.forward_features(images), pre_logits=True)
    expected = class_angles(features, labels).within[0].angle.value
    assert record.history[0]["layers"]["penultimate"]["within"]["0"]["value"] == pytest.approx(expected, abs=1e-3)
    pooled = layer_angles(model, images, labels, ["stages.1"], vectors="pooled")
    assert list(pooled) == ["stages.1"]


@pytest.mark.parametrize(
    ("call", "facts"),
    [
        (lambda: median_angle(torch.ones(3, 2).half()), ("vectors", "got (3, 2)", "torch.float16")),
        (lambda: median_angle(torch.ones(3, 2), torch.ones(3, 4)), ("same length", "(3, 2)", "(3, 4)")),
        (lambda: median_angle(torch.ones(3, 2), samples=0), ("samples >= 1",)),
        (lambda: class_angles(torch.ones(3, 2), torch.ones(2)), ("label", "3 features", "(2,)")),
        (lambda: layer_angles(PLAIN, torch.ones(2, 3, 8, 8), torch.ones(3)), ("label", "2 images", "(3,)")),
        (
            lambda: layer_angles(PLAIN, torch.ones(2, 3, 8, 8), torch.ones(2), vectors="all"),
            ("'flat' or 'pooled'", "'all'"),
        ),
        (lambda: layer_angles(PLAIN, torch.ones(2, 3, 8, 8), torch.ones(2), ["layer9"]), ("layer9", "Sequential")),
        (lambda: outputs(nn.Identity(), torch.ones(1), ["penultimate"]), ("Identity", "no classifier")),
        (lambda: feature_layers(nn.Linear(2, 2), torch.ones(1, 2)), ("Linear", "feature map")),
    ],
)
def test_what_cannot_be_done_is_said(call, facts: tuple[str, ...]) -> None:
    """Expected, got, what to do."""
    with raises(ValueError, *facts):
        call()
