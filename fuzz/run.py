"""Fuzz what reads a stranger's files and texts, guided by coverage (atheris, which is libFuzzer).

    python fuzz/run.py                          all targets, by the numbers of inputs in `INPUTS`
    python fuzz/run.py yaml cli --inputs 5000   some
    python fuzz/run.py --write                  all, and the results into docs/reliability.md; of some, their rows
    python fuzz/run.py --keep                   and some of the inputs that reached something new are kept

Every target is a process of its own, which starts from `seeds` and from what is kept in fuzz/corpus.  An input that
raises, hangs or ends the process is left in fuzz/found/TARGET, which git does not know; what is mended is put into
fuzz/corpus/TARGET by hand, so that the tests replay it.  The seed is fixed: the same inputs come again, as long as the
code is the same.
"""

from __future__ import annotations

import argparse
import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CORPUS, FOUND = HERE / "corpus", HERE / "found"
PAGE = HERE.parent / "docs" / "reliability.md"

INPUTS = {
    "yaml": 30_000,
    "registry": 15_000,
    "study": 10_000,
    "training": 12_000,
    "coefficients": 8_000,
    "checkpoint": 15_000,
    "state": 4_000,
    "archive": 40_000,
    "database": 4_000,
    "cell": 4_000,
    "cli": 8_000,
}
"""Of each target, by default: 150 000."""

LONGEST = {"coefficients": 48, "cli": 200, "cell": 300, "database": 40_000, "study": 8_000, "state": 40_000}
"""Bytes of an input; of the other targets 5000."""

SECONDS = 20
"""After which an input hangs."""

KEPT, KEPT_BYTES = 40, 3000
"""Inputs of a target that are kept, and their length; of a target whose inputs are all longer than that, a few."""

LONG = {"state": (6, 20_000)}

CHILD = "--child"


def child(target: str, arguments: list[str]) -> None:
    """Fuzz one target in this process, with libFuzzer's ``arguments``; does not return."""
    import atheris

    with atheris.instrument_imports(include=["stabzoo"], enable_loader_override=False):
        from targets import TARGETS
    atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)  # libFuzzer's, whose handler goes before the process
    atheris.Setup([sys.argv[0], *arguments], TARGETS[target])
    atheris.Fuzz()


def fuzz(target: str, inputs: int, *, keep: bool) -> list[Any]:
    """Fuzz a target; return its row of the table."""
    from seeds import WORDS, seeds

    found = FOUND / target
    found.mkdir(parents=True, exist_ok=True)
    before = set(found.iterdir())
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        grown = work / "corpus"
        shutil.copytree(CORPUS / target, grown, dirs_exist_ok=True) if (CORPUS / target).is_dir() else grown.mkdir()
        for i, content in enumerate(seeds(target)):
            (grown / f"seed-{i}").write_bytes(content)
        words = work / "words"
        words.write_text("".join(f'"{escaped(word)}"\n' for word in WORDS))
        line = [f"-atheris_runs={inputs}", "-seed=1", f"-timeout={SECONDS}", "-rss_limit_mb=6000", f"-dict={words}"]
        line += [f"-artifact_prefix={found}/", f"-max_len={LONGEST.get(target, 5000)}", "-print_final_stats=1"]
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, str(HERE / "run.py"), CHILD, target, *line, str(grown)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env={**os.environ, "STABZOO_PLUGIN_SECONDS": "0"},  # whose alarm is libFuzzer's, too
        )
        seconds = time.monotonic() - started
        faults = sorted(set(found.iterdir()) - before)
        if faults or done.returncode:
            sys.stderr.write(f"{target}: exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}\n")
        if keep and not faults:
            keep_shortest(target, grown)
    tried = re.findall(r"^#(\d+)\s", done.stderr, re.M) + re.findall(r"Done (\d+) in", done.stderr)
    covered = re.findall(r"cov: (\d+)", done.stderr)
    kinds = [sum(path.name.startswith(kind) for path in faults) for kind in ("crash", "timeout", "oom")]
    if done.returncode and not any(kinds):
        kinds[0] = 1
    return [target, max(map(int, tried), default=0), int(covered[-1]) if covered else 0, *kinds, round(seconds)]


def keep_shortest(target: str, grown: Path) -> None:
    """Keep some of the inputs that reached something new: short ones, of all lengths up to the longest."""
    most, longest = LONG.get(target, (KEPT, KEPT_BYTES))
    place = CORPUS / target
    place.mkdir(parents=True, exist_ok=True)
    found = [path for path in grown.iterdir() if path.stat().st_size <= longest and not path.name.startswith("seed-")]
    new = sorted(
        (path for path in found if not (place / path.name[:16]).exists()), key=lambda path: path.stat().st_size
    )
    room = max(0, most - len(list(place.iterdir())))
    for path in new[:: -(-len(new) // room)] if room and new else ():
        shutil.copy(path, place / path.name[:16])


def escaped(word: str) -> str:
    """A word of libFuzzer's dictionary."""
    return "".join(f"\\x{byte:02x}" for byte in word.encode())


def main() -> int:
    """Fuzz, print and write the table; 1 if something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", default=list(INPUTS))
    parser.add_argument("--inputs", type=int)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    rows = []
    for target in chosen.targets:
        rows.append(fuzz(target, chosen.inputs or INPUTS[target], keep=chosen.keep))
        sys.stdout.write("  ".join(map(str, rows[-1])) + "\n")
        sys.stdout.flush()
    if chosen.write:
        write(rows)
    return int(any(any(row[3:6]) for row in rows))


def write(rows: list[list[Any]]) -> None:
    """Put the rows into the table of the page; a target that was not fuzzed keeps the row that it has."""
    begin, end = "<!-- fuzzed -->", "<!-- /fuzzed -->"
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    before, _, rest = rest.partition(end)
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in before.splitlines()]
    known = {row[0]: row for row in cells if row and row[0] in INPUTS} | {row[0]: row for row in rows}
    table = [known[target] for target in INPUTS if target in known]
    heads = ("target", "inputs", "places reached", "tracebacks and crashes", "hangs", "out of memory", "seconds")
    total = ["all", *("" if i == 2 else sum(int(row[i]) for row in table) for i in range(1, 7))]
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (heads, ["---"] * 7, *table, total)]
    PAGE.write_text(head + "\n".join([begin, *lines, end]) + rest, encoding="utf-8")


if __name__ == "__main__":
    if CHILD in sys.argv[1:2]:
        child(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main())
