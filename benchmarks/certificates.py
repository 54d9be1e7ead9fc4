"""Certified bounds against attacks: is one ever exceeded, and how tight are they?

    python benchmarks/certificates.py [--evaluations 1000000] [--seed 0]
    python benchmarks/certificates.py --tightness [--epochs 60] [--pool-cap 0.5] [--iterations 100]

The first attacks random networks of tiny width (ResNet-D, ResNet-S with patches and flat heads, with means, and with batch norms, the
1-Lipschitz families, multistep networks, plain stacks of convolutions, timm's ResNet and mobile blocks, stacks of activations, paddings of
every kind and resamplings, normalising wrappers; images of 1, 2, 4, 7 and 8 pixels a side; random batch norm statistics, signs included;
kernels from random, rotation and Laplacian ones) until that many evaluations are spent, and prints by kind the largest quotient found /
certified bound. Each whole network and each of its blocks alone is attacked. An evaluation is one image through the network (or block)
once, forward, or once through a product with its Jacobian or the transpose.

The second trains one stable_resnet_s11_cert, with the paper's poolings, on digits at 16x16, projected after every step, and prints certified, attacked, and their
quotient. It exits with 1 if a bound is exceeded.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator

import timm
import torch
import torch.nn.functional as F
from timm.layers import BatchNormAct2d
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from timm.models import _efficientnet_blocks as blocks
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn
from torchvision.transforms import Normalize

import stabzoo  # noqa: F401  (registers the models)
from stabzoo.diagnostics.attack import sensitivity_attack
from stabzoo.diagnostics.bounds.network import forward_bounds
from stabzoo.networks.staged import StagedNetwork

KINDS: dict[str, tuple[str, dict[str, str], int, tuple[int, ...]]] = {
    "ResNet-S, certified form": ("stable_resnet_s11_cert", {}, 3, (8, 4)),
    "ResNet-S, certified form with means": (
        "stable_resnet_s11_cert",
        {"downsampling": "mean", "global_pool": "avg"},
        3,
        (8, 4),
    ),
    "CPL": ("cpl_resnet11", {}, 3, (8, 4)),
    "SLL": ("sll_resnet11", {}, 3, (8, 4)),
    "AOL": ("aol_net11", {}, 4, (8, 4)),
    "Sandwich": ("sandwich_net11", {}, 3, (8, 4)),
    "ResNet-S, batch norms": ("stable_resnet_s11", {}, 3, (8, 4)),
    "ResNet-D": ("stable_resnet_d18", {}, 3, (8, 4)),
    "ResNet, post-activation": ("postresnet20", {}, 3, (8, 7, 4, 2, 1)),
    "ZeroSNet": ("zerosnet20_opt", {}, 2, (8, 4)),
    "ZeroSNet, trained lambda": ("zerosnet20_tra", {}, 2, (8, 4)),
    "LM-ResNet": ("lmresnet20", {}, 2, (8, 4)),
    "plain stack": ("", {}, 3, (8, 7, 4, 2, 1)),
    "timm's ResNet, basic blocks and bottlenecks": ("", {}, 2, (8, 7)),
    "timm's mobile blocks": ("", {}, 2, (8, 5)),
    "activations": ("", {}, 3, (8, 5, 2)),
    "paddings and resamplings": ("", {}, 2, (8, 4)),
    "normalisation around ResNet-S": ("", {}, 2, (4,)),
}
"""Registered name, its options, width and sides of the images; or one of `STACKS`."""


SIZED = ("stable", "cpl", "sll", "aol", "sandwich")
"""What the names of models begin with that are built for one size of images."""


class Alone(nn.Module):
    """One block of a one-step network, image in, image out."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """The new state."""
        return self.block(x)


def plain(width: int, generator: torch.Generator) -> nn.Module:
    """Zero-padded and periodic convolutions, norms, poolings."""
    mode = "circular" if torch.rand((), generator=generator) < 0.5 else "zeros"
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1, padding_mode=mode),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(width, width, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 4),
    )


def residual(width: int, generator: torch.Generator) -> nn.Module:
    """Timm's ResNet, narrow, of all its plain blocks."""
    kinds = [BasicBlock, Bottleneck, Bottleneck, BasicBlock]
    order = torch.randperm(4, generator=generator).tolist()
    chosen = [kinds[i] for i in order]
    return ResNet(chosen, (1, 1, 1, 1), num_classes=4, channels=(width,) * 4, stem_width=width)  # type: ignore[arg-type]


def activated(width: int, generator: torch.Generator) -> nn.Module:
    """Two of the activations between linear maps, near the arguments where their slope is largest."""
    kinds = [
        nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.LeakyReLU(-1.5), nn.ELU(1.7), nn.Hardswish(), nn.PReLU(init=1.2), nn.Sigmoid(),
    ]  # fmt: skip
    first, second = (kinds[i] for i in torch.randint(len(kinds), (2,), generator=generator).tolist())
    return nn.Sequential(nn.Conv2d(3, width, 1), first, nn.BatchNorm2d(width), second, nn.Flatten(1), nn.LazyLinear(4))


def padded(width: int, generator: torch.Generator) -> nn.Module:
    """Reflect, replicate and "same" padding, a transposed convolution, space to depth, means, linear layers on images."""
    mode = ("reflect", "replicate")[int(torch.randint(2, (), generator=generator))]
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1, padding_mode=mode),
        nn.ReLU(),
        Conv2dSame(width, width, 3, stride=2),
        nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1),
        nn.PixelUnshuffle(2),
        nn.AdaptiveAvgPool2d((2, 2)),
        nn.Linear(2, 3),
    )


def mobile(width: int, generator: torch.Generator) -> nn.Module:
    """Timm's blocks of depthwise and pointwise convolutions, with poolings that pad as they do."""
    act = (nn.ReLU6, nn.SiLU, nn.Hardswish)[int(torch.randint(3, (), generator=generator))]
    return nn.Sequential(
        blocks.ConvBnAct(3, width, 3, act_layer=act),
        blocks.DepthwiseSeparableConv(width, width, act_layer=act),
        (AvgPool2dSame if torch.rand((), generator=generator) < 0.5 else MaxPool2dSame)(3, 2),
        blocks.InvertedResidual(width, width, exp_ratio=2.0, pad_type="same", act_layer=act),
        blocks.EdgeResidual(width, width, exp_ratio=2.0, act_layer=act),
        blocks.UniversalInvertedResidual(
            width, width, dw_kernel_size_start=3, exp_ratio=2.0, act_layer=act, layer_scale_init_value=0.5
        ),
        BatchNormAct2d(width, act_layer=act),
        nn.Flatten(),
    )


def wrapped(width: int, generator: torch.Generator) -> nn.Module:
    """A certified network behind the normalisation of its pixels."""
    std = (0.2 + torch.rand(3, generator=generator)).tolist()
    return nn.Sequential(
        Normalize([0.5, 0.4, 0.3], std),
        timm.create_model("stable_resnet_s11_cert", width=width, num_classes=4, img_size=4),
    )


STACKS = {
    "plain stack": plain,
    "timm's ResNet, basic blocks and bottlenecks": residual,
    "timm's mobile blocks": mobile,
    "activations": activated,
    "paddings and resamplings": padded,
    "normalisation around ResNet-S": wrapped,
}


@torch.no_grad()
def scramble(model: nn.Module, generator: torch.Generator) -> None:
    """Random statistics, gains of both signs, biases; some kernels become rotations' or Laplacians, where a bound is attained."""
    rotation = torch.outer(torch.ones(3), torch.ones(3))
    laplacian = torch.outer(torch.tensor([-1.0, 2, -1]), torch.tensor([-1.0, 2, -1]))

    def uniform(low: float, high: float, like: Tensor) -> Tensor:
        return low + (high - low) * torch.rand(like.shape, generator=generator)

    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.copy_(uniform(0.05, 2, module.running_var))
            module.running_mean.copy_(uniform(-1, 1, module.running_mean))
            if module.affine:
                module.weight.copy_(
                    uniform(-0.5 if torch.rand((), generator=generator) < 0.3 else 0.1, 1.5, module.weight)
                )
                module.bias.copy_(uniform(-1, 1, module.bias))
        elif isinstance(module, nn.Conv2d):
            draw = float(torch.rand((), generator=generator))
            if draw < 0.3 and module.kernel_size == (3, 3):
                eye = torch.zeros(module.weight.shape[:2])
                eye.fill_diagonal_(1)
                module.weight.copy_((rotation if draw < 0.15 else laplacian) * eye[..., None, None] * 0.2)
            if module.bias is not None:
                module.bias.copy_(uniform(-1, 1, module.bias))
        if getattr(module, "bias2", None) is not None:
            module.bias2.copy_(uniform(-1, 1, module.bias2))
        if type(module).__module__.startswith("stabzoo_lipschitz"):  # 1-Lipschitz whatever the weights are
            for parameter in module.parameters():
                size = 10 ** (2 * float(torch.rand((), generator=generator)) - 1)
                parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
    for module in model.modules():
        if hasattr(module, "post_step"):
            module.post_step()


def pairs(kind: str, generator: torch.Generator) -> Iterator[tuple[nn.Module, tuple[int, ...], float]]:
    """A random network of a kind and its blocks, each with the shape of its input and its bound."""
    name, options, width, sides = KINDS[kind]
    side = sides[int(torch.randint(len(sides), (), generator=generator))]
    if name:
        sized = {"img_size": side} if name.startswith(SIZED) else {}
        model = timm.create_model(name, width=width, num_classes=4, **sized, **options)
    else:
        model = STACKS[kind](width, generator).eval()
        model(torch.zeros(1, 3, side, side))  # lazy layers learn their sizes
    scramble(model, generator)
    model = model.double().eval()
    bounds = forward_bounds(model, (3, side, side), iterations=3)
    yield model, (3, side, side), bounds.sensitivity.value
    if not isinstance(model, StagedNetwork):
        return
    with torch.no_grad():
        state = model.stem_pool(model.stem(torch.zeros(1, 3, side, side, dtype=torch.float64)))
    for block in bounds.blocks:
        module = model.get_submodule(block.name)
        if block.name.startswith("stages") and hasattr(module, "bound"):
            yield Alone(module), tuple(state.shape[1:]), block.sensitivity
            with torch.no_grad():
                state = Alone(module)(state)


def violations(evaluations: int, seed: int) -> bool:
    """Print the table; whether any bound was exceeded."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    rows = {kind: [0, 0, 0.0, 0] for kind in KINDS}  # networks and blocks, evaluations, largest quotient, exceeded
    start, spent, i = time.perf_counter(), 0, 0
    while spent < evaluations:
        kind = list(KINDS)[i % len(KINDS)]
        for module, shape, bound in pairs(kind, generator):
            if not math.isfinite(bound):
                raise SystemExit(f"{kind}: no bound for {shape}")
            scale = 10 ** (3 * torch.rand(24, 1, 1, 1, generator=generator).double() - 1.5)
            starts = torch.randn(24, *shape, generator=generator).double() * scale
            whole = not isinstance(module, Alone)
            found = sensitivity_attack(
                module, starts, rounds=2 if whole else 1, power=6, ascent=20 if whole else 6, seed=i
            )
            row = rows[kind]
            row[0] += 1
            row[1] += found.evaluations
            row[2] = max(row[2], found.sensitivity.value / bound if bound else math.inf * found.sensitivity.value)
            row[3] += found.sensitivity.value > bound
            spent += found.evaluations
        i += 1
    print("| network | attacked | evaluations | largest attacked/certified | bounds exceeded |\n|---|---|---|---|---|")
    for kind, (count, evals, largest, exceeded) in rows.items():
        print(f"| {kind} | {count} | {evals} | {largest:.4f} | {exceeded} |")
    print(f"\n{spent} evaluations of {i} networks and their blocks, {time.perf_counter() - start:.0f} s")
    return any(row[3] for row in rows.values())


def digits(size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalised training and test images with labels."""
    from stabzoo.data.loading import load_images
    from stabzoo.data.spec import Digits

    data = load_images(Digits(name="digits", size=size, test_images=360, split_seed=0))
    train, test = ((x - data.mean) / data.std for x in (data.train, data.test))
    return train, data.train_labels, test, data.test_labels


def trained(epochs: int, pool_cap: float, seed: int) -> tuple[nn.Module, Tensor, float]:
    """A projected network, test images, accuracy.  The loss sees 100 times the logits: ||W|| <= 1 makes them small."""
    train, labels, test, test_labels = digits(16)
    torch.manual_seed(seed)
    model = timm.create_model(
        "stable_resnet_s11_cert", in_chans=1, img_size=16, downsampling="mean", pool_cap=pool_cap, global_pool="avg"
    )
    nn.init.orthogonal_(model.head.fc.weight)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("stages") and parameter.ndim == 4:
                parameter.mul_(0.5)  # nearer to the identity: at ||A||^2 = 2 a deep network passes little on
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(train)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(100 * model(train[batch]), labels[batch]).backward()
            optimizer.step()
            model.post_step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(test).argmax(1) == test_labels).double().mean().item()
    return model, test, accuracy


def tightness(epochs: int, pool_cap: float, iterations: int, seed: int) -> bool:
    """Print certified, attacked and their quotient; whether the bound was exceeded."""
    start = time.perf_counter()
    model, images, accuracy = trained(epochs, pool_cap, seed)
    print(
        f"trained: {epochs} epochs, pool cap {pool_cap}, seed {seed}, accuracy {accuracy:.3f}, {time.perf_counter() - start:.0f} s",
        flush=True,
    )
    start = time.perf_counter()
    bounds = forward_bounds(model, (1, 16, 16), iterations=iterations)
    product = math.prod(b.sensitivity for b in bounds.blocks)
    weight = torch.linalg.matrix_norm(model.head.fc.weight.detach().double(), 2).item()
    print(
        f"paper's formula {bounds.paper_sensitivity:.5g}, product {product:.5g}, certified {bounds.sensitivity.value:.5g} ({iterations} iterations, {time.perf_counter() - start:.0f} s); ||W|| {weight:.4g}",
        flush=True,
    )
    start = time.perf_counter()
    noise = [torch.randn(6, 1, 16, 16) * scale for scale in (0.1, 0.2, 0.4)]
    far = [torch.randn(2, 1, 16, 16) * scale for scale in (1e-3, 30)]
    starts = torch.cat([*noise, *far, images[:6], torch.full((1, 1, 16, 16), 20.0), torch.full((1, 1, 16, 16), -20.0)])
    found = sensitivity_attack(model, starts, rounds=5, power=8, ascent=60, seed=seed)
    quotient = bounds.sensitivity.value / found.sensitivity.value
    print(
        f"attacked {found.sensitivity.value:.5g} ({found.evaluations} evaluations, {time.perf_counter() - start:.0f} s); "
        f"certified/attacked {quotient:.3f}, product/attacked {product / found.sensitivity.value:.3f}, paper/attacked {bounds.paper_sensitivity / found.sensitivity.value:.2f}"
    )
    return found.sensitivity.value > bounds.sensitivity.value


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=1_000_000)
    parser.add_argument("--tightness", action="store_true")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--pool-cap", type=float, default=0.5)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.tightness:
        exceeded = tightness(options.epochs, options.pool_cap, options.iterations, options.seed)
    else:
        exceeded = violations(options.evaluations, options.seed)
    sys.exit(exceeded)


if __name__ == "__main__":
    main()
