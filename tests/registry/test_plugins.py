"""Discovery: data eager, code lazy; a broken plugin costs its own models only, and is named."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch

import stabzoo
import stabzoo.config
import stabzoo.registry.loading
from stabzoo.errors import PluginError, PluginWarning, UnknownParameterError
from stabzoo.registry.catalogue import catalogue

Install = Callable[..., Path]
OUR_SCHEMES = ["euler", "resnet_d", "resnet_s", "resnet_s_cert", "postresnet", "lm", "lm_resnet", "multistep", "theta",
               "backward_euler", "trapezoidal", "zerosnet", "zerosnet_opt", "zerosnet_tra"]  # fmt: skip


def test_a_third_party_scheme_is_listed_proved_and_built(install: Install) -> None:
    """Coefficients and a registry are all that an author writes."""
    install()
    stabzoo.refresh()
    assert stabzoo.list_schemes() == [*OUR_SCHEMES, "leapfrog"]
    card = stabzoo.card(stabzoo.get_scheme("leapfrog"))
    assert (card.status, card.order) == ("weak", 2)
    model = timm.create_model("leapfrog20")
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert str(catalogue().models["leapfrog20"][0]) == "plugin 'leapfrog' (stabzoo-leapfrog 9.0)"


def test_reading_the_registry_imports_no_plugin_and_no_torch() -> None:
    """A fresh interpreter: names and configurations are there, code is not; either order of imports registers the models."""
    code = """
        import sys, stabzoo
        assert "zerosnet56_opt" in stabzoo.list_models() and stabzoo.list_schemes()
        assert not {"torch", "timm", "numpy", "stabzoo_zerosnet"} & set(sys.modules), sorted(sys.modules)
        import timm
        assert timm.is_model("zerosnet56_opt") and "stabzoo_zerosnet" not in sys.modules
        assert timm.list_models(module="stabzoo")
    """
    subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(line.strip() for line in code.splitlines())], check=True
    )
    subprocess.run(
        [sys.executable, "-W", "error", "-c", "import timm, stabzoo; assert timm.is_model('zerosnet56_opt')"],
        check=True,
    )


@pytest.mark.parametrize(
    "first",
    [
        "stabzoo.networks.resnet",
        "stabzoo.zoo",
        "stabzoo.networks.steps",
        "stabzoo.networks.checkpoints",
        "timm.models",
        "stabzoo_zerosnet",
    ],
)
def test_any_module_may_be_imported_first(first: str) -> None:
    """The models are registered whatever causes timm to be imported, the network itself included."""
    code = f"import {first}, stabzoo, timm; timm.create_model('zerosnet20_opt', device='meta')"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_the_plugin_may_be_imported_first(install: Install) -> None:
    """`import stabzoo_leapfrog, stabzoo` (alphabetical order of another name) registers as `import stabzoo` does."""
    folder = install()
    code = f"import sys; sys.path.insert(0, {str(folder.parent)!r}); import stabzoo_leapfrog, timm, stabzoo; print(timm.is_model('leapfrog20'), stabzoo.get_scheme('leapfrog'))"
    out = subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.startswith("True")


@pytest.mark.parametrize(
    ("registry", "reason"),
    [
        (None, r"registry\.yaml is missing; ship registry\.yaml beside __init__\.py"),
        ("leapfrog: [", r"registry\.yaml, line 2: not valid YAML"),
        ("- leapfrog", "expected a mapping of names to values at the top, got list"),
        ("frog: {schemes: {}}", "expected a section 'leapfrog' \\(the name of the entry point\\), got frog"),
        ("leapfrog: {schemes: {leapfrog: {order: 2, stabilty: weak}}}", r"schemes\.leapfrog\.stabilty: unknown name; accepted here: order, stability"),
        ("leapfrog: {schemes: {leapfrog: {order: two, stability: weak}}}", r"schemes\.leapfrog\.order: .*got 'two'"),
        ("leapfrog: {schemes: {a: {order: 1, stability: weak}, a: {order: 2, stability: weak}}}", "the key 'a' is written twice"),
        (
            "leapfrog: {schemes: {a: {order: 1, stability: weak}}, models: {a20: {scheme: a, depth: 21}}}",
            r"models\.a20\.block: a CIFAR network of basic blocks has a depth of 6n\+2 \(20, 26, \.\.\.\); got 21",
        ),
        (
            "leapfrog: {schemes: {a: {order: 1, stability: weak}}, families: {a: {scheme: a, cifar: {basic: [20]}}}}",
            "the name 'a' needs '{depth}' in it once",
        ),
        ("leapfrog: {schemes: {a: {order: 1, stability: weak, condition: import os}}}", "not a condition: 'import os'; expected comparisons"),
    ],
)  # fmt: skip
def test_a_broken_registry_is_a_warning_that_names_the_place(
    install: Install, registry: str | None, reason: str
) -> None:
    """The plugin is left out, with file and place; ours are untouched."""
    install(registry=registry)
    with pytest.warns(PluginWarning, match=r"plugin 'leapfrog' \(stabzoo-leapfrog 9\.0\)") as caught:
        assert stabzoo.list_schemes() == OUR_SCHEMES
    import re

    assert re.search(reason, str(caught[0].message)), caught[0].message


def test_strict_mode_raises(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """STABZOO_STRICT=1."""
    install(registry="frog: {}")
    monkeypatch.setenv("STABZOO_STRICT", "1")
    with pytest.raises(PluginError, match="plugin 'leapfrog'"):
        stabzoo.list_schemes()


def test_a_limit_on_the_plugins(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """STABZOO_PLUGINS=a,b."""
    install()
    monkeypatch.setenv("STABZOO_PLUGINS", "euler,leapfrog")
    assert stabzoo.list_schemes() == ["euler", "leapfrog"]
    monkeypatch.setenv("STABZOO_PLUGINS", "")
    stabzoo.registry.catalogue.catalogue.cache_clear()
    assert stabzoo.list_schemes() == []
    monkeypatch.setenv("STABZOO_PLUGINS", "eulr")
    stabzoo.registry.catalogue.catalogue.cache_clear()
    with pytest.warns(PluginWarning, match="STABZOO_PLUGINS names no installed plugin: eulr"):
        assert stabzoo.list_schemes() == []


@pytest.mark.parametrize(
    ("name", "registry", "reason"),
    [
        ("zerosnet", "zerosnet: {schemes: {}}", "the plugin name 'zerosnet' is taken by plugin 'zerosnet' (stabzoo 0.1.0)"),
        ("mine", "mine: {schemes: {euler: {order: 1, stability: strong}}}", "the scheme 'euler' is already provided by plugin 'euler' (stabzoo 0.1.0)"),
        (
            "mine",
            "mine: {schemes: {a: {order: 1, stability: strong}}, models: {preresnet20: {scheme: a, depth: 20}}}",
            "the model 'preresnet20' is already provided by plugin 'euler' (stabzoo 0.1.0)",
        ),
    ],
)  # fmt: skip
def test_a_name_that_is_taken_stays_with_its_owner(install: Install, name: str, registry: str, reason: str) -> None:
    """Ours first; the message has both owners."""
    install(name, registry=registry, package="stabzoo_other")
    with pytest.warns(PluginWarning) as caught:
        assert stabzoo.get_scheme("euler").coefficients().steps == 1
    assert str(caught[0].message).startswith(f"plugin '{name}' (stabzoo-other 9.0): ")
    assert reason in str(caught[0].message)
    assert catalogue().models["preresnet20"][0].name == "euler"


def test_a_name_of_timm_is_not_overwritten(install: Install) -> None:
    """resnet18 stays timm's; the plugin's other models are registered."""
    install(
        registry="leapfrog: {schemes: {leapfrog: {order: 2, stability: weak}}, models: {resnet18: {scheme: leapfrog, depth: 20}, leapfrog20: {scheme: leapfrog, depth: 20}}}"
    )
    with pytest.warns(
        PluginWarning, match=r"plugin 'leapfrog'.*the model name 'resnet18' is taken by timm\.models\.resnet"
    ):
        stabzoo.refresh()
    assert timm.model_entrypoint("resnet18").__module__ == "timm.models.resnet"
    assert timm.is_model("leapfrog20")


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: timm.create_model("zerosnet20", lam=0), "model 'zerosnet20': scheme 'zerosnet': lam: must not be 0"),
        (lambda: timm.create_model("zerosnet20", lam="often"), "lam: "),
        (lambda: timm.create_model("zerosnet20", lam=float("nan")), "lam: "),
        (lambda: timm.create_model("zerosnet20", alpha=["1", "1"], beta=["1"]), "expected 3 numbers, got 2"),
        (lambda: timm.create_model("zerosnet20", alpha=["1", "1", "1"]), "alpha and beta are given together"),
        (
            lambda: timm.create_model("zerosnet20", alpha=["1", "1", "1"], beta=["1"], lam=3),
            "give lam, or alpha and beta, not both",
        ),
        (lambda: timm.create_model("zerosnet20", alpha=["1", "1", "1"], beta=["1"] * 4), "beta"),
        (lambda: timm.create_model("lmresnet20_shared", beta="papr"), "beta: "),
        (
            lambda: timm.create_model("zerosnet20", width=0),
            "width: expected a whole number of channels, at least 1 and at most 65536; got 0",
        ),
        (lambda: stabzoo.get_scheme("zerosnt"), "unknown scheme 'zerosnt'; did you mean zerosnet"),
    ],
)
def test_bad_parameters_fail_in_a_sentence(call: Callable[[], object], reason: str) -> None:
    """Never a pydantic report, never a traceback's worth of types."""
    with pytest.raises(stabzoo.errors.ConfigError) as caught:
        call()
    assert reason in str(caught.value)
    assert "pydantic" not in str(caught.value)
    assert "input_value" not in str(caught.value)


def test_an_unknown_parameter_lists_the_known_ones() -> None:
    """A TypeError, as timm's contract wants, that helps."""
    with pytest.raises(
        TypeError,
        match=r"model 'zerosnet20_opt': scheme 'zerosnet_opt': unknown parameter 'lam'; it takes none; the network takes width",
    ):
        timm.create_model("zerosnet20_opt", lam=3)
    with pytest.raises(UnknownParameterError, match=r"unknown parameter 'lamda'; it takes .*lam"):
        stabzoo.get_scheme("zerosnet", lamda=3)


def test_coefficients_are_exact_however_they_are_written() -> None:
    """A fraction, a decimal string and a float say the same."""
    one = stabzoo.get_scheme("zerosnet", lam="-9/5").coefficients()
    assert (
        one
        == stabzoo.get_scheme("zerosnet", lam=-1.8).coefficients()
        == stabzoo.get_scheme("zerosnet_opt").coefficients()
    )
    given = timm.create_model("zerosnet20", alpha=["1/3", "5/9", "1/9"], beta=["16/9"], device="meta")
    assert given.scheme.coefficients() == one
