"""The claims of every ``registry.yaml``, recomputed: order, stability, condition, certificate, every model's scheme.

`scheme_reports` and `model_reports` say what is proved of everything in the catalogue; `check_claims` compares it with
what is claimed.  Only claims about networks with weights (`certified`) and models that are built on trial import torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stabzoo.discretization import Discretization
from stabzoo.errors import SHOWN, ConfigError, PluginError, PluginWarning, enumeration
from stabzoo.multistep import LinearMultistep
from stabzoo.registry.catalogue import Catalogue, catalogue
from stabzoo.registry.conditions import SeveralParametersError, parse_condition
from stabzoo.registry.discovery import Plugin
from stabzoo.registry.guard import failure_text, plugin_code
from stabzoo.registry.loading import get_scheme, one_command, parameter_names, scheme_class
from stabzoo.registry.schema import ModelConfig, SchemeClaim
from stabzoo.schemes import LearnableMultistep
from stabzoo.stability import StabilityCard, card, is_zero_stable, verify_certificate

__all__ = [
    "Claims",
    "ModelReport",
    "SchemeCheck",
    "SchemeReport",
    "check_claims",
    "check_scheme",
    "model_problems",
    "model_reports",
    "on_trial",
    "plugin_problems",
    "prove",
    "scheme_reports",
]

STIFF: dict[str, Callable[[StabilityCard], bool]] = {
    "A-stable": lambda proved: proved.is_A_stable,
    "L-stable": lambda proved: proved.is_L_stable,
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
        """What is claimed of the default parameters and is not so, one sentence each; the condition is not among it."""
        if self.card is None:
            return ()
        found: list[str] = []
        if (self.claim.order or None) != (self.card.order or None):
            found.append(f"claims {_order_text(self.claim.order)}; proved: {_order_text(self.card.order)}")
        if self.claim.stability != self.card.status:
            found.append(f"claims stability {self.claim.stability}; proved: {self.card.status} ({self.card.reason})")
        for name, claimed in _stiff_claims(self.claim).items():
            if isinstance(claimed, bool) and claimed != (proved := STIFF[name](self.card)):
                found.append(f"claims {_not(claimed)}{name}; proved: {_not(proved)}{name}")
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
        checks: How many claims were recomputed, each value of the condition's parameter counted.
        values: At how many values the condition was checked.
        refused: How many further values the scheme itself does not accept.
        false_claims: What is not so, one sentence each.

    """

    report: SchemeReport
    checks: int
    values: int
    refused: int
    false_claims: tuple[str, ...]


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
        kind = config.scheme, config.form, config.block, len(config.layers), repr(config.parameters)
        if report.error is None and (kind not in kinds or config.depth < kinds[kind].config.depth):
            kinds[kind] = report
    smallest = {report.name for report in kinds.values()}
    return [
        replace(report, error=why_not_built(report.name, report.config)) if report.name in smallest else report
        for report in reports
    ]


@one_command()
def check_claims() -> Claims:
    """Recompute every claim of every plugin.

    Of each scheme: order, stability and certificate with its default parameters, its conditions (of zero, A- and
    L-stability) at every value of `Condition.probes`, exactly, and what is certified of its networks.  Of each model:
    its scheme exists and takes its parameters, and the smallest of each kind can be built.
    """
    schemes, models = tuple(check_scheme(report) for report in scheme_reports()), on_trial(model_reports())
    problems = plugin_problems()
    for check in schemes:
        problems += [f"{check.report.plugin}: scheme {check.report.name!r} {text}" for text in check.false_claims]
        problems += [check.report.error] if check.report.error else []
    return Claims(schemes, len(models), tuple(dict.fromkeys([*problems, *model_problems(models)])))


def plugin_problems() -> list[str]:
    """Return what could not be read of the plugins, one sentence each."""
    return [f"{plugin}: {problem}" for plugin in _catalogue().plugins for problem in plugin.problems]


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
        return SchemeCheck(report, 0, 0, 0, ())
    false_claims, checks, values, refused = list(report.false_claims), 3, 0, 0
    if not verify_certificate(report.card.method, report.card.certificate):
        false_claims.append("the certificate of its root condition does not verify")
    if condition := report.claim.condition:
        claimed = f"claims zero stability exactly when {condition}"
        values, refused, found = _check_condition(report, condition, claimed, "zero-stable", is_zero_stable)
        checks += max(values, 1)
        false_claims += found
    for name, claimed in _stiff_claims(report.claim).items():
        tried, found = 1, []
        if isinstance(claimed, str):
            tried, _, found = _check_condition(
                report, claimed, f"claims {name} exactly when {claimed}", name, _stiff_verdict(name)
            )
        checks += max(tried, 1)
        false_claims += found
    if report.claim.certified:
        checks += len(report.claim.certified)
        false_claims += _check_certificates(report)
    return SchemeCheck(report, checks, values, refused, tuple(false_claims))


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


def _check_condition(
    report: SchemeReport,
    text: str,
    claimed: str,
    adjective: str,
    verdict: Callable[[LinearMultistep], bool],
) -> tuple[int, int, list[str]]:
    """Return how many values were checked, how many the scheme refused, and what is wrong, at most one sentence."""
    try:
        condition = parse_condition(text)
    except SeveralParametersError as error:
        return 0, 0, [f"{claimed}, which cannot be checked: {error}"]
    accepted = parameter_names(scheme_class(report.name))
    if condition.parameter not in accepted:
        takes = f"its parameters: {', '.join(accepted)}" if accepted else "it has no parameters"
        return 0, 0, [f"{claimed}, but has no parameter {condition.parameter!r}; {takes}"]
    values, refused, wrong = 0, 0, list[str]()
    for value in condition.probes():
        place = f"{condition.parameter} = {value}"
        try:
            with plugin_code(f"{report.plugin}: scheme {report.name!r}", passes=(ValueError,)):
                method = get_scheme(report.name, **{condition.parameter: value}).coefficients()
        except ValueError:  # also ConfigError: not a value of this parameter
            refused += 1
            continue
        except PluginError as error:
            failure = (
                f"fails at {place} ({failure_text(error.__cause__ or error)}); refuse such a value by a ValueError"
            )
            return values, refused, [f"{claimed}, but {failure}"]
        values += 1
        if (proved := verdict(method)) != condition.holds(value):
            wrong.append(f"{place} is {_not(proved)}{adjective}")
    if not values:
        return 0, refused, [f"{claimed}, but accepts none of the {refused} values tried"]
    if wrong:
        shown = "; ".join(wrong[:SHOWN])
        more = f"; {len(wrong)} of {values} values are counterexamples" if len(wrong) > SHOWN else ""
        return values, refused, [f"{claimed}; proved: {shown}{more}"]
    return values, refused, []


def _stiff_claims(claim: SchemeClaim) -> dict[str, bool | str]:
    """What is claimed of A- and L-stability: whether, or exactly when."""
    claims = {"A-stable": claim.a_stable, "L-stable": claim.l_stable}
    return {name: claimed for name, claimed in claims.items() if claimed is not None}


def _stiff_verdict(name: str) -> Callable[[LinearMultistep], bool]:
    return lambda method: STIFF[name](card(method))


def _not(holds: bool) -> str:
    return "" if holds else "not "


def _order_text(order: int | None) -> str:
    return f"order {order}" if order else "not consistent"
