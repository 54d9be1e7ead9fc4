"""The solver of implicit steps beside torchdeq and scipy: evaluations, honesty, gradients, memory, time.

    python benchmarks/implicit.py [--part forward chain gradient scale memory step training] [--channels 16]
        [--dtype float32 float64]

The equation is y = b + theta f(y), b = x + (1 - theta) f(x), on a batch of 8 maps of 32x32, with

- *random*: f = BN-ReLU-conv-BN-ReLU-conv with random weights, in evaluation mode; beyond theta ||df|| = 1.5 it is not known
  to have a solution, and the cell is not counted;
- *parabolic*: f = -K^T relu(K y + c), monotone, so that there is one solution at every norm,

scaled so that ||df(x)||, the largest over the batch, is the norm of the cell.  What a solver returns is judged in float64
by the residual of its own criterion: ||r|| / ||b|| for ours, ||r|| / ||g(y)|| for the peers', which stop by that.  The
evaluations of a peer are those until an iterate of every sample met ||r|| <= 1e-5 ||b||, our criterion, whether or not the
peer noticed.  Peers start at x, as their users do; f(x), which the explicit part needs, is counted for nobody.
*chain* compares ``auto`` with its own Newton-Krylov alone on stiff, oscillatory and saturating equations.  *training*
trains networks on digits, the implicit ones with the tolerances that trainings have of themselves and with 1e-5, and
compares the CPU time of an update with that of the explicit network.

torchdeq (https://pypi.org/project/torchdeq) is compared when it is importable; scipy in float64.
"""

import argparse
import functools
import itertools
import math
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import accumulate
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import NoConvergence, newton_krylov
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from stabzoo import LinearMultistep, SolverSettings
from stabzoo.data.loading import load_images
from stabzoo.data.spec import Digits
from stabzoo.evaluation.accuracy import measure
from stabzoo.evaluation.spec import Clean
from stabzoo.implicit.solve import METHODS, solve
from stabzoo.implicit.solvers import anderson, gmres
from stabzoo.implicit.step import ImplicitStep, solver_report
from stabzoo.study.execution.networks import build
from stabzoo.study.spec import Run
from stabzoo.training.loop import Trainer
from stabzoo.training.spec import Training

try:
    from torchdeq import get_deq
    from torchdeq.solver import get_solver
except ImportError:
    get_deq = None

NORMS = (0.3, 0.6, 0.9, 1.5, 4.0, 10.0)
RTOL = 1e-5
SEEDS = range(5)  # of the trainings
LIMIT = 200
PEERS = ("fixed_point_iter", "anderson", "broyden")


class Parabolic(nn.Module):
    """f(y) = -K^T relu(K y + c)."""

    one_sided_lipschitz = 0.0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(channels, channels, 3, 3) / (3 * math.sqrt(channels)))
        self.shift = nn.Parameter(0.3 * torch.randn(channels))

    def forward(self, y: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return -F.conv_transpose2d(F.relu(F.conv2d(y, self.kernel, self.shift, padding=1)), self.kernel, padding=1)

    def scale(self, factor: float) -> None:
        """Multiply f by ``factor``."""
        self.kernel.data *= math.sqrt(factor)
        self.shift.data *= math.sqrt(factor)


class Random(nn.Sequential):
    """BN-ReLU-conv-BN-ReLU-conv, the running statistics those of x."""

    def __init__(self, channels: int) -> None:
        def triple() -> list[nn.Module]:
            norm = nn.BatchNorm2d(channels, momentum=1.0)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, 0, 0.3)
            return [norm, nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1, bias=False)]

        super().__init__(*triple(), *triple())

    def scale(self, factor: float) -> None:
        """Multiply f by ``factor``."""
        self[-1].weight.data *= factor


def jacobian_norm(f: nn.Module, x: Tensor, iterations: int = 60) -> float:
    """||df(x)||_2, the largest of the batch, by power iteration in float64."""
    v = torch.randn_like(x)
    largest = 0.0
    for _ in range(iterations):
        v = v / v.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        with torch.no_grad():
            image = torch.func.jvp(f, (x,), (v,))[1]
        point = x.requires_grad_()
        (v,) = torch.autograd.grad(f(point), point, image)
        largest = v.flatten(1).norm(dim=1).sqrt().max().item()
    return largest


@functools.cache
def base(kind: str, channels: int, size: int, batch: int) -> tuple[dict[str, Tensor], Tensor, float]:
    """Weights, x and ||df(x)|| before scaling."""
    torch.manual_seed(0)
    f = (Parabolic if kind == "parabolic" else Random)(channels)
    x = torch.randn(batch, channels, size, size)
    f(x)
    return f.state_dict(), x, jacobian_norm(f.double().eval(), x.double())


def problem(
    kind: str, channels: int, norm: float, dtype: torch.dtype, size: int = 32, batch: int = 8
) -> tuple[nn.Module, Tensor]:
    """(f, x) of a cell."""
    state, x, before = base(kind, channels, size, batch)
    f = (Parabolic if kind == "parabolic" else Random)(channels)
    f.load_state_dict(state)
    f.scale(norm / before)
    return f.to(dtype).eval(), x.to(dtype)


def norms(x: Tensor) -> Tensor:
    """Norm of each sample in float64."""
    return x.detach().double().flatten(1).norm(dim=1)


class Watch:
    """g(y) = b + theta f(y), counted, with the evaluation at which every sample had met ||r|| <= RTOL ||b||."""

    def __init__(self, f: nn.Module, b: Tensor, theta: float) -> None:
        self.f, self.b, self.theta = f, b, theta
        self.calls, self.met = 0, 0
        self.done = torch.zeros(len(b), dtype=torch.bool)

    def __call__(self, y: Tensor) -> Tensor:
        """One evaluation."""
        self.calls += 1
        value = self.b + self.theta * self.f(y)
        self.done |= norms(value - y) <= RTOL * norms(self.b)
        if not self.met and self.done.all():
            self.met = self.calls
        return value


def judge(f64: nn.Module, b: Tensor, theta: float, y: Tensor, *, ours: bool) -> float:
    """The largest relative residual of y in float64, by the criterion of the solver."""
    g = b.double() + theta * f64(y.double())
    r = norms(g - y.double()) / norms(b if ours else g)
    return torch.nan_to_num(r, nan=math.inf).max().item()


def forward(channels: int, dtypes: list[str]) -> None:
    """Evaluations of every solver in every cell; ``F`` no solution found, ``F!`` and said to be found."""
    totals: dict[str, list[int]] = {}
    ratios: dict[str, list[float]] = {}
    for name in dtypes:
        dtype = getattr(torch, name)
        for theta in (1.0, 0.5):
            print(f"\n{channels} channels, theta = {theta:g}, {name}\n")
            names = ["ours", *(f"torchdeq {p}" for p in PEERS if get_deq)]
            names += ["scipy newton_krylov"] if name == "float64" and channels <= 16 else []
            print(f"| f | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
            for kind in ("random", "parabolic"):
                for norm in NORMS:
                    f, x = problem(kind, channels, norm, dtype)
                    f64, _ = problem(kind, channels, norm, torch.float64)
                    b = x + (1 - theta) * f(x)
                    cells, counts = [], {}
                    for solver in names:
                        evaluations, y, claimed = run(solver, f, x, b, theta)
                        ok = judge(f64, b, theta, y, ours=solver == "ours") <= 1.05 * RTOL
                        total = totals.setdefault(solver, [0, 0, 0, 0])
                        sure = kind == "parabolic" or theta * norm <= 1.5
                        if sure:
                            total[0] += 1
                            total[1] += not ok
                        total[2] += claimed and not ok
                        total[3] += not claimed and not ok
                        counts[solver] = evaluations if ok else math.inf
                        cells.append(f"{evaluations}" if ok else ("F!" if claimed else "F") + f" ({evaluations})")
                    print(f"| {kind} {norm:g} | {' | '.join(cells)} |", flush=True)
                    best = min((c for s, c in counts.items() if s.startswith("torchdeq")), default=math.inf)
                    if counts["ours"] < math.inf and best < math.inf:
                        ratios.setdefault(
                            f"{'norm up to 1.5' if norm <= 1.5 else f'norm {norm:g}'}, theta {theta:g}", []
                        ).append(counts["ours"] / best)
                        broyden = counts["torchdeq broyden"]
                        if kind == "parabolic" and norm >= 4:
                            ratios.setdefault(f"to broyden, norm {norm:g}, theta {theta:g}", []).append(
                                counts["ours"] / broyden
                            )
    print("\n| evaluations to the best torchdeq solver of the cell | geometric mean | largest |\n|---|---|---|")
    for group, values in ratios.items():
        print(f"| {group} | {math.exp(float(np.mean(np.log(values)))):.2f} | {max(values):.2f} |")
    print(
        "\n| solver | well-posed cells | failures there | false claims, all cells | failures signalled |\n|---|---|---|---|---|"
    )
    for solver, (cells_, failures, false, signalled) in totals.items():
        print(f"| {solver} | {cells_} | {failures} | {false} | {signalled} |")


@torch.no_grad()
def run(solver: str, f: nn.Module, x: Tensor, b: Tensor, theta: float) -> tuple[int, Tensor, bool]:
    """(evaluations, y, whether it was said to have converged)."""
    if solver == "ours":
        start = x if theta == 1 else b + theta * f(x)
        y, report = solve(f, b, theta, start, SolverSettings(rtol=RTOL, max_evaluations=LIMIT))
        return report.evaluations, y, report.converged
    g = Watch(f, b, theta)
    if solver.startswith("torchdeq"):
        y, _, info = get_solver(solver.removeprefix("torchdeq "))(g, x, max_iter=LIMIT, tol=RTOL, stop_mode="rel")
        claimed = bool((info["rel_lowest"] <= RTOL).all())
        return g.met or g.calls, y.view_as(x), claimed
    tolerance = RTOL * norms(b).min().item()

    def residual(y: np.ndarray) -> np.ndarray:
        if g.calls == LIMIT:
            raise NoConvergence(y)
        point = torch.from_numpy(y)
        return (g(point) - point).numpy()

    try:
        found, claimed = newton_krylov(residual, x.numpy(), f_tol=tolerance, tol_norm=np.linalg.norm, maxiter=50), True
    except NoConvergence as error:
        found, claimed = error.args[0], False
    return g.met or g.calls, torch.from_numpy(np.asarray(found)).view_as(x), claimed


class Counted(torch.autograd.Function):
    """The identity; backward passes through it are counted."""

    calls = 0

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """X itself."""
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        """Count."""
        Counted.calls += 1
        return g


class CountedBranch(nn.Module):
    """f, whose vector-Jacobian products are counted."""

    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f = f

    def forward(self, y: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return Counted.apply(self.f(y))


def gradient_of(
    solver: str, f: nn.Module, x: Tensor, g: Tensor, rtol: float, backward_rtol: float
) -> tuple[list[Tensor], int]:
    """(dL/dx and dL/dp, products) of a backward Euler step."""
    branch = CountedBranch(f)
    x = x.detach().requires_grad_()
    variables = [x, *f.parameters()]
    if solver.startswith("ours"):
        settings = SolverSettings(rtol=rtol, backward_rtol=backward_rtol)
        y = ImplicitStep(branch, LinearMultistep((1,), (0,), 1), settings)(x, [x])
    else:
        deq = get_deq(
            f_solver=solver, b_solver=solver, ift=True, f_max_iter=100, f_tol=rtol, f_stop_mode="rel", b_max_iter=40
        )
        y = deq(lambda z: x + branch(z), x.detach())[0][-1]
    Counted.calls = 0
    found = torch.autograd.grad(y, variables, g)
    return list(found), Counted.calls


def dense_gradient(f: nn.Module, x: Tensor, g: Tensor) -> list[Tensor]:
    """The same by the Jacobian of every sample as a matrix."""
    y, _ = solve(f, x, 1.0, x, SolverSettings(rtol=1e-13, max_evaluations=2000))
    v = torch.empty_like(y)
    for i in range(len(y)):
        jacobian = torch.autograd.functional.jacobian(lambda u: f(u[None])[0], y[i]).reshape(y[i].numel(), -1)
        v[i] = torch.linalg.solve((torch.eye(len(jacobian), dtype=y.dtype) - jacobian).T, g[i].flatten()).view_as(g[i])
    x = x.detach().requires_grad_()
    return list(torch.autograd.grad(x + f(y.detach()), [x, *f.parameters()], v))


def error(found: list[Tensor], expected: list[Tensor]) -> float:
    """Relative, of all gradients as one vector."""
    difference = torch.stack([(a.double() - b).norm() for a, b in zip(found, expected, strict=True)]).norm()
    return (difference / torch.stack([b.norm() for b in expected]).norm()).item()


def gradient() -> None:
    """Products and errors of the gradient of a backward Euler step of 4 channels, 6x6, in float64."""
    solvers = ["ours", *(p for p in PEERS if get_deq)]
    print(f"\n| f | {' | '.join(solvers)} |\n|---|{'---|' * len(solvers)}")
    for kind in ("random", "parabolic"):
        for norm in (0.3, 0.6, 0.9, 1.5, 4.0):
            if kind == "random" and norm > 1.5:
                continue
            f, x = problem(kind, 4, norm, torch.float64, size=6, batch=2)
            torch.manual_seed(1)
            g = torch.randn_like(x)
            expected = dense_gradient(f, x, g)
            cells = []
            for solver in solvers:
                found, products = gradient_of(solver, f, x, g, 1e-9, 1e-6)
                cells.append(f"{products} / {error(found, expected):.0e}")
            print(f"| {kind} {norm:g} | {' | '.join(cells)} |", flush=True)


def scale() -> None:
    """Error of the gradient in float32 when the loss is scaled."""
    solvers = ["ours", *(p for p in PEERS if get_deq)]
    print(f"\n| loss times | {' | '.join(solvers)} |\n|---|{'---|' * len(solvers)}")
    f64, x64 = problem("random", 4, 0.9, torch.float64, size=6, batch=2)
    f, x = problem("random", 4, 0.9, torch.float32, size=6, batch=2)
    torch.manual_seed(1)
    g = torch.randn_like(x)
    expected = dense_gradient(f64, x64, g.double())
    for factor in (1.0, 1e-3, 1e-6, 1e-9, 1e-12, 1e6):
        cells = []
        for solver in solvers:
            found, _ = gradient_of(solver, f, x, g * factor, 1e-6, 1e-6)
            cells.append(f"{error([v.double() / factor for v in found], expected):.1e}")
        print(f"| {factor:g} | {' | '.join(cells)} |", flush=True)


def peak(run: Callable[[], object]) -> int:
    """Bytes allocated at the peak."""
    run()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    events = [e for e in record.profiler.kineto_results.events() if e.name() == "[memory]"]
    return max(accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())))


def steps(f: nn.Module, x: Tensor, limit: int, rtol: float) -> dict[str, Callable[[], Tensor]]:
    """What takes one step, explicit or implicit, by name."""
    euler = LinearMultistep((1,), (0,), 1)
    found: dict[str, Callable[[], Tensor]] = {"explicit block": lambda: x + f(x)}
    for method in ("auto", *METHODS):
        settings = SolverSettings(
            method=method,  # type: ignore[arg-type]
            rtol=rtol,
            max_evaluations=limit,
        )
        found[f"ours, {method}"] = functools.partial(lambda step: step(x, [x]), ImplicitStep(f, euler, settings))
    for peer in PEERS if get_deq else ():
        options = {"f_stop_mode": "rel", "b_stop_mode": "rel", "f_tol": rtol, "b_tol": rtol}
        deq = get_deq(f_solver=peer, b_solver=peer, ift=True, f_max_iter=limit, b_max_iter=limit, **options)
        found[f"torchdeq, {peer}"] = functools.partial(lambda d: d(lambda z: x + f(z), x.detach())[0][-1], deq)
    return found


def memory(channels: int) -> None:
    """Peak of a training step with at most 10 and 50 iterations, parabolic, norm 10 (so that all are used)."""
    print(f"\n{channels} channels\n\n| step | K = 10, in explicit blocks | K = 50 / K = 10 |\n|---|---|---|")
    f, x = problem("parabolic", channels, 10.0, torch.float32)
    x.requires_grad_()
    peaks: dict[int, dict[str, int]] = {10: {}, 50: {}}
    with ExitStack() as stack:
        for module in (anderson, gmres):  # the profiler does not see what numpy allocates
            stack.enter_context(patch.object(module, "workspace", lambda like, *shape: like.new_empty(shape)))
        for limit, found in peaks.items():
            for name, step in steps(f, x, limit, 1e-7).items():
                found[name] = peak(lambda step=step: step().square().sum().backward())
    explicit = peaks[10]["explicit block"]
    for name, few in peaks[10].items():
        print(f"| {name} | {few / explicit:.2f} | {peaks[50][name] / few:.2f} |", flush=True)


def training_step(channels: int) -> None:
    """CPU time of forward and backward, best of 12, at norm 0.9 and tolerance 1e-6, forward and backward."""
    print(f"\n{channels} channels\n\n| step | random 0.9 | parabolic 0.9 |\n|---|---|---|")
    rows: dict[str, list[str]] = {}
    for kind in ("random", "parabolic"):
        f, x = problem(kind, channels, 0.9, torch.float32)
        x.requires_grad_()
        wanted = {n: s for n, s in steps(f, x, LIMIT, 1e-6).items() if "gradient" not in n and "ribiere" not in n}
        times = dict.fromkeys(wanted, math.inf)
        for _ in range(12):
            for name, step in wanted.items():
                start = time.process_time()
                step().square().sum().backward()
                times[name] = min(times[name], time.process_time() - start)
        for name, seconds in times.items():
            ratio = seconds / times["explicit block"]
            text = f"{1e3 * seconds:.1f} ms" if name == "explicit block" else f"{ratio:.1f}x"
            rows.setdefault(name, []).append(text)
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def chain_cells() -> Iterator[tuple[str, Callable[[Tensor], Tensor], Tensor]]:
    """Names, f and b of equations with one solution, in float64 (the oscillators: y' = i omega y, omega up to 300)."""
    torch.manual_seed(0)
    for norm in (0.9, 4.0, 10.0, 40.0, 100.0, 400.0):
        f, x = problem("parabolic", 4, norm, torch.float64, size=12, batch=2)
        yield f"parabolic {norm:g}", f, x
    for size, scale in itertools.product((20, 60, 200), (0.3, 1.0, 3.0)):
        draw = torch.randn(size, size, dtype=torch.float64)
        b = torch.randn(2, size, dtype=torch.float64)
        oscillator, damped = scale * (draw - draw.T) / 2, -5 * scale * draw @ draw.T / size
        yield f"oscillators, {size} states, times {scale:g}", functools.partial(torch.matmul, other=oscillator.T), b
        yield f"symmetric, {size} states, times {scale:g}", functools.partial(torch.matmul, other=damped), b
        mixed = scale * draw / size**0.5
        yield f"tanh, {size} states, times {scale:g}", lambda y, m=mixed, s=scale: torch.tanh(y) @ m.T - s * y, b


def chain() -> None:
    """Evaluations of ``auto`` beside those of its Newton-Krylov alone, to 1e-5; F where an equation is not solved."""
    print("\n| equation | auto | Newton-Krylov | ratio |\n|---|---|---|---|")
    ratios = []
    for name, f, b in chain_cells():
        counts = []
        for method in ("auto", "newton_krylov"):
            settings = SolverSettings(method=method, max_evaluations=1000)  # type: ignore[arg-type]
            _, report = solve(f, b, 1.0, b, settings)
            counts.append(report.evaluations if report.converged else math.inf)
        ratios.append(counts[0] / counts[1])
        cells = " | ".join("F" if count == math.inf else str(count) for count in counts)
        print(f"| {name} | {cells} | {ratios[-1]:.2f} |", flush=True)
    print(f"\nGeometric mean {math.exp(float(np.mean(np.log(ratios)))):.2f}, largest {max(ratios):.2f}.")


def training() -> None:
    """Accuracy, evaluations and products a solve, and CPU time of an update in updates of the explicit network."""
    data = Digits(name="digits", size=16, test_images=540, split_seed=0)
    images = load_images(data)
    strict = {"solver": {"rtol": RTOL}}
    rows: list[tuple[str, dict[str, Any], float]] = [("preresnet20", {}, 0.02)]
    rows += [(m, a, 0.02) for m in ("implicit_resnet20", "parabolic_resnet20_be") for a in ({}, strict)]
    rows += [("implicit_resnet20_be", a, 0.005) for a in ({}, strict)]
    print(
        "\n| network | lr | tolerance | accuracy after 3 epochs | evaluations, products a solve | not solved | "
        "an update |\n|---|---|---|---|---|---|---|"
    )
    explicit = 0.0
    for model, args, lr in rows:
        recipe = Training(
            epochs=3,
            batch_size=64,
            optimizer="momentum",
            lr=lr,
            momentum=0.9,
            weight_decay=0.0005,
            schedule="one-cycle",
        )
        accuracies: list[float] = []
        updates: list[float] = []
        reports: list[Any] = []
        for seed in SEEDS:
            run = Run(model=model, args={"width": 8, **args}, data=data, training=recipe, seed=seed, software={})
            network = build(run, images)
            marks: list[float] = []
            Trainer(network, images, recipe, seed).run(after_step=lambda marks=marks: marks.append(time.process_time()))
            updates += np.diff(marks).tolist()
            reports += solver_report(network)
            accuracies += measure(network.eval(), images, [Clean(kind="clean")])
        seconds = float(np.median(updates))
        explicit = explicit or seconds
        solves = sum(r.solves for r in reports) or 1
        counts = f"{sum(r.evaluations for r in reports) / solves:.1f}, {sum(r.products for r in reports) / solves:.1f}"
        failed = sum(r.failures.total() + r.backward_failures.total() for r in reports)
        tolerance = "-" if model == "preresnet20" else "1e-5" if args else "of trainings"
        update = f"{1e3 * seconds:.0f} ms" if model == "preresnet20" else f"{seconds / explicit:.1f}x"
        spread = f"{np.mean(accuracies):.1f} ({min(accuracies):.1f} to {max(accuracies):.1f})"
        print(f"| {model} | {lr:g} | {tolerance} | {spread} | {counts} | {failed} | {update} |", flush=True)


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parts = ("forward", "chain", "gradient", "scale", "memory", "step", "training")
    parser.add_argument("--part", nargs="+", choices=parts, default=parts)
    parser.add_argument("--channels", type=int, nargs="+", default=[16])
    parser.add_argument("--dtype", nargs="+", default=["float32", "float64"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, 1 thread")
    for part in arguments.part:
        print(f"\n## {part}")
        alone = {"chain": chain, "gradient": gradient, "scale": scale, "training": training}
        if part in alone:
            alone[part]()
        else:
            for channels in arguments.channels:
                if part == "forward":
                    forward(channels, arguments.dtype)
                else:
                    {"memory": memory, "step": training_step}[part](channels)


if __name__ == "__main__":
    main()
