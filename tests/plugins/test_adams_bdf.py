"""Adams-Moulton and BDF networks: the barriers that their cards show, and that their blocks solve the equation."""

import pytest
import timm
import torch

import stabzoo


def test_dahlquists_second_barrier() -> None:
    """A-stable are those of order 1 and 2 alone, of either family; all are zero-stable."""
    for name, orders in (("adams_moulton", {1: 2, 2: 3, 3: 4, 6: 7}), ("bdf", {1: 1, 2: 2, 3: 3, 6: 6})):
        for steps, order in orders.items():
            card = stabzoo.card(stabzoo.get_scheme(name, steps=steps))
            assert (card.order, card.status) == (order, "strong")
            assert card.is_A_stable is (order <= 2)
            assert card.is_L_stable is (name == "bdf" and order <= 2)


def test_one_step_is_the_theta_method() -> None:
    """Trapezoidal and backward Euler."""
    for name, known in (("adams_moulton", "trapezoidal"), ("bdf", "backward_euler")):
        coefficients = stabzoo.get_scheme(name, steps=1).coefficients()
        assert coefficients == stabzoo.get_scheme(known).coefficients()


@pytest.mark.parametrize("model", ["implicit_resnet20_am2", "implicit_resnet20_bdf3"])
def test_blocks_solve_their_equations(model: str) -> None:
    """To the tolerance that is asked for, in a network as it is initialised."""
    torch.manual_seed(0)
    network = timm.create_model(model, width=4, solver={"rtol": 1e-8}).double().eval()
    with torch.no_grad():
        network(torch.randn(2, 3, 8, 8, dtype=torch.float64))
    reports = network.solver_report()
    assert len(reports) >= 6
    assert all(report.solves == 1 and not report.failures for report in reports)
