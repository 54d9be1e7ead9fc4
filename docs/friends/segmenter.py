"""A segmenter on a dilated backbone: every pixel of an image is inside the bright disc, or outside."""

import timm
import torch
from torch import Tensor, nn

import stabzoo  # noqa: F401 -- timm has the models


class Segmenter(nn.Module):
    """A 1x1 convolution over features of stride 8, with the resolution of the images."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.body = timm.create_model(name, width=8, features_only=True, output_stride=8, out_indices=(4,))
        self.head = nn.Conv2d(self.body.feature_info.channels()[-1], 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Images -> scores of every pixel."""
        return nn.functional.interpolate(self.head(self.body(x)[0]), x.shape[2:], mode="bilinear")


def scenes(count: int) -> tuple[Tensor, Tensor]:
    """Noise with a bright disc, and its pixels."""
    middle, radius = 16 + 32 * torch.rand(count, 2, 1, 1), 8 + 12 * torch.rand(count, 1, 1)
    grid = torch.stack(torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij"))
    inside = (grid - middle).square().sum(1) < radius**2
    return 0.3 * torch.randn(count, 3, 64, 64) + inside[:, None], inside.long()


torch.manual_seed(0)
segmenter = Segmenter("zerosnet18_opt")
optimizer = torch.optim.AdamW(segmenter.parameters(), lr=3e-3)
for _ in range(40):
    images, inside = scenes(8)
    loss = nn.functional.cross_entropy(segmenter(images), inside)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

images, inside = scenes(16)
with torch.inference_mode():
    found = segmenter.eval()(images).argmax(1)
overlap = (found & inside).sum() / (found | inside).sum()
print(f"intersection over union {overlap:.2f}")
assert overlap > 0.6
