"""IMEXnet: its implicit part is an inverse, the numbers of the release, and the claims made of the step."""

import pytest
import torch
from torch import Tensor

import stabzoo
from stabzoo_imex.layers import smoothed

RELEASED = [
    -0.15570350298747, 0.17293365915256, 0.08951717984939, 0.14850890535881, -0.11329191217475, 0.12954627954324,
    -0.25970523322884, 0.24604448477633, -0.11460047903756, 0.20736548106856,
]  # fmt: skip
"""(I + h K^T K)^-1 x of SemiImplicitDNNs' diagImpConvFFT, commit 5c874a6, on torch.fft, h = 1/2: every 13th number."""


def kernel_and_states(height: int, width: int) -> tuple[Tensor, Tensor]:
    """A kernel that is not symmetric, and states."""
    kernel = torch.cos(1.3 * torch.arange(27, dtype=torch.float64)).reshape(3, 3, 3)
    x = torch.sin(0.7 * torch.arange(6 * height * width, dtype=torch.float64))
    return kernel, x.reshape(2, 3, height, width)


def applied(x: Tensor, kernel: Tensor) -> Tensor:
    """K x by rolling, whatever the size of the grid."""
    return sum(
        (kernel[:, p + 1, q + 1, None, None] * x.roll((p, q), (2, 3)) for p in (-1, 0, 1) for q in (-1, 0, 1)),
        torch.zeros_like(x),
    )


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 5), (8, 8)])
def test_the_implicit_part_is_an_inverse(size: tuple[int, int]) -> None:
    """(I + K^T K) of the result is x, on grids smaller than the kernel, too; no norm grows."""
    kernel, x = kernel_and_states(*size)
    y = smoothed(x, kernel)
    torch.testing.assert_close(y + applied(applied(y, kernel), kernel.flip(1, 2)), x, rtol=0, atol=1e-12)
    assert y.norm() <= x.norm()


def test_the_released_numbers() -> None:
    """With the step size in K."""
    kernel, x = kernel_and_states(4, 5)
    measured = smoothed(x, kernel * 0.5**0.5).flatten()[::13]
    torch.testing.assert_close(measured, torch.tensor(RELEASED, dtype=torch.float64), rtol=0, atol=1e-13)


def test_the_step_is_that_of_the_paper() -> None:
    """(I + L)^-1 (y + L y + f(y)) = y + (I + L)^-1 f(y)."""
    kernel, y = kernel_and_states(4, 5)
    f = torch.tanh(y.flip(1))
    paper = smoothed(y + applied(applied(y, kernel), kernel.flip(1, 2)) + f, kernel)
    torch.testing.assert_close(paper, y + smoothed(f, kernel), rtol=0, atol=1e-12)


def test_order_1_where_l_is_scaled_with_f() -> None:
    """The error at time 1 halves with the step size, of the heat equation's f and a kernel of another symbol."""
    kernel, y = kernel_and_states(8, 8)
    laplace = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=torch.float64).expand(3, 3, 3)
    fine = y
    for _ in range(4000):  # of order 2
        middle = fine + applied(fine, laplace) / 8000
        fine = fine + applied(middle, laplace) / 4000
    errors = []
    for count in (200, 400):
        new = y
        for _ in range(count):
            new = new + smoothed(applied(new, laplace) / count, kernel / count**0.5)
        errors.append((new - fine).norm().item())
    assert 1.9 < errors[0] / errors[1] < 2.1


@pytest.mark.parametrize(("ratio", "stable"), [(0.5, True), (0.49, False)])
def test_stable_at_any_step_size_if_l_is_half_of_f(ratio: float, stable: bool) -> None:
    """R = 1 - h a / (1 + h c), on f = -a y with c / a the ratio, L = c."""
    sizes = torch.logspace(-3, 6, 40, dtype=torch.float64)
    x = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    center = torch.zeros(1, 3, 3, dtype=torch.float64)
    center[:, 1, 1] = 1
    factors = torch.stack([(x + smoothed(-h * x, center * (h * ratio).sqrt()))[0, 0, 0, 0] for h in sizes])
    torch.testing.assert_close(factors, 1 - sizes / (1 + sizes * ratio), rtol=0, atol=1e-9)
    assert bool((factors.abs() <= 1).all()) is stable


def test_the_coefficients_are_those_of_a_new_network() -> None:
    """1 / (1 + start^2), exactly; and what depends on a trained K is not decided."""
    scheme = stabzoo.get_scheme("imex", start="1/2")
    assert scheme.coefficients() == stabzoo.LinearMultistep((1,), ("4/5",))
    card = stabzoo.card(scheme)
    assert (card.status, card.order) == ("strong", stabzoo.NOT_DECIDED)
