"""Attributions with captum: Grad-CAM of a stage, and integrated gradients, which add up to the difference of scores."""

import timm
import torch
from captum.attr import IntegratedGradients, LayerGradCam

import stabzoo  # noqa: F401 -- timm has the models
from stabzoo.data.loading import load_images
from stabzoo.data.spec import DIGITS

images = load_images(DIGITS)
model = timm.create_model("zerosnet20_opt.digits", pretrained=True).eval()
x = (images.test[:8] - model.pretrained_cfg["mean"][0]) / model.pretrained_cfg["std"][0]
labels = images.test_labels[:8]

maps = LayerGradCam(model, model.stages[1]).attribute(x, target=labels)  # a stage hands out its feature map
print("Grad-CAM:", tuple(maps.shape))
assert maps.shape == (8, 1, 8, 8)
assert maps.abs().amax((1, 2, 3)).min() > 0

background = x.amin().expand_as(x)
shares, error = IntegratedGradients(model).attribute(
    x, background, target=labels, n_steps=64, internal_batch_size=128, return_convergence_delta=True
)
with torch.inference_mode():
    chosen = torch.arange(8), labels
    gained = model(x)[chosen] - model(background)[chosen]
print(f"integrated gradients: {error.abs().max():.2e} missing of {gained.abs().max():.1f}")
assert error.abs().max() < 0.05 * gained.abs().max()
assert (shares.flatten(1).sum(1) - gained).abs().max() < 0.05 * gained.abs().max()
