"""``stabzoo doctor``: what is installed, what works, and what to do about the rest."""

from __future__ import annotations

import os
import platform
import time
import warnings
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich.text import Text

from stabzoo.claims import ModelReport, branch_problems, model_problems, on_trial
from stabzoo.cli.console import complain, output, print_json, show_traceback, table
from stabzoo.cli.documents.networks import ExaminedPlugin
from stabzoo.errors import PluginError, PluginWarning
from stabzoo.registry.catalogue import catalogue
from stabzoo.registry.discovery import Plugin
from stabzoo.registry.loading import load_plugin

__all__ = ["examine"]

PACKAGES = ("stabzoo", "torch", "torchvision", "timm", "numpy", "scipy", "python-flint", "pydantic", "pluggy")
IMPORTED = ("torch", "torchvision", "timm")  # the ones that fail at import when they do not fit one another


def examine(*, as_json: bool) -> int:
    """Examine the environment and every plugin, print what was found, and return 1 if anything is broken, else 0."""
    environment, problems = _environment()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)  # they are the problems that are listed
        found = [_examine(plugin) for plugin in catalogue().plugins]
    problems += [problem for entry in found for problem in entry.problems]
    if as_json:
        print_json(
            {
                "ok": not problems,
                "environment": environment,
                "plugins": [entry.model_dump() for entry in found],
                "problems": problems,
            }
        )
        return int(bool(problems))
    console = output()
    table(console, {"": list(environment), "found": [str(value) for value in environment.values()]})
    console.print()
    columns: dict[str, list[str | Text]] = {
        "plugin": [entry.name for entry in found],
        "distribution": [entry.distribution for entry in found],
        "module": [entry.module for entry in found],
        "state": [Text(entry.state, style="green" if entry.state == "ok" else "bold red") for entry in found],
        "schemes": [str(entry.schemes) for entry in found],
        "branches": [str(entry.branches) for entry in found],
        "evaluations": [str(entry.evaluations) for entry in found],
        "studies": [str(entry.studies) for entry in found],
        "models": [str(entry.models) for entry in found],
        "import (s)": [f"{entry.seconds:.2f}" for entry in found],
        "models (s)": [f"{entry.building:.2f}" for entry in found],
    }
    table(console, columns, expendable=("module", "distribution", "studies", "evaluations"))
    console.print()
    for problem in problems:
        console.print(problem, style="red")
    counted = f"{len(found)} plugin{'' if len(found) == 1 else 's'}"
    if problems:
        console.print(f"{counted}: {len(problems)} problem{'' if len(problems) == 1 else 's'}.", style="bold red")
    else:
        console.print(f"{counted}, all well.", style="green")
    return int(bool(problems))


def _environment() -> tuple[dict[str, Any], list[str]]:
    """Versions, processors and accelerators; and the problems met."""
    found: dict[str, Any] = {"python": platform.python_version(), "platform": platform.platform()}
    problems: list[str] = []
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
            problems.append(f"{name} is not installed; pip install stabzoo installs it")
    for name in IMPORTED:
        try:
            import_module(name)
        except Exception as error:  # a library of another build raises what it likes
            reason = " ".join(str(error).split()) or type(error).__name__
            problems.append(
                f"{name} cannot be imported ({reason}); torch and torchvision must be of one build: "
                "pip install --force-reinstall torch torchvision"
            )
    found["processors"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found |= _accelerators()
    for name in ("STABZOO_PLUGINS", "STABZOO_STRICT"):
        if name in os.environ:
            found[name] = os.environ[name]
    return found, problems


def _accelerators() -> dict[str, Any]:
    try:
        import torch

        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return {"torch threads": torch.get_num_threads(), "GPUs": ", ".join(gpus) or "none"}
    except Exception:  # said already, of torch
        return {}


def _examine(plugin: Plugin) -> ExaminedPlugin:
    """Import a plugin and build its models; its name is said before, as its code may end the process."""
    complain(f"examining {plugin}")
    problems = [f"{plugin}: {problem}" for problem in plugin.problems]
    models = {name: config for name, (owner, config) in catalogue().models.items() if owner is plugin}
    studies = sum(owner is plugin for owner, _ in catalogue().studies.values())
    seconds, building, schemes, evaluations = 0.0, 0.0, 0, 0
    if plugin.registry is not None:
        started = time.perf_counter()
        try:
            schemes = len(load_plugin(plugin.name, "schemes"))
            evaluations = len(load_plugin(plugin.name, "evaluations"))
            seconds = time.perf_counter() - started
            problems += model_problems(on_trial([ModelReport(name, plugin, config) for name, config in models.items()]))
            problems += branch_problems(plugin)
            if studies:
                from stabzoo.study.spec import study_problems  # few plugins have any

                problems += study_problems(plugin)
            building = time.perf_counter() - started - seconds
        except PluginError as error:
            seconds = time.perf_counter() - started
            show_traceback(error)
            problems.append(str(error))
    return ExaminedPlugin(
        name=plugin.name,
        distribution=plugin.distribution,
        module=plugin.module,
        state="broken" if problems else "ok",
        schemes=schemes,
        branches=sum(owner is plugin for owner, _ in catalogue().branches.values()),
        evaluations=evaluations,
        studies=studies,
        models=len(models),
        seconds=seconds,
        building=building,
        problems=problems,
    )
