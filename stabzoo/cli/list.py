"""``stabzoo list``: every scheme and model with what is proved of it, and what else plugins bring; also broken ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeVar

from rich.console import Console
from rich.text import Text

import stabzoo
from stabzoo.claims import ModelReport, SchemeReport, model_problems, model_reports, plugin_problems, scheme_reports
from stabzoo.cli.card_text import verdict
from stabzoo.cli.console import Status, brief, output, print_json, status_text, table
from stabzoo.errors import ConfigError, PluginError
from stabzoo.metric import Metric
from stabzoo.registry.catalogue import catalogue, unknown_name
from stabzoo.registry.discovery import Plugin
from stabzoo.registry.loading import load_plugin
from stabzoo.registry.schema import BranchEntry, SchemeClaim
from stabzoo.stability import StabilityCard
from stabzoo.stability.enclosure import decided, real_to_json

__all__ = ["list_all"]

Report = TypeVar("Report", SchemeReport, ModelReport)

OTHER = "other"  # of a scheme whose registry says no family


def list_all(patterns: Sequence[str], status: Status | None, *, schemes: bool, models: bool, as_json: bool) -> None:
    """Print the schemes and the models whose names match a pattern (or whose scheme's does) and that have the status.

    Raises:
        ConfigError: a pattern matches nothing.

    """
    all_schemes, all_models = scheme_reports(), model_reports()
    for pattern in patterns:
        names = [*(s.name for s in all_schemes), *(m.name for m in all_models), *catalogue().branches]
        names += [*catalogue().evaluations, *catalogue().studies]
        if not any(fnmatchcase(name, pattern) for name in names):
            raise unknown_name("scheme, model, branch, evaluation or study", pattern, names)
    chosen_schemes = [s for s in all_schemes if _chosen(patterns, status, s.card, s.name)] if schemes else []
    chosen_models = (
        [m for m in all_models if _chosen(patterns, status, m.card, m.name, m.config.scheme)] if models else []
    )
    others = schemes and models and status is None
    chosen_branches = {
        name: entry for name, entry in catalogue().branches.items() if others and _chosen(patterns, None, None, name)
    }
    brought = [each for each in _brought() if others and _chosen(patterns, None, None, each.name)]
    problems = plugin_problems()
    if as_json:
        print_json(
            {
                "version": stabzoo.__version__,
                "schemes": [_scheme_json(report) for report in chosen_schemes],
                "models": [_model_json(report) for report in chosen_models],
                "branches": [
                    {"name": name, **_owner_json(plugin), **entry.model_dump(mode="json")}
                    for name, (plugin, entry) in chosen_branches.items()
                ],
                **{
                    plural: [
                        {"name": each.name, **_owner_json(each.plugin), "about": each.about, "error": each.error}
                        for each in brought
                        if each.kind == kind
                    ]
                    for kind, plural in (("evaluation", "evaluations"), ("study", "studies"))
                },
                "problems": problems,
            }
        )
        return
    chosen_schemes, chosen_models = _by_family(chosen_schemes), _by_family(chosen_models)
    console = output()
    everything = not patterns and status in (None, "broken")
    unread = [p for p in catalogue().plugins if p.registry is None] if everything and schemes else []
    if chosen_schemes or unread:
        _print_schemes(console, chosen_schemes, unread)
        console.print()
    if chosen_models:
        _print_models(console, chosen_models)
        console.print()
    if chosen_branches:
        _print_branches(console, chosen_branches)
        console.print()
    for kind, what in (("evaluation", "measures"), ("study", "title")):
        if rows := [each for each in brought if each.kind == kind]:
            columns: dict[str, Sequence[str | Text]] = {
                kind: [each.name for each in rows],
                what: [each.about or "-" for each in rows],
                **_owned([each.plugin for each in rows]),
            }
            table(console, columns, expendable=("distribution", "plugin"))
            console.print()
    if not (chosen_schemes or chosen_models or chosen_branches or brought or unread):
        console.print("Nothing matches.")
    problems += [f"{s.plugin}: scheme {s.name!r} {claim}" for s in chosen_schemes for claim in s.false_claims]
    problems += [report.error for report in (*chosen_schemes, *brought) if report.error]
    for problem in dict.fromkeys([*problems, *model_problems(chosen_models)]):
        console.print(problem, style="red")


@dataclass(frozen=True)
class Brought:
    """An evaluation or a study of a plugin: what it measures or is about, or why that is not known."""

    kind: Literal["evaluation", "study"]
    name: str
    plugin: Plugin
    about: str = ""
    error: str | None = None


def _brought() -> Iterator[Brought]:
    """The evaluations and the studies of plugins."""
    for name, plugin in catalogue().evaluations.items():
        try:
            metric = getattr(load_plugin(plugin.name, "evaluations")[name], "metric", None)
        except PluginError as error:
            yield Brought("evaluation", name, plugin, error=str(error))
            continue
        better = "" if not isinstance(metric, Metric) or metric.higher_is_better else ", lower is better"
        yield Brought("evaluation", name, plugin, f"{metric.label}{better}" if isinstance(metric, Metric) else "")
    if catalogue().studies:
        from stabzoo.study.spec import load_study  # few plugins have any

        for name, (plugin, _) in catalogue().studies.items():
            try:
                yield Brought("study", name, plugin, load_study(name).title)
            except (ConfigError, PluginError) as error:
                yield Brought("study", name, plugin, error=" ".join(str(error).split()))


def _chosen(patterns: Sequence[str], status: Status | None, card: StabilityCard | None, *names: str) -> bool:
    if status is not None and status != (card.status if card else "broken"):
        return False
    return not patterns or any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _family(report: SchemeReport | ModelReport) -> str:
    """The family of a scheme, or of a model's, that its registry says; ``other`` where it says none."""
    name = report.name if isinstance(report, SchemeReport) else report.config.scheme
    scheme = catalogue().schemes.get(name)
    return scheme[1].family if scheme and scheme[1].family else OTHER


def _by_family(reports: Sequence[Report]) -> list[Report]:
    """The reports of a family side by side; families stand in the order of their first member, ``other`` at the end."""
    names = list(dict.fromkeys(map(_family, reports)))
    return sorted(reports, key=lambda report: (_family(report) == OTHER, names.index(_family(report))))


def _once(cells: Sequence[str]) -> list[str]:
    """The same, with a name only at the first row that has it."""
    return [cell if cell != before else "" for cell, before in zip(cells, ["", *cells], strict=False)]


def _print_schemes(console: Console, reports: Sequence[SchemeReport], unread: Sequence[Plugin]) -> None:
    cards = [*(report.card for report in reports), *(None for _ in unread)]
    owners = [*(report.plugin for report in reports), *unread]
    names = [report.name + ("*" if report.is_learnable else "") for report in reports]
    columns: dict[str, Sequence[str | Text]] = {
        "family": [*_once([_family(report) for report in reports]), *("-" for _ in unread)],
        "scheme": [*names, *(f"(plugin {plugin.name})" for plugin in unread)],
        **_proved(cards),
        **_stiff(cards),
        "error constant": [brief(card.error_constant) if card else "-" for card in cards],
        "certified": [*(_certified(report.claim) for report in reports), *("-" for _ in unread)],
        **_owned(owners),
    }
    table(console, columns, expendable=("distribution", "R(z)", "error constant", "certified"))
    if any(report.is_learnable for report in reports):
        console.print("* every block trains its own coefficients; those at initialisation are shown", style="dim")


def _print_models(console: Console, reports: Sequence[ModelReport]) -> None:
    """Print a row for all models that differ in nothing but their depth."""
    groups: dict[tuple[Any, ...], list[ModelReport]] = {}
    for report in reports:
        alike = _pattern(report), report.plugin.name, report.config.form, report.config.block, id(report.card)
        groups.setdefault(alike, []).append(report)
    rows = list(groups.values())
    configs, claims = [row[0].config for row in rows], catalogue().schemes
    columns: dict[str, Sequence[str | Text]] = {
        "family": _once([_family(row[0]) for row in rows]),
        "model": [row[0].name if len(row) == 1 else _pattern(row[0]) for row in rows],
        "depth": [", ".join(str(report.config.depth) for report in row) for row in rows],
        "form": [config.form for config in configs],
        "blocks": [config.block for config in configs],
        "scheme": [config.scheme for config in configs],
        **_proved([row[0].card for row in rows]),
        "certified": [_certified(claims[config.scheme][1]) if config.scheme in claims else "-" for config in configs],
        **_owned([row[0].plugin for row in rows]),
    }
    expendable = (
        "distribution",
        "plugin",
        "family",
        "steps",
        "order",
        "parasitic radius",
        "blocks",
        "form",
        "certified",
    )
    table(console, columns, expendable)


def _print_branches(console: Console, branches: Mapping[str, tuple[Plugin, BranchEntry]]) -> None:
    entries = [entry for _, entry in branches.values()]
    columns: dict[str, Sequence[str | Text]] = {
        "branch": list(branches),
        "f": [entry.summary or "-" for entry in entries],
        **_owned([plugin for plugin, _ in branches.values()]),
    }
    table(console, columns, expendable=("distribution", "plugin"))


def _certified(claim: SchemeClaim) -> str:
    """What is certified of the scheme's networks; `stabzoo show` says under which condition."""
    return ", ".join(claim.certified) or "-"


def _pattern(report: ModelReport) -> str:
    """The model's name with ``{depth}`` for its depth."""
    return report.name.replace(str(report.config.depth), "{depth}", 1)


def _proved(cards: Sequence[StabilityCard | None]) -> dict[str, Sequence[str | Text]]:
    return {
        "steps": [str(card.method.steps) if card else "-" for card in cards],
        "order": ["-" if card is None or card.order in (None, 0) else str(card.order) for card in cards],
        "zero stability": [status_text(card.status if card else "broken") for card in cards],
        "parasitic radius": [brief(card.parasitic_radius) if card else "-" for card in cards],
    }


def _stiff(cards: Sequence[StabilityCard | None]) -> dict[str, Sequence[str | Text]]:
    """A- and L-stability and R(z), where an implicit scheme is listed: no explicit one is A-stable."""
    if all(card is None or card.method.is_explicit for card in cards):
        return {}
    return {
        "A-stable": [_stiff_stability(card) if card else "-" for card in cards],
        "R(z)": [
            "-" if card is None or card.stability_function is None else str(card.stability_function) for card in cards
        ],
    }


def _stiff_stability(card: StabilityCard) -> str:
    return verdict(card.is_A_stable, "A and L" if card.is_L_stable is True else "A")


def _owned(plugins: Sequence[Plugin]) -> dict[str, Sequence[str | Text]]:
    return {"plugin": [plugin.name for plugin in plugins], "distribution": [plugin.distribution for plugin in plugins]}


def _owner_json(plugin: Plugin) -> dict[str, Any]:
    return {"plugin": plugin.name, "distribution": plugin.distribution}


def _proved_json(card: StabilityCard | None, error: str | None) -> dict[str, Any]:
    return {
        "kind": card and card.method.kind,
        "steps": card and card.method.steps,
        "order": card and decided(card.order),
        "status": card.status if card else "broken",
        "is_consistent": card and decided(card.is_consistent),
        "is_A_stable": card and decided(card.is_A_stable),
        "is_L_stable": card and decided(card.is_L_stable),
        "parasitic_radius": card and real_to_json(card.parasitic_radius),
        "error": error,
    }


def _scheme_json(report: SchemeReport) -> dict[str, Any]:
    return {
        "name": report.name,
        **_owner_json(report.plugin),
        "family": report.claim.family or None,
        "learnable": report.is_learnable,
        **_proved_json(report.card, report.error),
        "error_constant": report.card and real_to_json(report.card.error_constant),
        "stability_function": report.card and decided(report.card.stability_function),
        "claim": report.claim.model_dump(mode="json", include={"order", "stability", "condition"}),
        "certified": report.claim.certified,
        "false_claims": list(report.false_claims),
    }


def _model_json(report: ModelReport) -> dict[str, Any]:
    config = report.config.model_dump(
        mode="json", include={"scheme", "depth", "form", "block", "width", "parameters", "options"}
    )
    scheme = catalogue().schemes.get(report.config.scheme)
    certified = {"certified": scheme[1].certified if scheme else {}, "family": (scheme and scheme[1].family) or None}
    proved = _proved_json(report.card, report.error)
    return {"name": report.name, **_owner_json(report.plugin), **config, **proved, **certified}
