"""``stabzoo check``: claims beside proofs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.text import Text

from stabzoo.claims import Claims, SchemeCheck, check_claims, order_text
from stabzoo.cli.console import output, print_json, status_text, table
from stabzoo.methods import NotDecided
from stabzoo.registry.catalogue import catalogue

__all__ = ["check_all"]


def check_all(patterns: Sequence[str], *, as_json: bool) -> int:
    """Recompute every claim, print how each scheme fared, and return 1 if anything is false or broken, else 0.

    Raises:
        ConfigError: no scheme has a name that fits a pattern.

    """
    claims = check_claims(patterns)
    if not patterns and catalogue().studies:
        from stabzoo.study.spec import study_problems  # few plugins have any

        claims = replace(claims, problems=tuple(dict.fromkeys([*claims.problems, *study_problems()])))
    if as_json:
        print_json(_json(claims))
        return int(bool(claims.problems))
    console = output()
    reports = [entry.report for entry in claims.schemes]
    columns: dict[str, list[str | Text]] = {
        "scheme": [report.name for report in reports],
        "claimed": [_order_and_status(report.claim.order, report.claim.stability) for report in reports],
        "proved": [
            _order_and_status(report.card.order, report.card.status) if report.card else "-" for report in reports
        ],
        "condition": [_conditions(entry) for entry in claims.schemes],
        "verdict": [_verdict(entry) for entry in claims.schemes],
        "plugin": [report.plugin.name for report in reports],
    }
    table(console, columns, expendable=("plugin",))
    console.print()
    for problem in claims.problems:
        console.print(problem, style="red")
    ran = f"{claims.checks} checks of {len(claims.schemes)} schemes and {claims.models} models"
    if not patterns:
        brought = {"evaluations": len(catalogue().evaluations), "studies": len(catalogue().studies)}
        ran += "".join(f", {what} of plugins read: {count}" for what, count in brought.items() if count)
    if claims.problems:
        console.print(f"{ran}: {len(claims.problems)} false or broken.", style="bold red")
    else:
        console.print(f"{ran}, all true.", style="green")
    return int(bool(claims.problems))


def _order_and_status(order: int | str | NotDecided | None, status: str) -> str:
    return f"{order_text(order)}, {status}"


def _conditions(entry: SchemeCheck) -> str:
    texts = [
        f"{check.name}: {check.condition} ({'proved' if check.proved else f'{check.values} values, not proved'})"
        for check in entry.conditions
    ]
    texts += [f"{text}: {fared.how}" for text, fared in entry.ranges.items()]
    return "; ".join(texts) or "-"


def _verdict(entry: SchemeCheck) -> Text:
    if entry.report.card is None:
        return status_text("broken")
    return Text("FALSE", style="bold red") if entry.false_claims else Text("true", style="green")


def _json(claims: Claims) -> dict[str, object]:
    return {
        "ok": not claims.problems,
        "checks": claims.checks,
        "models": claims.models,
        "evaluations": list(catalogue().evaluations),
        "studies": list(catalogue().studies),
        "schemes": [
            {
                "name": entry.report.name,
                "plugin": entry.report.plugin.name,
                "distribution": entry.report.plugin.distribution,
                "checks": entry.checks,
                "conditions": [check.to_dict() for check in entry.conditions],
                "stable_ranges": {text: fared.how for text, fared in entry.ranges.items()},
                "false_claims": list(entry.false_claims),
                "error": entry.report.error,
            }
            for entry in claims.schemes
        ],
        "problems": list(claims.problems),
    }
