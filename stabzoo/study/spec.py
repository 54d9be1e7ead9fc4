"""What a study is: networks, data, training, evaluations and published numbers, all of it data.

A study is a YAML file. It expands into runs, one for each network and seed; a run carries everything that decides its
numbers and its key is a hash of exactly that, so a changed setting redoes only the runs it changes. Reading a study
imports no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from stabzoo.config import FileName, Seed, Strict, explain, load_yaml, validate
from stabzoo.data.manifest import NOT_HERE, manifest
from stabzoo.data.spec import Data, check_augmentation
from stabzoo.errors import ConfigError, PluginError
from stabzoo.evaluation.kinds import RECORDED, Evaluations
from stabzoo.evaluation.spec import Structured
from stabzoo.registry.catalogue import STUDIES, catalogue, unknown_name
from stabzoo.registry.discovery import Plugin
from stabzoo.study.measures import Diagnostic
from stabzoo.training.spec import OF_TIMM, Job, Training, software, sources

__all__ = [
    "Network",
    "Published",
    "Run",
    "Scale",
    "Study",
    "all_studies",
    "check_models",
    "load_study",
    "owner_of",
    "shipped_studies",
    "study_problems",
]


class Network(Strict):
    """One network of a study: a timm model name, its arguments, and the label it has in the report.

    The data determine the input channels and the number of classes; they are not given here.  ``training`` holds single
    settings that replace those of the study, for papers that train networks differently.
    """

    label: Annotated[str, Field(min_length=1, max_length=200)]
    model: Annotated[str, Field(min_length=1)]
    args: dict[str, JsonValue] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)

    @field_validator("args")
    @classmethod
    def _given_by_data(cls, args: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for name in ("in_chans", "num_classes"):
            if name in args:
                raise ValueError(f"{name} comes from the data; remove it")
        return args


class Published(Strict):
    """Numbers from a paper, printed next to the measured ones.

    ``values`` maps a network's label to one value for each column: a mean with its standard deviation, a single number
    if the paper prints no deviation, null if it prints nothing.  A column with the title of an evaluation, or the name
    of a diagnostic's number, is compared with it; if the study at its full scale is the paper's experiment
    (``same_experiment``), number by number.
    """

    reference: str
    setting: str
    columns: tuple[str, ...]
    values: dict[str, tuple[tuple[float, float] | float | None, ...]]
    same_experiment: bool = True

    @model_validator(mode="after")
    def _rectangular(self) -> Published:
        for label, row in self.values.items():
            if len(row) != len(self.columns):
                raise ValueError(
                    f"the values of {label!r} have {len(row)} entries, expected {len(self.columns)}, one a column"
                )
        return self


class Run(Strict):
    """One training: everything that decides its numbers, and nothing else."""

    model: str
    args: dict[str, JsonValue]
    data: Data
    training: Training
    seed: Seed
    threads: Literal[1] = 1  # results change with the number of torch threads
    device: Literal["cpu", "cuda"] = "cpu"
    software: dict[str, str]
    sources: dict[str, str] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        """Sixteen hexadecimal digits of the SHA-256 of the run, as canonical JSON."""
        return hashlib.sha256(self._text(with_sources=True).encode()).hexdigest()[:16]

    @property
    def settings(self) -> str:
        """What its study says of the run, and by which software: all of it but `stabzoo.training.spec.sources`."""
        return self._text(with_sources=False)

    @property
    def is_known(self) -> bool:
        """Whether all of its sources are on this machine."""
        return NOT_HERE not in self.sources.values()

    def job(self, processor: str) -> Job:
        """The training as ``stabzoo train`` writes it down, on a ``processor`` (see `Job`)."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return Job(**fields, processes=1, processor=processor)

    def _text(self, *, with_sources: bool) -> str:
        # without the training's defaults: an option that a later version adds leaves the keys of earlier runs alone
        training = self.training.model_dump(mode="json", exclude_defaults=True)
        training["momentum"] = self.training.momentum  # which had no default, and was there for every optimizer
        content = {**self.model_dump(mode="json"), "training": training}
        if self.device == "cpu":
            del content["device"]  # for the same reason
        if content["data"].get("normalization") == "measured":
            del content["data"]["normalization"]
        if not (with_sources and self.sources):
            del content["sources"]
        return json.dumps(content, sort_keys=True, separators=(",", ":"))


class Scale(Strict):
    """A smaller form of a study: entries given here replace those of the study, and the rest stays.

    ``networks`` are the labels of the networks to keep; ``args`` and ``training`` are single settings for every
    network, and override the network's own; ``limits`` are added to those of the study.
    """

    networks: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    args: dict[str, JsonValue] = Field(default_factory=dict)
    data: Data | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    seeds: tuple[Seed, ...] | None = None
    evaluations: Evaluations | None = None
    diagnostics: tuple[Diagnostic, ...] | None = None
    limits: tuple[str, ...] = ()


FULL = "full"
"""The scale of a study as it stands in its file."""


class Study(Strict):
    """A question put to a set of networks, trained alike unless one says otherwise; ``name`` is by default the file's.

    ``scales`` are smaller forms of it, by name; `at` gives one of them, and ``scale`` says which one this is.  ``file``
    is that of a user's study, by which commands find it; nothing of its numbers depends on it.
    """

    name: FileName
    file: str = Field(default="", exclude=True, repr=False)
    scale: str = FULL
    title: str
    description: str
    networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    data: Data
    training: Training
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    evaluations: Evaluations
    diagnostics: tuple[Diagnostic, ...] = ()
    published: tuple[Published, ...] = ()
    limits: tuple[str, ...] = ()
    scales: dict[Annotated[str, Field(pattern="^[a-z][a-z0-9-]*$", max_length=50)], Scale] = Field(default_factory=dict)

    @property
    def folder_name(self) -> str:
        """What its folder is called: its name, and its scale unless that is the full one."""
        return self.name if self.scale == FULL else f"{self.name}-{self.scale}"

    def at(self, scale: str) -> Study:
        """The study at one of its scales; "full" is the study itself.

        Raises:
            ConfigError: there is no such scale.
            ValueError: the study does not make sense with it.
        """
        if scale == FULL:
            return self
        if scale not in self.scales:
            raise ConfigError(
                f"the study {self.name} has no scale {scale!r}; expected one of {', '.join((FULL, *self.scales))}"
            )
        smaller = self.scales[scale]
        labels = smaller.networks or tuple(network.label for network in self.networks)
        for label in labels:
            if label not in (network.label for network in self.networks):
                raise ValueError(f"scales.{scale}.networks: there is no network {label!r}")
        networks = [
            network.model_copy(
                update={
                    "args": network.args | smaller.args,
                    "training": {k: v for k, v in network.training.items() if k not in smaller.training},
                }
            )
            for network in self.networks
            if network.label in labels
        ]
        published = [
            table.model_copy(
                update={"values": {k: v for k, v in table.values.items() if k in labels}, "same_experiment": False}
            )
            for table in self.published
            if any(label in labels for label in table.values)
        ]
        replaced = {
            name: value
            for name in ("data", "seeds", "evaluations", "diagnostics")
            if (value := getattr(smaller, name)) is not None
        }
        training = self.training.model_dump(exclude_unset=True) | smaller.training
        fields = {name: getattr(self, name) for name in type(self).model_fields} | replaced
        changed = {"scale": scale, "networks": networks, "published": published, "training": training, "scales": {}}
        return Study.model_validate(fields | changed | {"limits": self.limits + smaller.limits})

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        check_augmentation(self.data, self.training.augmentation)
        for position, network in enumerate(self.networks):
            try:
                check_augmentation(self.data, self.training_of(network).augmentation)
            except ValidationError as error:
                raise ValueError(f"networks.{position}.training: {explain(error, Training)}") from None
        labels = [network.label for network in self.networks]
        named: dict[str, list[Any]] = {
            "network label": labels,
            "seed": list(self.seeds),
            "diagnostic": [diagnostic.kind for diagnostic in self.diagnostics],
        }
        for what, values in named.items():
            for value in values:
                if values.count(value) > 1:
                    raise ValueError(f"the {what} {value!r} is written twice")
        if "clean" not in (evaluation.title for evaluation in self.evaluations):
            raise ValueError(
                "evaluations must have an entry with kind: clean, the accuracy all others are compared with"
            )
        for evaluation in self.evaluations:
            count = self.data.test_images
            if isinstance(evaluation, Structured) and count is not None and evaluation.image >= count:
                raise ValueError(
                    f"{evaluation.title}: there are {count} test images, numbered from 0; got image {evaluation.image}"
                )
        for published in self.published:
            for label in published.values:
                if label not in labels:
                    raise ValueError(f"published values of {label!r}: no such network; labels: {', '.join(labels)}")
        for scale in self.scales:
            if scale == FULL:
                raise ValueError(f"scales: {FULL!r} is the study as it stands; choose another name")
            try:
                self.at(scale)
            except ValidationError as error:
                raise ValueError(f"scales.{scale}: {explain(error, Study)}") from None
        return self

    def training_of(self, network: Network) -> Training:
        """How ``network`` is trained: as the study says, but for the settings of its own."""
        if not network.training:
            return self.training
        return Training.model_validate(self.training.model_dump(exclude_unset=True) | network.training)

    def runs(self, device: Literal["cpu", "cuda"] = "cpu", root: Path = Path("data")) -> list[tuple[Network, Run]]:
        """All trainings of the study with their networks, of what is available here; the data lie below ``root``."""
        images = manifest(self.data, root)
        found: list[tuple[Network, Run]] = []
        for network in self.networks:
            decisive = sources(network.model, network.args, images)
            found += [(network, self.run(network, seed, device, decisive)) for seed in self.seeds]
        return found

    def run(
        self,
        network: Network,
        seed: int,
        device: Literal["cpu", "cuda"] = "cpu",
        decisive: dict[str, str] | None = None,
    ) -> Run:
        """The training of ``network`` with ``seed`` on ``device``, by the software installed here."""
        return Run(
            model=network.model,
            args=network.args,
            data=self.data,
            training=self.training_of(network),
            seed=seed,
            software=software(),
            sources=decisive or {},
            device=device,
        )


def shipped_studies() -> list[str]:
    """Names of the studies that come with stabzoo, in alphabetical order."""
    return sorted(path.stem for path in STUDIES.glob("*.yaml"))


def all_studies() -> list[str]:
    """Names of all studies: those that come with stabzoo, and those of plugins, in alphabetical order each."""
    return [*shipped_studies(), *sorted(catalogue().studies)]


def owner_of(name: str) -> str:
    """The plugin that a study is from; nothing for one of ours."""
    found = catalogue().studies.get(name)
    return found[0].name if found else ""


def study_problems(of: Plugin | None = None) -> list[str]:
    """Why studies of plugins (``of`` one) cannot be run at one of their scales, one sentence each."""
    problems: list[str] = []
    for name, (plugin, _) in catalogue().studies.items():
        if of in (None, plugin):
            try:
                study = load_study(name)
                for scale in study.scales:
                    study.at(scale)
            except (ConfigError, PluginError) as error:
                problems.append(" ".join(str(error).split()))
    return problems


def check_models(study: Study, labels: Collection[str] | None = None) -> None:
    """Make sure that the models of a study, or of those of its networks that have these ``labels``, exist.

    Raises:
        ConfigError: with the first that does not, and the closest names that do.
    """
    ours = catalogue().models
    for position, network in enumerate(study.networks):
        name = network.model
        if name in ours or OF_TIMM.match(name) or (labels is not None and network.label not in labels):
            continue
        import timm  # slow, and needed for names that are not stabzoo's only

        if not timm.is_model(name):
            error = unknown_name("model", name, [*ours, *timm.list_models()])
            raise ConfigError(f"{study.name}: networks.{position} ({network.label}): {error}")


def load_study(name_or_path: str | Path, scale: str = FULL, *, recorded: bool = False) -> Study:
    """Read a study by its name, of stabzoo or a plugin, or any other by the path of its YAML file, at a scale of it.

    ``recorded``: to look at what was measured; an evaluation whose plugin is not installed any more is no mistake then.

    Raises:
        ConfigError: when there is no such study or scale, or the file is not a valid one.
        PluginError: the plugin that an evaluation of it is from is broken.
    """
    name = str(name_or_path)
    path: Any = Path(name_or_path)
    if name in shipped_studies():
        path = STUDIES / f"{name}.yaml"
    elif name in catalogue().studies:
        path = catalogue().studies[name][1]
    elif path.suffix not in (".yaml", ".yml"):
        raise ConfigError(
            f"there is no study {name!r}; expected one of {', '.join(all_studies())}, or the path of a .yaml file"
        )
    own = name if name in all_studies() else path.stem
    source = f"{catalogue().studies[name][0]}: {path}" if owner_of(name) else str(path)
    content = {"name": own, **load_yaml(path), "file": "" if name in all_studies() else name}
    return validate(Study, content, source, RECORDED if recorded else None).at(scale)
