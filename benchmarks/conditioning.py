"""The formula of Lemma 1 beside the true condition numbers: preresnet20 before and after a training, timm's resnet18.

    OMP_NUM_THREADS=1 python benchmarks/conditioning.py [figure.png]

Inputs are scikit-learn's digits at 32x32, the test set's first image; evaluation mode, float64. The training is 3 epochs
on the 1497 training images. timm's resnet18 has zero_init_last=False: by default its branches start at zero.
"""

import sys
import time

import timm
import torch
from torch import nn

from stabzoo.data.loading import load_images
from stabzoo.data.spec import Digits
from stabzoo.diagnostics.conditioning.blocks import BlockConditioning, module_conditioning
from stabzoo.diagnostics.conditioning.condition_number import Condition
from stabzoo.diagnostics.report.figures import conditioning_figure
from stabzoo.training.loop import Trainer
from stabzoo.training.normalized import NormalizedModel
from stabzoo.training.spec import Training


def text(condition: Condition) -> str:
    """The value, how it was found, and the larger residual."""
    kind = condition.value.kind
    residual = f", {max(condition.residuals):.0e}" if kind != "exact" else ""
    return f"{condition.value.value:.4g} ({kind}{residual})"


def table(title: str, network: nn.Module, image: torch.Tensor) -> list[BlockConditioning]:
    """Print one network's blocks as a Markdown table."""
    print(f"\n| {title} | dimensions | formula | linear map | Jacobian | CPU s |\n|---|---|---|---|---|---|")
    found = []
    for name in [name for name, module in network.named_modules() if type(module).__name__ in ("Block", "BasicBlock")]:
        start = time.process_time()
        (block,) = module_conditioning(network, image, [name])
        seconds = time.process_time() - start
        shape = "x".join(map(str, block.linear.shape))
        print(
            f"| {name} | {shape} | {block.formula.value:.4g} | {text(block.linear)} | {text(block.jacobian)} | {seconds:.1f} |",
            flush=True,
        )
        found.append(block)
    return found


def main() -> None:
    """Three tables; the trained network's figure where a path is given."""
    images = load_images(Digits(name="digits", size=32, test_images=300, split_seed=0))
    torch.manual_seed(0)
    network = NormalizedModel(timm.create_model("preresnet20", in_chans=1, num_classes=images.classes), images)
    image = network.normalise(images.test[:1])
    table("preresnet20, He initialisation", network.network, image)
    recipe = Training(
        epochs=3, batch_size=32, optimizer="sgd", lr=0.1, momentum=0.9, weight_decay=1e-4, schedule="one-cycle"
    )
    Trainer(network, images, recipe, seed=0).run()
    network.eval()
    with torch.no_grad():
        right = (network(images.test).argmax(1) == images.test_labels).float().mean().item()
    blocks = table(f"preresnet20, trained, accuracy {right:.3f}", network.network, image)
    if sys.argv[1:]:
        conditioning_figure(blocks, "preresnet20 after 3 epochs on digits").savefig(sys.argv[1])
    torch.manual_seed(0)
    model = timm.create_model("resnet18", in_chans=1, num_classes=10, zero_init_last=False)
    table("timm resnet18, random weights", model, image)


if __name__ == "__main__":
    main()
