"""The claims of every ``registry.yaml``, recomputed: order, stability, condition, certificate, every model's scheme.

`scheme_reports` and `model_reports` say what is proved of everything in the catalogue; `check_claims` compares it with
what is claimed.  Only claims about networks with weights (`certified`) and models that are built on trial import torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from stabzoo.discretization import BranchKind, Discretization
from stabzoo.errors import ConfigError, PluginError, PluginWarning, enumeration
from stabzoo.methods import NOT_DECIDED, NotDecided, OwnStep
from stabzoo.registry.catalogue import Catalogue, catalogue, unknown_name
from stabzoo.registry.discovery import Plugin
from stabzoo.registry.guard import failure_text, plugin_code
from stabzoo.registry.loading import get_branch, get_scheme, load_plugin, one_command
from stabzoo.registry.proofs import ConditionCheck, check_condition
from stabzoo.registry.schema import ModelConfig, SchemeClaim
from stabzoo.schemes import LearnableMultistep
from stabzoo.stability import StabilityCard, card, verify_certificate
from stabzoo.stability.parameters.ranges import RangeCheck, check_range
from stabzoo.stability.parameters.stable_set import Property

__all__ = [
    "Claims",
    "ModelReport",
    "SchemeCheck",
    "SchemeReport",
    "branch_problems",
    "check_claims",
    "check_scheme",
    "condition_claims",
    "evaluation_problems",
    "model_problems",
    "model_reports",
    "on_trial",
    "order_text",
    "plugin_problems",
    "prove",
    "scheme_reports",
]

STIFF: dict[str, Callable[[StabilityCard], bool | NotDecided]] = {
    "A-stable": lambda proved: proved.is_A_stable,
    "L-stable": lambda proved: proved.is_L_stable,
}

GEOMETRIC: dict[str, Callable[[StabilityCard], bool | NotDecided]] = {
    "symplectic": lambda proved: proved.is_symplectic,
    "symmetric": lambda proved: proved.is_symmetric,
}


@dataclass(frozen=True)
class SchemeReport:
    """A scheme with its default parameters: what its plugin claims and what is proved.

    Attributes:
        name: Its name in the registry.
        plugin: The plugin that provides it.
        claim: What the plugin's registry says.
        scheme: The scheme, or None where the plugin is broken.
        card: What is proved, or None where the plugin is broken.
        error: Why there is no card.

    """

    name: str
    plugin: Plugin
    claim: SchemeClaim
    scheme: Discretization | None = None
    card: StabilityCard | None = None
    error: str | None = None

    @property
    def is_learnable(self) -> bool:
        """Whether every block trains coefficients of its own; the card is about those at initialisation."""
        return isinstance(self.scheme, LearnableMultistep)

    @property
    def false_claims(self) -> tuple[str, ...]:
        """What is claimed of the default parameters and is false, one sentence each; the condition is not among it."""
        if self.card is None:
            return ()
        found: list[str] = []
        kind = self.card.method.kind
        undecided = f"not decided of its {kind}"
        undecided += "; state by method() what it computes" if isinstance(self.card.method, OwnStep) else ""
        order = order_text(self.card.order)
        if order_text(self.claim.order) != order:
            verdict = undecided if self.card.order is NOT_DECIDED else f"proved: {order}"
            found.append(f"claims {order_text(self.claim.order)}; {verdict}")
        if self.claim.stability != self.card.status:
            status = self.card.status
            verdict = status if status == "not decided" else f"proved: {status}"
            found.append(f"claims stability {self.claim.stability}; {verdict} ({self.card.reason})")
        claims = {**_stiff_claims(self.claim), **_geometric_claims(self.claim)}
        for name, claimed in claims.items():
            if isinstance(claimed, bool) and (proved := {**STIFF, **GEOMETRIC}[name](self.card)) is not claimed:
                verdict = undecided if proved is NOT_DECIDED else f"proved: {_not(proved)}{name}"
                found.append(f"claims {_not(claimed)}{name}; {verdict}")
        return tuple(found)


@dataclass(frozen=True)
class ModelReport:
    """A model: its configuration, and the card of its scheme with its parameters, or why there is none."""

    name: str
    plugin: Plugin
    config: ModelConfig
    card: StabilityCard | None = None
    error: str | None = None


@dataclass(frozen=True)
class SchemeCheck:
    """How the claims about one scheme fared.

    Attributes:
        report: What is claimed and proved of the default parameters.
        checks: How many claims were recomputed, each value of a condition's parameter counted.
        conditions: How those about all values of a parameter fared.
        false_claims: What is false, one sentence each.
        ranges: How the ranges fared that the option ``stable`` of a learnable scheme keeps it in, by their text.

    """

    report: SchemeReport
    checks: int
    conditions: tuple[ConditionCheck, ...]
    false_claims: tuple[str, ...]
    ranges: Mapping[str, RangeCheck] = field(default_factory=dict)


@dataclass(frozen=True)
class Claims:
    """How all claims fared.

    Attributes:
        schemes: One entry a scheme.
        models: How many model configurations were checked.
        problems: Everything that is false or broken, one sentence each, naming the plugin.

    """

    schemes: tuple[SchemeCheck, ...]
    models: int
    problems: tuple[str, ...]

    @property
    def checks(self) -> int:
        """How many claims were recomputed."""
        return sum(check.checks for check in self.schemes) + self.models


def prove(name: str, parameters: Mapping[str, Any] | None = None) -> tuple[Discretization, StabilityCard]:
    """Return a scheme with the given parameters, and its card.

    Raises:
        ConfigError: unknown scheme, or parameters that it does not accept.
        PluginError: the plugin that provides it is broken, whatever its code did.

    """
    scheme = get_scheme(name, **(parameters or {}))
    with plugin_code(f"{catalogue().schemes[name][0]}: scheme {name!r}"):
        return scheme, card(scheme)


@one_command()
def scheme_reports() -> list[SchemeReport]:
    """Return what is claimed and proved of every scheme of the catalogue; a broken plugin's schemes are among them."""
    reports: list[SchemeReport] = []
    for name, (plugin, claim) in _catalogue().schemes.items():
        try:
            reports.append(SchemeReport(name, plugin, claim, *prove(name)))
        except PluginError as error:
            reports.append(SchemeReport(name, plugin, claim, error=str(error)))
        except ConfigError as error:  # no defaults for its parameters
            reports.append(SchemeReport(name, plugin, claim, error=f"{plugin}: {error}"))
    return reports


@one_command()
def model_reports() -> list[ModelReport]:
    """Return what is proved of the scheme of every model of the catalogue; broken models are among them."""
    proved: dict[tuple[str, str], tuple[StabilityCard | None, str | None]] = {}  # most models share a scheme
    reports: list[ModelReport] = []
    for name, (plugin, config) in _catalogue().models.items():
        key = config.scheme, repr(config.parameters)
        if key not in proved:
            try:
                proved[key] = prove(config.scheme, config.parameters)[1], None
            except (ConfigError, PluginError) as error:
                proved[key] = None, str(error)
        reports.append(ModelReport(name, plugin, config, *proved[key]))
    return reports


def on_trial(reports: Sequence[ModelReport]) -> list[ModelReport]:
    """The same reports; that of the smallest model of each kind says why it cannot be built, if it cannot.

    Of one kind are models that differ in their depth and width alone.
    """
    from stabzoo.zoo import why_not_built  # imports torch

    kinds: dict[tuple[Any, ...], ModelReport] = {}
    for report in reports:
        config = report.config
        kind = config.scheme, config.form, config.block, len(config.layers), repr((config.parameters, config.options))
        if report.error is None and (kind not in kinds or config.depth < kinds[kind].config.depth):
            kinds[kind] = report
    smallest = {report.name for report in kinds.values()}
    return [
        replace(report, error=why_not_built(report.name, report.config)) if report.name in smallest else report
        for report in reports
    ]


@one_command()
def check_claims(patterns: Sequence[str] = ()) -> Claims:
    """Recompute every claim of every plugin, or those about the schemes whose names fit ``patterns`` and their models.

    Of each scheme: order, stability and certificate with its default parameters, its conditions (of zero, A- and
    L-stability) at all values of their parameter (see `check_condition`), and what is certified of its networks.  Of
    each model: its scheme exists and takes its parameters; without patterns, also that the smallest of each kind, and
    every kind of branch, can be built, and every kind of evaluation be imported.

    Raises:
        ConfigError: no scheme has a name that fits a pattern.

    """
    reports, models, problems = scheme_reports(), model_reports(), plugin_problems()
    if patterns:
        names = [report.name for report in reports]
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise unknown_name("scheme", pattern, names)
        reports = [report for report in reports if any(fnmatchcase(report.name, pattern) for pattern in patterns)]
        chosen = {report.name for report in reports}
        models, problems = [model for model in models if model.config.scheme in chosen], []
    else:
        models = on_trial(models)
        problems += [*branch_problems(), *evaluation_problems()]
    schemes = tuple(check_scheme(report) for report in reports)
    for check in schemes:
        problems += [f"{check.report.plugin}: scheme {check.report.name!r} {text}" for text in check.false_claims]
        problems += [check.report.error] if check.report.error else []
    return Claims(schemes, len(models), tuple(dict.fromkeys([*problems, *model_problems(models)])))


def plugin_problems() -> list[str]:
    """Return what could not be read of the plugins, one sentence each."""
    return [f"{plugin}: {problem}" for plugin in _catalogue().plugins for problem in plugin.problems]


@one_command()
def branch_problems(of: Plugin | None = None) -> list[str]:
    """Return why kinds of branches (``of`` a plugin) cannot be built, from building them on the meta device."""
    problems: list[str] = []
    for name, (plugin, _) in _catalogue().branches.items():
        if of not in (None, plugin):
            continue
        try:
            kind = get_branch(name)
            with plugin_code(f"{plugin}: branch {name!r}"):
                _try_branch(kind)
        except ConfigError as error:  # no defaults for its fields
            problems.append(f"{plugin}: {error}")
        except PluginError as error:
            problems.append(str(error))
    return problems


def _try_branch(kind: BranchKind) -> None:
    """Build branches of a kind; torch and timm, which may be broken themselves, are imported here."""
    import torch

    from stabzoo.networks.branch import BranchSite, build_branch

    with torch.device("meta"):
        for site in (BranchSite(4, 4, 4), BranchSite(4, 8, 8, stride=2)):
            build_branch(kind, site, tried=True)


@one_command()
def evaluation_problems(of: Plugin | None = None) -> list[str]:
    """Return why kinds of evaluations (``of`` a plugin) cannot be had, from importing them."""
    problems: list[str] = []
    owners = list(_catalogue().evaluations.values())
    for plugin in _catalogue().plugins:
        if of in (None, plugin) and any(owner is plugin for owner in owners):
            try:
                load_plugin(plugin.name, "evaluations")
            except PluginError as error:
                problems.append(str(error))
    return problems


def model_problems(reports: Iterable[ModelReport]) -> list[str]:
    """Return why models cannot be built, one sentence for all models of a plugin with the same reason."""
    names: dict[tuple[str, str], list[str]] = {}
    for report in reports:
        if report.error is not None:
            names.setdefault((str(report.plugin), report.error), []).append(report.name)
    return [
        f"{plugin}: model{'s' if len(broken) > 1 else ''} {enumeration(broken)} cannot be built: {reason}"
        for (plugin, reason), broken in names.items()
    ]


def _catalogue() -> Catalogue:
    """The catalogue, without its warnings: here a broken plugin is a result."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="plugin ", category=PluginWarning)
        return catalogue()


def check_scheme(report: SchemeReport) -> SchemeCheck:
    """Recompute every claim about one scheme; none where the plugin is broken."""
    if report.card is None:
        return SchemeCheck(report, 0, (), ())
    false_claims, checks, conditions = list(report.false_claims), 3, list[ConditionCheck]()
    if not verify_certificate(report.card.method, report.card.certificate):
        false_claims.append("the certificate of its zero stability does not verify")
    for name, condition in condition_claims(report.claim).items():
        if isinstance(condition, str):
            conditions.append(check_condition(report.plugin, report.name, condition, name))
            checks += max(conditions[-1].values, 1)
        else:
            checks += 1  # among the report's
    checks += len(_geometric_claims(report.claim))  # among the report's, too
    false_claims += [check.false_claim for check in conditions if check.false_claim]
    if report.claim.certified:
        checks += len(report.claim.certified)
        false_claims += _check_certificates(report)
    ranges = _stable_ranges(report)
    checks += len(ranges)
    false_claims += [f"promises {text}; {fared.problem}" for text, fared in ranges.items() if fared.problem]
    return SchemeCheck(report, checks, tuple(conditions), tuple(false_claims), ranges)


def _stable_ranges(report: SchemeReport) -> dict[str, RangeCheck]:
    """What the option ``stable`` of a learnable scheme promises, and how that fared."""
    scheme = report.scheme
    if not isinstance(scheme, LearnableMultistep):
        return {}
    found = dict[str, RangeCheck]()
    for guarantee, place in scheme.stable_ranges.items():
        ends = ", ".join(f"{low} to {high}" for low, high in place.intervals())
        text = f"stable={guarantee} ({scheme.symbol(place)} in {ends})"
        with plugin_code(f"{report.plugin}: scheme {report.name!r}, stable={guarantee!r}"):
            found[text] = check_range(scheme.within(guarantee), place.intervals(), products=guarantee == "products")
    return found


def _check_certificates(report: SchemeReport) -> list[str]:
    """What is claimed to be certified and is not proved of the scheme's shallowest network with random weights."""
    models = {name: model for name, (_, model) in catalogue().models.items() if model.scheme == report.name}
    if not models:
        return [f"claims certified {', '.join(report.claim.certified)}, but has no model of which it could be proved"]
    from stabzoo.diagnostics.bounds.certification import unproved_certificates  # imports torch

    shallowest = min(models, key=lambda name: models[name].depth)
    try:
        with plugin_code(f"{report.plugin}: model {shallowest!r}"):
            return unproved_certificates(shallowest, report.claim.certified)
    except PluginError as error:
        reason = failure_text(error.__cause__ or error)
        return [f"claims certified {', '.join(report.claim.certified)}; {shallowest} has no bounds: {reason}"]


def condition_claims(claim: SchemeClaim) -> dict[Property, bool | str]:
    """Return what is claimed of zero, A- and L-stability: whether with default parameters, or exactly when."""
    return {**({"zero-stable": claim.condition} if claim.condition else {}), **_stiff_claims(claim)}


def _stiff_claims(claim: SchemeClaim) -> dict[Property, bool | str]:
    """What is claimed of A- and L-stability: whether, or exactly when."""
    claims: dict[Property, bool | str | None] = {"A-stable": claim.a_stable, "L-stable": claim.l_stable}
    return {name: claimed for name, claimed in claims.items() if claimed is not None}


def _geometric_claims(claim: SchemeClaim) -> dict[str, bool]:
    """What is claimed of symplecticity and symmetry."""
    claims = {"symplectic": claim.symplectic, "symmetric": claim.symmetric}
    return {name: claimed for name, claimed in claims.items() if claimed is not None}


def _not(holds: bool | NotDecided) -> str:
    return "" if holds else "not "


def order_text(order: int | str | NotDecided | None) -> str:
    """``order 2``, ``order not decided`` or ``not consistent``."""
    return "not consistent" if order in (None, 0) else f"order {order}"
