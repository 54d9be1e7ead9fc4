"""Do studies at a scale and keep their results in docs/results/NAME-SCALE: `python benchmarks/results.py laptop root-scan`.

Runs are kept in runs/NAME-SCALE, as by `stabzoo study`; a study that was done is only written anew.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from stabzoo.study import load_study, run_study
from stabzoo.study.summary import write_summary


def main(scale: str, *names: str) -> int:
    """Do them one after the other; 1 if a run failed."""
    failed = 0
    for name in names:
        study = load_study(name, scale)
        started = time.perf_counter()
        result = run_study(study, Path("runs") / study.folder_name)
        write_summary(result.report, Path("docs/results") / study.folder_name)
        print(f"\n{study.folder_name}: {time.perf_counter() - started:.0f} s\n")
        failed |= not result.ok
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
