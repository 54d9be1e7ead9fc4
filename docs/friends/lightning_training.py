"""Training with Lightning, of a network whose weights are projected after every step of the optimizer."""

import lightning
import timm
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import stabzoo  # noqa: F401 -- timm has the models
from stabzoo.data.loading import load_images
from stabzoo.data.spec import DIGITS


class Digits(lightning.LightningModule):
    """ResNet-S in its certified form; ``constrain`` projects whenever the optimizer has taken a step."""

    def __init__(self) -> None:
        super().__init__()
        self.model = timm.create_model("stable_resnet_s11_cert", width=8, img_size=16, in_chans=1)

    def training_step(self, batch: list[Tensor]) -> Tensor:
        """The loss of a batch."""
        loss = nn.functional.cross_entropy(10 * self.model(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """With the projection behind it."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        self.model.constrain(optimizer)
        return optimizer


lightning.seed_everything(0, verbose=False)
images = load_images(DIGITS)
loader = DataLoader(TensorDataset(images.train - 0.3, images.train_labels), batch_size=64, shuffle=True)
digits = Digits()
trainer = lightning.Trainer(
    max_epochs=3,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_model_summary=False,
    enable_progress_bar=False,
)
trainer.fit(digits, loader)
with torch.inference_mode():
    accuracy = (digits.model.eval()(images.test - 0.3).argmax(1) == images.test_labels).float().mean()
kept = digits.model.constraints()
print(f"{accuracy:.1%} right after {trainer.global_step} steps, {len(kept)} weights within their bounds")
assert accuracy > 0.5
for name, constraint in kept.items():
    weight = digits.model.get_parameter(name)
    assert torch.equal(constraint.project(weight), weight), name
