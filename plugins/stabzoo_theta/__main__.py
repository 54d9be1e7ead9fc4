"""The paper's examples: ``python -m stabzoo_theta function`` trains, draws and writes what was recorded.

python -m stabzoo_theta function      example 1: a function with two frequencies
python -m stabzoo_theta spirals       example 2: two spirals, with noise
python -m stabzoo_theta step-size     explicit against implicit on the same weights; nothing is trained
python -m stabzoo_theta my.yaml       an example of yours
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from stabzoo import ConfigError
from stabzoo_theta.paper.example import Example, load_example

__all__ = ["main", "run_example"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one example and return its exit status: 2 where the configuration is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m stabzoo_theta", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("example", help="function, spirals, step-size, or the path of a .yaml file")
    parser.add_argument("--folder", type=Path, help="where results.json and the figures go; by default runs/EXAMPLE")
    given = parser.parse_args(arguments)
    folder = given.folder or Path("runs") / Path(given.example).stem
    try:
        example = None if given.example == "step-size" else load_example(given.example)
        folder.mkdir(parents=True, exist_ok=True)
    except (ConfigError, OSError) as error:
        sys.stderr.write(f"stabzoo_theta: {error}\n")
        return 2
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # matrices are small: more threads only wait for each other
    try:
        if example is None:
            from stabzoo_theta.paper.figures import step_size_figure

            step_size_figure().savefig(folder / "step-size.png")
        else:
            run_example(example, folder)
    finally:
        torch.set_num_threads(threads)
    sys.stdout.write(f"figures are in {folder}\n")
    return 0


def run_example(example: Example, folder: Path) -> None:
    """Train the networks of an example one after the other, and write results.json and figures."""
    from stabzoo_theta.paper.figures import classification_figure, curves_figure, outputs_figure
    from stabzoo_theta.paper.training import train

    trained, results = {}, []
    for network in example.networks:
        start = time.perf_counter()
        run = trained[network] = train(example, network)
        curves = run.curves
        results.append(
            {
                "network": network.model_dump(mode="json"),
                "diverged": run.diverged,
                "seconds": round(time.perf_counter() - start, 1),
                "curves": dataclasses.asdict(curves),
            }
        )
        sys.stdout.write(
            f"{network.label}: loss {curves.training[-1]:.4g}, validation {curves.validation[-1]:.4g}, "
            f"{curves.evaluations[-1]:.1f} evaluations per layer, {sum(curves.failures)} failures, "
            f"{results[-1]['seconds']} s{', diverged' if run.diverged else ''}\n"
        )
        sys.stdout.flush()
    document = {"example": example.model_dump(mode="json"), "results": results}
    (folder / "results.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    curves_figure(example, trained).savefig(folder / "curves.png")
    last = outputs_figure if example.data == "function" else classification_figure
    last(example, trained).savefig(folder / "outputs.png")


if __name__ == "__main__":
    sys.exit(main())
