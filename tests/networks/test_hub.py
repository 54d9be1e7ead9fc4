"""Networks saved in timm's layout come back as they were, and under other arguments."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models import save_for_hf

import stabzoo
from stabzoo.registry.loading import get_branch

ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("zerosnet20", {"lam": Fraction(5, 2)}),
    ("zerosnet20", {"lam": "5/2"}),
    ("zerosnet20", {"alpha": [Fraction(1, 3), Fraction(5, 9), Fraction(1, 9)], "beta": (Fraction(16, 9),)}),
    ("multistep20", {"alpha": (0.5, 0.5), "beta": (1.5,)}),
    ("implicit_resnet20", {"solver": stabzoo.SolverSettings(rtol=1e-4, fixed_iterations=3)}),
    ("zerosnet20_opt", {"branch": get_branch({"name": "se", "reduction": 4})}),
    ("zerosnet20_opt", {"branch": "se"}),
    ("stable_resnet_s11", {"img_size": (16, 16), "in_chans": 1}),
]


@pytest.mark.parametrize(("name", "arguments"), ARGUMENTS)
def test_every_argument_survives(tmp_path: Path, name: str, arguments: dict[str, Any]) -> None:
    """What was created is saved with its exact numbers and settings, and is created again."""
    model = timm.create_model(name, width=4, num_classes=3, **arguments).eval()
    save_for_hf(model, str(tmp_path), safe_serialization=True)
    again = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert again.scheme == model.scheme
    x = torch.randn(2, arguments.get("in_chans", 3), 16, 16)
    with torch.inference_mode():
        assert torch.equal(again(x), model(x))


def test_what_json_cannot_have_is_refused_when_it_is_saved(tmp_path: Path) -> None:
    """A function among the arguments is no text."""

    def act(x: torch.Tensor) -> torch.Tensor:
        return x

    model = timm.create_model("zerosnet20_opt", width=4)
    model._model_args = {**model._model_args, "act": act}
    with pytest.raises(ValueError, match="act"):
        save_for_hf(model, str(tmp_path))


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize(
    "arguments", [{}, {"num_classes": 3}, {"in_chans": 1}, {"parametrize": False}, {"parametrize": True}], ids=str
)
def test_constrained_weights(tmp_path: Path, saved: bool, arguments: dict[str, Any]) -> None:
    """A checkpoint of projected weights or of a parametrization loads as either; all constraints hold."""
    model = timm.create_model("stable_resnet_s11_cert", width=4, img_size=16, parametrize=saved).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # so that a parametrization has something to project
    model.post_step()
    save_for_hf(model, str(tmp_path), safe_serialization=True)
    again = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, **arguments).eval()
    for name, constraint in again.constraints().items():
        module, _, tensor = name.rpartition(".")
        weight = getattr(again.get_submodule(module), tensor).detach()
        torch.testing.assert_close(constraint.project(weight), weight)
    if not {"num_classes", "in_chans"} & set(arguments):
        x = torch.rand(2, 3, 16, 16)
        with torch.inference_mode():
            torch.testing.assert_close(again(x), model(x))
