"""LoRA fine-tuning with peft: a network of digits learns to tell odd digits from even ones by adapters alone."""

import timm
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

import stabzoo  # noqa: F401 -- timm has the models
from stabzoo.data.loading import load_images
from stabzoo.data.spec import DIGITS

torch.manual_seed(0)
images = load_images(DIGITS)  # pixels in 0..1, as these weights take them but for mean and deviation
model = timm.create_model("zerosnet20_opt.digits", pretrained=True, num_classes=2)
mean, std = model.pretrained_cfg["mean"][0], model.pretrained_cfg["std"][0]
train, test = (images.train - mean) / std, (images.test - mean) / std

layers = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
adapted = get_peft_model(model, LoraConfig(r=4, target_modules=layers, modules_to_save=["head.fc"]))
trained = [p for p in adapted.parameters() if p.requires_grad]
print(f"{sum(p.numel() for p in trained)} of {sum(p.numel() for p in model.parameters())} parameters are trained")

optimizer = torch.optim.AdamW(trained, lr=5e-3)
for batch in torch.randperm(len(train)).split(64):
    loss = nn.functional.cross_entropy(adapted(train[batch]), images.train_labels[batch] % 2)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

adapted.eval()
with torch.inference_mode():
    scores = adapted(test)
    merged = adapted.merge_and_unload()(test)  # an ordinary network again
accuracy = (merged.argmax(1) == images.test_labels % 2).float().mean()
print(f"odd or even: {accuracy:.1%} right, merged {(merged - scores).abs().max():.1e} from unmerged")
assert accuracy > 0.9
assert (merged - scores).abs().max() < 1e-3
