"""Disturb stabzoo at random moments, and count what comes of it.

python tests/faults                            every kind once
python tests/faults --rounds 3 training        some, more often; the round's number is the seed
python tests/faults --rounds 2 --write         and write the results into docs/reliability.md
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import sys
import tempfile
import time
from pathlib import Path

from kinds import KINDS, MOUNTED, Place, Tally
from mounts import why_not

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
QUICK = {"training": 6, "two_processes": 3, "clock": 3, "limits": 4}
"""Kinds of which a round is done so many times, for it takes seconds."""


def main() -> int:
    """Disturb, print and write the table; 1 if something is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    tallies: dict[str, Tally] = {}
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stabzoo-faults-", ignore_cleanup_errors=True) as name:
        place = Place(Path(name))
        reason = why_not(place.folder)
        for kind in chosen.kinds:
            if kind in MOUNTED and reason:
                sys.stdout.write(f"{kind}: left out, {reason}\n")
                continue
            tallies[kind] = Tally()
            for seed in range(chosen.rounds * QUICK.get(kind, 1)):
                tallies[kind].add(KINDS[kind](place, random.Random(seed)))
            sys.stdout.write(f"{' '.join(map(str, row(kind, tallies[kind])))}\n")
            sys.stdout.writelines(f"  {note}\n" for note in tallies[kind].notes)
            sys.stdout.flush()
    if chosen.write:
        write(tallies, chosen.rounds, time.monotonic() - started)
    return int(not all(tally.well for tally in tallies.values()))


def row(kind: str, tally: Tally) -> tuple[str | int, ...]:
    """A row of the table."""
    return kind.replace("_", " "), tally.faults, tally.lost, tally.differing, tally.hung, tally.untold


def write(tallies: dict[str, Tally], rounds: int, seconds: float) -> None:
    """Put the table into the page."""
    whole = Tally()
    for tally in tallies.values():
        whole.add(tally)
    rows = [(*row(kind, tally), summary(kind)) for kind, tally in tallies.items()]
    heads = ("kind", "faults", "lost", "differing", "hung", "untold", "what is disturbed")
    table = [heads, ["---"] * len(heads), *rows, (*row("all", whole), "")]
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    lines = [
        f"`python tests/faults --rounds {rounds} --write`, {seconds / 60:.0f} minutes on {processors} processors "
        f"({platform.system()}, Python {platform.python_version()}), which other work shared:",
        "",
        *("| " + " | ".join(map(str, cells)) + " |" for cells in table),
    ]
    begin, end = "<!-- faults -->", "<!-- /faults -->"
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    PAGE.write_text(head + "\n".join([begin, *lines, end]) + rest.partition(end)[2], encoding="utf-8")


def summary(kind: str) -> str:
    """The first sentence of what is said of a kind."""
    return " ".join((KINDS[kind].__doc__ or "").split())


if __name__ == "__main__":
    sys.exit(main())
