"""``stabzoo study list`` and ``show``: which studies there are, how many of their runs are finished, what each says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stabzoo.cli.console import Cell, output, print_json, table
from stabzoo.cli.study.phrases import count_runs, named_text, results_in, settings_text
from stabzoo.errors import ConfigError, PluginError
from stabzoo.registry.catalogue import catalogue
from stabzoo.study.analysis.phrases import command_text, published_text
from stabzoo.study.spec import FULL, Published, Study, all_studies, check_models, load_study, owner_of
from stabzoo.terminal import say

__all__ = ["list_studies", "show_study"]


def list_studies(folder: Path | None, *, as_json: bool) -> None:
    """Print all studies, those of plugins with their owner, and how many of their runs are finished in ``folder``."""
    index = results_in(folder)
    found: list[tuple[Study, dict[str, tuple[int, int]]]] = []
    problems: list[str] = []
    for name in all_studies():
        try:
            study = load_study(name)
        except (ConfigError, PluginError) as error:
            problems.append(str(error))  # a plugin's, which costs that one
            continue
        scaled = [study.at(scale) for scale in (FULL, *study.scales)]
        counts = {each.scale: (len(index.records(each)), count_runs(each)) for each in scaled}
        found.append((study, counts))
    if as_json:
        print_json(
            {
                "results": str(index.path),
                "studies": [
                    {
                        "name": study.name,
                        "title": study.title,
                        "plugin": owner_of(study.name) or None,
                        "scales": [
                            {"scale": scale, "runs": runs, "finished": finished}
                            for scale, (finished, runs) in counts.items()
                        ],
                    }
                    for study, counts in found
                ],
                "problems": problems,
            }
        )
        return
    columns: dict[str, Sequence[Cell]] = {
        "study": [study.name for study, _ in found],
        "runs": [str(counts[FULL][1]) for _, counts in found],
        "finished": [_finished(counts) for _, counts in found],
        "title": [study.title for study, _ in found],
        "scales": [", ".join(study.scales) for study, _ in found],
    }
    if any(owner_of(study.name) for study, _ in found):
        columns["plugin"] = [owner_of(study.name) or "-" for study, _ in found]
    console = output()
    table(console, columns, expendable=("scales",), whole=("study",))
    for problem in problems:
        say(console, problem, style="red")


def _finished(counts: dict[str, tuple[int, int]]) -> str:
    """``9/15, laptop 3/3``: of the scales with what is finished, the full one first."""
    texts = [
        f"{'' if scale == FULL else f'{scale} '}{finished}/{runs}"
        for scale, (finished, runs) in counts.items()
        if finished
    ]
    return ", ".join(texts) or "-"


def show_study(name: str, scale: str, *, as_json: bool) -> None:
    """Print all that a study says, and the keys of its runs."""
    study, owner = load_study(name, scale), owner_of(name)
    check_models(study)
    keys = {(network.label, run.seed): run.key for network, run in study.runs()}
    if as_json:
        runs = [{"network": label, "seed": seed, "key": key} for (label, seed), key in keys.items()]
        origin = {"command": command_text(study), "plugin": owner or None}
        print_json({**study.model_dump(mode="json"), "runs": runs, **origin})
        return
    console = output()
    say(console, study.title, style="bold")
    say(console, study.description)
    console.print()
    entries = {
        **({"plugin": str(catalogue().studies[name][0])} if owner else {}),
        "scale": study.scale,
        "runs": f"{len(keys)}: one a network and seed; seeds {', '.join(map(str, study.seeds))}",
        "data": named_text(study.data.model_dump(mode="json"), "name"),
        "training": settings_text(study.training.model_dump(mode="json", exclude_defaults=True)),
        "evaluations": "; ".join(evaluation.heading for evaluation in study.evaluations),
        "diagnostics": "; ".join(named_text(entry.model_dump(mode="json"), "kind") for entry in study.diagnostics),
    }
    grid = Table.grid(padding=(0, 2, 0, 0))
    for what, text in entries.items():
        grid.add_row(Text(what), Text(text or "none"))
    console.print(grid)
    console.print()
    own = [settings_text(network.training) or "-" for network in study.networks]
    columns: dict[str, Sequence[Cell]] = {
        "network": [network.label for network in study.networks],
        "model": [network.model for network in study.networks],
        "args": [settings_text(network.args) or "-" for network in study.networks],
        **({"training": own} if any(network.training for network in study.networks) else {}),
        "keys": [", ".join(keys[network.label, seed] for seed in study.seeds) for network in study.networks],
    }
    table(console, columns, expendable=("keys",))
    for published in study.published:
        console.print()
        _show_published(console, published)
    for title, lines in (
        ("Limits", study.limits),
        ("Scales", [f"{scale}: {_scale_text(study, scale)}" for scale in study.scales]),
    ):
        if lines:
            say(console, f"\n{title}", style="bold")
            for line in lines:
                say(console, f"- {line}")
    say(console, f"\n{command_text(study)}", style="dim")


def _show_published(console: Console, published: Published) -> None:
    from stabzoo.terminal import numbers

    say(console, f"Published: {published.reference}", style="bold")
    say(console, published.setting)
    columns = {
        column: [published_text(row[i]) for row in published.values.values()]
        for i, column in enumerate(published.columns)
    }
    heads = {"network": [Text(label) for label in published.values]}
    for part in numbers("", heads, columns, console.width):
        console.print(part)


def _scale_text(study: Study, scale: str) -> str:
    smaller = study.at(scale)
    text = f"{count_runs(smaller)} runs"
    if settings := settings_text({**study.scales[scale].args, **study.scales[scale].training}):
        text += f"; {settings}"
    return f"{text}; {named_text(smaller.data.model_dump(mode='json'), 'name')}"
