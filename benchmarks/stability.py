"""What an exact verdict costs: stabzoo beside NodePy and a numpy.roots loop, on one thread, in one run.

    pip install nodepy six
    OMP_NUM_THREADS=1 python benchmarks/stability.py

Times are CPU seconds, the best of several rounds. NodePy is given the same coefficients as SymPy rationals, or as
floats for its raster, which is what its `plot_stability_region` does without the drawing. Wrong verdicts are counted
on `tests/stability/root_condition.json`.
"""

import json
import time
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability import card, certify, is_zero_stable, product_growth, stability_region, sweep, verify_certificate

CASES = json.loads((Path(__file__).parents[1] / "tests" / "stability" / "root_condition.json").read_text())["cases"]
OPTIMUM = LinearMultistep(("1/3", "5/9", "1/9"), ("16/9",))
OPTIMUM_12 = LinearMultistep(next(c["alphas"] for c in CASES if c["id"] == "opt_order2_d12"), (1,))
AB3 = LinearMultistep((1, 0, 0), ("23/12", "-4/3", "5/12"))
WINDOW = (-2.0, 1.0), (-1.5, 1.5)


def seconds(call: Callable[[], object], number: int, rounds: int = 5) -> float:
    """Return the CPU seconds of one call: the best of `rounds` means over `number` calls."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(number):
            call()
        best = min(best, (time.process_time() - start) / number)
    return best


def numpy_verdict(alpha: list[float], tolerance: float = 1e-10) -> bool:
    """Judge the float roots: none outside, none on the circle within 1e-6 of another."""
    roots = np.roots([1.0, *(-a for a in alpha)])
    moduli = abs(roots)
    if moduli.max() > 1 + tolerance:
        return False
    on = roots[moduli > 1 - tolerance]
    return not any(abs(a - b) < 1e-6 for i, a in enumerate(on) for b in on[:i])


def nodepy_method(method: LinearMultistep):
    """Return the method as NodePy's, whose arrays start with the oldest value."""
    import sympy
    from nodepy.linear_multistep_method import LinearMultistepMethod

    def rational(values: tuple[Fraction, ...]) -> np.ndarray:
        return np.array([sympy.Rational(v.numerator, v.denominator) for v in reversed(values)])

    return LinearMultistepMethod(rational(method.rho), rational(method.sigma))


def row(what: str, ours: float, unit: float, name: str, **peers: float | None) -> None:
    """Print one line of the table; `unit` converts seconds into the named unit."""
    cells = [f"{ours * unit:.4g} {name}"]
    cells += [
        "-" if t is None else f"{t * unit:.4g} ({t / ours:.3g}x)" for t in (peers.get("nodepy"), peers.get("loop"))
    ]
    print(f"| {what} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    nodepy_3, nodepy_12 = nodepy_method(OPTIMUM), nodepy_method(OPTIMUM_12)
    floats_3, floats_12 = ([float(a) for a in m.alpha] for m in (OPTIMUM, OPTIMUM_12))
    print("| | stabzoo | NodePy | numpy.roots loop |\n|---|---|---|---|")
    for d, method, peer, floats in ((3, OPTIMUM, nodepy_3, floats_3), (12, OPTIMUM_12, nodepy_12, floats_12)):
        peers = {"nodepy": seconds(peer.is_zero_stable, 300), "loop": seconds(lambda f=floats: numpy_verdict(f), 300)}
        row(f"verdict, d = {d}", seconds(lambda m=method: is_zero_stable(m), 2000), 1e6, "us", **peers)
        row(f"verdict with certificate, d = {d}", seconds(lambda m=method: certify(m), 2000), 1e6, "us", **peers)
        proof = certify(method)
        row(
            f"certificate verified, d = {d}",
            seconds(lambda m=method, p=proof: verify_certificate(m, p), 500),
            1e6,
            "us",
        )

    generator = np.random.default_rng(0)
    cubics = generator.uniform(-2, 2, (10**6, 3))
    loop = seconds(lambda: [numpy_verdict(r) for r in cubics[:3000].tolist()], 1, 3) / 3000 * 1e6
    row("sweep of 1e6 cubics", seconds(lambda: sweep(cubics), 1), 1e3, "ms", loop=loop)
    row("sweep of 1e6 cubics with root 1", seconds(lambda: sweep(cubics, preconsistent=True), 1), 1e3, "ms", loop=loop)
    grid = np.stack(np.meshgrid(*[np.arange(-16, 17) / 8] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    row("sweep of the 35 937 cubics with alpha in k/8", seconds(lambda: sweep(grid), 1, 3), 1e3, "ms")
    wide = generator.uniform(-1 / 6, 1 / 6, (10**5, 12))
    row("sweep of 1e5 sets, d = 12", seconds(lambda: sweep(wide), 1), 1e3, "ms")

    raster = seconds(lambda: stability_region(AB3, *WINDOW, 200), 5)
    row("200 x 200 raster of AB3", raster, 1e3, "ms", nodepy=nodepy_raster(), loop=loop_raster())
    methods = [LinearMultistep(*zerosnet(Fraction(-9, 5) - Fraction(j, 7))) for j in range(32)]  # too many for a cache
    all_cards = seconds(lambda: [card(method).to_dict() for method in methods], 1)
    row("card, d = 3, everything in it", all_cards / len(methods), 1e3, "ms")
    blocks = [LinearMultistep(*zerosnet(Fraction(float(np.float32(x))))) for x in generator.uniform(0.4, 1.6, 432)]
    row("products of 432 trained blocks, exact", seconds(lambda: product_growth(blocks), 1, 3), 1e3, "ms")
    settled = [
        len(sweep(x, preconsistent=p).settled_exactly) for x, p in ((cubics, False), (cubics, True), (grid, False))
    ]
    print(f"\nRows settled in integers: {settled[0]} and {settled[1]} of 1e6, {settled[2]} of the grid.")
    wrong = dict.fromkeys(("stabzoo", "NodePy", "numpy.roots loop"), 0)
    for case in CASES:
        method = LinearMultistep(case["alphas"], (1,))
        wrong["stabzoo"] += is_zero_stable(method) != case["zero_stable"]
        wrong["NodePy"] += bool(nodepy_method(method).is_zero_stable()) != case["zero_stable"]
        wrong["numpy.roots loop"] += numpy_verdict([float(a) for a in method.alpha]) != case["zero_stable"]
    print(
        f"Wrong verdicts on {len(CASES)} cases: " + ", ".join(f"{name} {count}" for name, count in wrong.items()) + "."
    )


def zerosnet(x: Fraction) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    """Return alpha and beta of the ZeroSNet family."""
    return (3 * (1 + x) / (4 * x), -1 / x, (1 + x) / (4 * x)), ((3 * x - 1) / (2 * x),)


def grid_points() -> np.ndarray:
    """Return the points of the raster."""
    x, y = (np.linspace(*span, 200) for span in WINDOW)
    return x + 1j * y[:, None]


def nodepy_raster() -> float:
    """Time the raster of NodePy's plot_stability_region."""
    from nodepy.linear_multistep_method import _root_condition

    rho, sigma = nodepy_method(AB3).__num__().characteristic_polynomials()
    inside, points = np.vectorize(lambda z: _root_condition(rho - z * sigma)), grid_points()
    return seconds(lambda: inside(points), 1, 1)


def loop_raster() -> float:
    """Time numpy.roots at every point of the raster."""
    rho, sigma = (np.array([float(c) for c in p]) for p in (AB3.rho, AB3.sigma))
    points = grid_points().ravel().tolist()
    return seconds(lambda: [abs(np.roots(rho - z * sigma)).max() < 1 for z in points], 1, 1)


if __name__ == "__main__":
    main()
