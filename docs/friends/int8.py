"""int8 by torchao's pt2e: every convolution is quantized, and the accuracy stays."""

import timm
import torch
import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer as x86
from torch import nn
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

import stabzoo  # noqa: F401 -- timm has the models
from stabzoo.data.loading import load_images
from stabzoo.data.spec import DIGITS

images = load_images(DIGITS)
model = timm.create_model("preresnet20.digits", pretrained=True).eval()
mean, std = model.pretrained_cfg["mean"][0], model.pretrained_cfg["std"][0]
test, calibration = (images.test - mean) / std, (images.train[:128] - mean) / std

batch = torch.export.Dim("batch", min=2)
exported = torch.export.export(model, (calibration,), dynamic_shapes=({0: batch},)).module()
quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
prepared = prepare_pt2e(exported, quantizer)
prepared(calibration)
quantized = convert_pt2e(prepared)

convolutions = [node for node in quantized.graph.nodes if "conv2d" in str(node.target)]
int8 = [node for node in convolutions if all("dequantize" in str(given.target) for given in node.args[:2])]
with torch.inference_mode():
    accuracy, before = ((m(test).argmax(1) == images.test_labels).float().mean() for m in (quantized, model))
print(f"{len(int8)} convolutions in int8; {accuracy:.1%} right, {before:.1%} before")
assert len(int8) == len(convolutions) == sum(isinstance(m, nn.Conv2d) for m in model.modules())
assert accuracy > before - 0.02
