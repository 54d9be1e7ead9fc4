"""ONNX Runtime: one file for batches of any number, with the scores of the network."""

import tempfile
from pathlib import Path

import onnxruntime
import timm
import torch

import stabzoo  # noqa: F401 -- timm has the models
from stabzoo.data.loading import load_images
from stabzoo.data.spec import DIGITS

images = load_images(DIGITS)
model = timm.create_model("zerosnet20_opt.digits", pretrained=True, exportable=True).eval()
test = (images.test - model.pretrained_cfg["mean"][0]) / model.pretrained_cfg["std"][0]

file = Path(tempfile.mkdtemp()) / "digits.onnx"
torch.onnx.export(
    model,
    (test[:2],),
    file,
    dynamo=True,
    verbose=False,
    input_names=["images"],
    output_names=["scores"],
    dynamic_shapes=({0: torch.export.Dim("batch")},),
)
session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
for count in (1, 2, 7, len(test)):
    (scores,) = session.run(["scores"], {"images": test[:count].numpy()})
    with torch.inference_mode():
        torch.testing.assert_close(torch.from_numpy(scores), model(test[:count]), rtol=1e-3, atol=1e-3)
accuracy = (torch.from_numpy(scores).argmax(1) == images.test_labels).float().mean()
print(f"{file.stat().st_size} bytes, {accuracy:.1%} right")
assert accuracy > 0.95
