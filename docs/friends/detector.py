"""Faster R-CNN on a feature pyramid over one of our backbones: a few steps on images with one bright square each."""

from collections import OrderedDict

import timm
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

import stabzoo  # noqa: F401 -- timm has the models


class Backbone(nn.Module):
    """Features of strides 4 to 32, each with 32 channels, by their names."""

    out_channels = 32

    def __init__(self, name: str) -> None:
        super().__init__()
        self.body = timm.create_model(name, width=8, features_only=True, out_indices=(1, 2, 3, 4))
        channels = self.body.feature_info.channels()
        self.pyramid = FeaturePyramidNetwork(channels, self.out_channels, LastLevelMaxPool())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Images -> features."""
        return self.pyramid(OrderedDict((str(i), feature) for i, feature in enumerate(self.body(x))))


def scenes(count: int) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Grey images with a bright square, and where it is."""
    images, targets = [], []
    for x, y in torch.randint(8, 56, (count, 2)).tolist():
        image = 0.4 + 0.05 * torch.randn(3, 128, 128)
        image[:, y : y + 48, x : x + 48] += 0.5
        images.append(image)
        targets.append({"boxes": torch.tensor([[x, y, x + 48.0, y + 48.0]]), "labels": torch.tensor([1])})
    return images, targets


torch.manual_seed(0)
detector = FasterRCNN(Backbone("zerosnet18_opt"), num_classes=2, min_size=128, max_size=128)
optimizer = torch.optim.AdamW(detector.parameters(), lr=2e-3)
losses = []
for _ in range(8):
    loss = sum(detector(*scenes(4)).values())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
found = detector.eval()(scenes(1)[0])[0]
print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}, boxes {tuple(found['boxes'].shape)}")
assert sum(losses[-2:]) < 0.7 * sum(losses[:2])
assert all(p.grad is not None for p in detector.backbone.body.model.stages.parameters())
