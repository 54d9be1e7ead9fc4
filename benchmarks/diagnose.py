"""What `stabzoo diagnose` takes of timm's models, at their own sizes, with default settings and random weights.

    python benchmarks/diagnose.py [MODEL ...]

One row a model: CPU seconds of the whole command (all threads, the start of Python included), the largest memory, and
what was found. Exits with 1 if a command fails or takes more than `LIMIT` seconds.
"""

import json
import os
import subprocess
import sys
import time

MODELS = (
    "vit_tiny_patch16_224",
    "convnext_tiny",
    "efficientnet_b0",
    "tf_efficientnet_b0",
    "tf_efficientnet_lite0",
    "mobilenetv2_100",
    "mobilenetv3_large_100",
    "resnet50",
)
LIMIT = 60.0  # CPU seconds
HEAD = "| model | CPU s | s | MB | images | certified | found | left out |"


def row(model: str) -> tuple[str, bool]:
    """A row of the table, and whether the command kept to what is asked of it."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "stabzoo", "diagnose", model, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    cpu, wall = used.ru_utime + used.ru_stime, time.perf_counter() - start
    if status:
        assert process.stderr is not None
        return f"| {model} | failed: {process.stderr.read().strip()[-200:]} |", False
    found = json.loads(text)
    bound = found["forward_bounds"]["sensitivity"]["value"]
    left_out = ", ".join(name for name in found["skipped"] if name != "condition numbers") or "–"
    certified = "∞" if bound == "inf" else f"{bound:.2g}"
    cells = (
        model,
        f"{cpu:.0f}",
        f"{wall:.0f}",
        f"{used.ru_maxrss / 1024:.0f}",
        found["images"],
        certified,
        f"{found['attack']['value']:.3g}" if found["attack"] else "–",
        left_out,
    )
    return "| " + " | ".join(map(str, cells)) + " |", cpu <= LIMIT


def main() -> int:
    """Print the table."""
    print(HEAD)
    print("|" + " --- |" * (HEAD.count("|") - 1))
    kept = True
    for model in sys.argv[1:] or MODELS:
        line, good = row(model)
        kept &= good
        print(line, flush=True)
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
