"""The step as a torch module."""

from torch import Tensor, nn


class HeunStep(nn.Module):
    """Heun's two stages: y_{n+1} = y_n + (f(y_n) + f(y_n + f(y_n))) / 2."""

    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f = f

    def forward(self, y: Tensor, history: list[Tensor]) -> list[Tensor]:
        """State, and history of which the state is the newest -> the new state."""
        first = self.f(y)
        return [y + (first + self.f(y + first)) / 2]
