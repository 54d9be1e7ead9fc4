"""Data, noise and training: what they are defined to be, and that they repeat to the last bit."""

import math

import pytest
import torch
from torch import nn

from stabzoo.data.images import InMemoryDataset
from stabzoo.data.loading import load_images
from stabzoo.data.spec import Digits
from stabzoo.evaluation.accuracy import accuracy, training_accuracy
from stabzoo.evaluation.spec import Clean, Constant, Evaluation, Gaussian, Uniform
from stabzoo.study.execution.networks import build
from stabzoo.study.spec import Run
from stabzoo.training.loop import Trainer, batches_of
from stabzoo.training.networks import weights_sha256
from stabzoo.training.normalized import NormalizedModel
from stabzoo.training.spec import Training

DIGITS = Digits(name="digits", size=16, test_images=540, split_seed=0)
FEW = Digits(name="digits", size=8, test_images=1697, split_seed=0)
TRAINING = Training(
    epochs=1, batch_size=33, optimizer="momentum", lr=0.1, momentum=0.9, weight_decay=0.0005, schedule="one-cycle"
)
GREY = torch.full((200, 1, 16, 16), 0.5)

pytestmark = pytest.mark.usefixtures("one_thread")


def tiny_run(seed: int = 0) -> Run:
    """A run of about a tenth of a second."""
    return Run(
        model="zerosnet20", args={"lam": "-9/5", "width": 4}, data=FEW, training=TRAINING, seed=seed, software={}
    )


def perturb(pixels: torch.Tensor, evaluation: Evaluation) -> torch.Tensor:
    """The pixels a network is tested on, where ``pixels`` are all test images."""
    labels, one = torch.zeros(len(pixels), dtype=torch.long), torch.ones(1, 1, 1)
    images = InMemoryDataset(pixels, labels, pixels, labels, 10, one, one)
    return evaluation.perturbation(images)(nn.Identity(), pixels, labels)


def test_digits_are_split_by_class_and_lie_between_0_and_1():
    """1257 / 540 images of 16x16 pixels, every class in the same proportion."""
    images = load_images(DIGITS)
    assert images.train.shape == (1257, 1, 16, 16)
    assert images.test.shape == (540, 1, 16, 16)
    assert (images.train.min(), images.train.max()) == (0, 1)
    shares = torch.bincount(images.train_labels) / 1257 - torch.bincount(images.test_labels) / 540
    assert shares.abs().max() < 0.002
    normalised = (images.train - images.mean) / images.std
    torch.testing.assert_close(
        torch.stack([normalised.mean(), normalised.std()]), torch.tensor([0.0, 1.0]), atol=1e-5, rtol=0
    )


def test_native_size_is_the_scan_itself():
    """At 8x8 no pixel is touched, and no image is in both parts."""
    images = load_images(FEW)
    assert torch.equal(images.train * 16, (images.train * 16).round())
    assert len(torch.unique(torch.cat([images.train, images.test]), dim=0)) == 1797


def test_another_split_seed_is_another_split():
    """The split depends on its seed."""
    other = load_images(DIGITS.model_copy(update={"split_seed": 1}))
    assert not torch.equal(load_images(DIGITS).test, other.test)


def test_noise_is_what_the_papers_define():
    """Clean, Gaussian, uniform and constant noise on a grey image, where nothing is clipped."""
    assert perturb(GREY, Clean(kind="clean")) is GREY
    assert torch.equal(perturb(GREY, Constant(kind="constant", mu=0.25)), GREY + 0.25)
    gaussian = perturb(GREY, Gaussian(kind="gaussian", sigma=0.05, seed=1)) - GREY
    assert gaussian.mean().item() == pytest.approx(0, abs=0.001)
    assert gaussian.std().item() == pytest.approx(0.05, rel=0.01)
    uniform = perturb(GREY, Uniform(kind="uniform", low=-0.4, high=0.1, seed=1)) - GREY
    assert -0.4 <= uniform.min() < -0.399
    assert 0.099 < uniform.max() <= 0.1
    assert uniform.mean().item() == pytest.approx(-0.15, abs=0.005)


@pytest.mark.parametrize(
    "evaluation",
    [
        Gaussian(kind="gaussian", sigma=2, seed=1),
        Uniform(kind="uniform", low=-1, high=1, seed=1),
        Constant(kind="constant", mu=0.7),
        Constant(kind="constant", mu=-0.7),
    ],
    ids=lambda evaluation: evaluation.title,
)
def test_noise_is_clipped_and_repeats(evaluation: Gaussian | Uniform | Constant):
    """Noisy pixels stay in [0, 1]; the same seed is the same noise, whatever else was drawn."""
    noisy = perturb(GREY, evaluation)
    assert noisy.min() >= 0
    assert noisy.max() <= 1
    torch.rand(7)
    assert torch.equal(noisy, perturb(GREY, evaluation))


def test_accuracy_counts_over_all_batches():
    """A network that reads the label off the first pixel is right where we say so, in every batch."""

    class FirstPixel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))  # which says where it is

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.one_hot(x[:, 0, 0, 0].long(), 10).float()

    labels = torch.arange(600) % 10
    images = labels.float().reshape(-1, 1, 1, 1)
    shifted = (labels + (torch.arange(600) < 60).long()) % 10
    for truth, expected in ((labels, 100), (shifted, 90)):
        held = InMemoryDataset(images, truth, images, truth, 10, torch.zeros(1, 1, 1), torch.ones(1, 1, 1))
        assert accuracy(FirstPixel(), held) == expected
        assert training_accuracy(FirstPixel(), held) == expected


def test_network_gets_normalised_pixels():
    """The data's mean is zero to the network, one standard deviation is one."""
    images = load_images(DIGITS)
    pixels = torch.cat([images.mean, images.mean + images.std])
    torch.testing.assert_close(NormalizedModel(nn.Identity(), images)(pixels).flatten(), torch.tensor([0.0, 1.0]))


def test_order_is_a_permutation_of_seed_and_epoch_alone():
    """Every image once per epoch; another epoch or seed is another order; no state in between."""
    order = torch.cat(batches_of(100, 32, seed=3, epoch=1))
    assert torch.equal(order.sort().values, torch.arange(100))
    assert torch.equal(order, torch.cat(batches_of(100, 32, seed=3, epoch=1)))
    assert not torch.equal(order, torch.cat(batches_of(100, 32, seed=3, epoch=2)))
    assert not torch.equal(order, torch.cat(batches_of(100, 32, seed=4, epoch=1)))


@pytest.mark.parametrize(("count", "sizes"), [(64, [32, 32]), (65, [32, 33]), (66, [32, 32, 2]), (1, [1])])
def test_no_batch_of_one(count: int, sizes: list[int]):
    """Batch norm refuses a single value; the last image joins the batch before."""
    assert [len(batch) for batch in batches_of(count, 32, seed=0, epoch=0)] == sizes


def test_training_repeats_to_the_last_bit():
    """The same run gives the same weights, whatever the global random state; another seed gives others."""
    hashes: list[str] = []
    for seed in (0, 0, 1):
        network = build(tiny_run(seed), load_images(FEW))
        torch.rand(5)
        trained = Trainer(network, load_images(FEW), TRAINING, seed).run()
        assert not trained.diverged
        hashes.append(weights_sha256(network))
    assert hashes[0] == hashes[1] != hashes[2]


def test_training_learns():
    """The loss falls well below that of guessing, log 10."""
    training = TRAINING.model_copy(update={"epochs": 20})
    trained = Trainer(build(tiny_run(), load_images(FEW)), load_images(FEW), training, seed=0).run()
    assert len(trained.losses) == 20
    assert trained.losses[-1] < 0.6 * math.log(10)


def test_divergence_is_a_result():
    """A loss that overflows ends the training with what there is, and the network can still be tested."""
    network = build(tiny_run(), load_images(FEW))
    trained = Trainer(network, load_images(FEW), TRAINING.model_copy(update={"lr": 1e30}), seed=0).run()
    assert trained.diverged
    assert trained.losses == ()
    images = load_images(FEW)
    found = accuracy(network, images)
    assert 0 <= found <= 100
