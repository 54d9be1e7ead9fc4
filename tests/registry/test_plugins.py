"""Discovery: data eager, code lazy; a broken plugin costs its own models only, and is named."""

import os
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
from fixtures.messages import raises, warns
from stabzoo.errors import PluginError, PluginWarning, UnknownParameterError
from stabzoo.registry.catalogue import catalogue

Install = Callable[..., Path]
OUR_SCHEMES = ["adams_moulton", "bdf", "euler", "resnet_d", "resnet_s", "resnet_s_cert", "postresnet", "fractional",
               "midpoint", "verlet", "hamiltonian", "imex", "cpl", "sll", "aol", "sandwich", "momentum", "lm", "lm_resnet", "multistep", "optimal",
               "poly2", "revnet", "irevnet", "rk2", "rk4", "ssp_rk3", "theta", "backward_euler", "trapezoidal",
               "zerosnet", "zerosnet_opt", "zerosnet_tra"]  # fmt: skip


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


def test_the_import_of_timm_is_watched_without_a_trace(tmp_path: Path) -> None:
    """Asking where timm is changes nothing, a failed import is tried again, and timm has its own loader."""
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "__init__.py").write_text("raise ImportError('not today')")
    code = """if True:
        import importlib, importlib.util, sys
        import stabzoo
        finders = list(sys.meta_path)
        spec = importlib.util.find_spec("timm")
        assert "ImportError" in spec.loader.get_source("timm")
        assert sys.meta_path == finders
        try:
            import timm
        except ImportError as error:
            assert str(error) == "not today"
        sys.path.remove(sys.argv[1])
        importlib.invalidate_caches()
        import timm
        assert timm.is_model("zerosnet56_opt")
        assert timm.__loader__ is timm.__spec__.loader and type(timm.__loader__) is type(importlib.__loader__)
        assert len(sys.meta_path) == len(finders) - 1
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(tmp_path)], check=True, env=env)


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
    ("registry", "facts"),
    [
        (None, ("missing", "registry.yaml", "__init__.py")),
        ("leapfrog: [", ("line 2", "YAML")),
        ("- leapfrog", ("mapping", "list")),
        ("frog: {schemes: {}}", ("section 'leapfrog'", "got frog")),
        ("leapfrog: {schemes: {leapfrog: {order: 2, stabilty: weak}}}", ("schemes.leapfrog.stabilty", "unknown", "order, stability")),
        ("leapfrog: {schemes: {leapfrog: {order: two, stability: weak}}}", ("schemes.leapfrog.order", "'two'")),
        ("leapfrog: {schemes: {a: {order: 1, stability: weak}, a: {order: 2, stability: weak}}}", ("key 'a'", "twice")),
        (
            "leapfrog: {schemes: {a: {order: 1, stability: weak}}, models: {a20: {scheme: a, depth: 21}}}",
            ("models.a20.block", "CIFAR", "6n+2", "20, 26", "got 21"),
        ),
        (
            "leapfrog: {schemes: {a: {order: 1, stability: weak}}, families: {a: {scheme: a, cifar: {basic: [20]}}}}",
            ("'a'", "'{depth}'", "once"),
        ),
        ("leapfrog: {schemes: {a: {order: 1, stability: weak, condition: import os}}}", ("condition", "'import os'", "comparisons")),
    ],
)  # fmt: skip
def test_a_broken_registry_is_a_warning_that_names_the_place(
    install: Install, registry: str | None, facts: tuple[str, ...]
) -> None:
    """The plugin is left out, with file and place; ours are untouched."""
    install(registry=registry)
    with warns(PluginWarning, "plugin 'leapfrog' (stabzoo-leapfrog 9.0)", "registry.yaml", *facts):
        assert stabzoo.list_schemes() == OUR_SCHEMES


def test_strict_mode_raises(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """STABZOO_STRICT=1."""
    install(registry="frog: {}")
    monkeypatch.setenv("STABZOO_STRICT", "1")
    with raises(PluginError, "plugin 'leapfrog'", "got frog"):
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
    with warns(PluginWarning, "STABZOO_PLUGINS", "eulr"):
        assert stabzoo.list_schemes() == []


@pytest.mark.parametrize(
    ("name", "registry", "facts"),
    [
        ("zerosnet", "zerosnet: {schemes: {}}", ("plugin name 'zerosnet'", "by plugin 'zerosnet' (stabzoo 0.1.0)")),
        ("mine", "mine: {schemes: {euler: {order: 1, stability: strong}}}", ("scheme 'euler'", "by plugin 'euler' (stabzoo 0.1.0)")),
        (
            "mine",
            "mine: {schemes: {a: {order: 1, stability: strong}}, models: {preresnet20: {scheme: a, depth: 20}}}",
            ("model 'preresnet20'", "by plugin 'euler' (stabzoo 0.1.0)"),
        ),
    ],
)  # fmt: skip
def test_a_name_that_is_taken_stays_with_its_owner(
    install: Install, name: str, registry: str, facts: tuple[str, ...]
) -> None:
    """Ours first; the message has both owners."""
    install(name, registry=registry, package="stabzoo_other")
    with warns(PluginWarning, f"plugin '{name}' (stabzoo-other 9.0)", *facts):
        assert stabzoo.get_scheme("euler").coefficients().steps == 1
    assert catalogue().models["preresnet20"][0].name == "euler"


def test_a_name_of_timm_is_not_overwritten(install: Install) -> None:
    """resnet18 stays timm's; the plugin's other models are registered."""
    install(
        registry="leapfrog: {schemes: {leapfrog: {order: 2, stability: weak}}, models: {resnet18: {scheme: leapfrog, depth: 20}, leapfrog20: {scheme: leapfrog, depth: 20}}}"
    )
    with warns(PluginWarning, "plugin 'leapfrog'", "'resnet18'", "timm.models.resnet"):
        stabzoo.refresh()
    assert timm.model_entrypoint("resnet18").__module__ == "timm.models.resnet"
    assert timm.is_model("leapfrog20")


@pytest.mark.parametrize(
    ("call", "facts"),
    [
        (lambda: timm.create_model("zerosnet20", lam=0), ("model 'zerosnet20'", "scheme 'zerosnet'", "lam", "0")),
        (lambda: timm.create_model("zerosnet20", lam="often"), ("scheme 'zerosnet'", "lam: ", "'often'")),
        (lambda: timm.create_model("zerosnet20", lam=float("nan")), ("scheme 'zerosnet'", "lam: ", "nan")),
        (lambda: timm.create_model("zerosnet20", alpha=["1", "1"], beta=["1"]), ("alpha", "3", "got 2")),
        (
            lambda: timm.create_model("zerosnet20", alpha=["1", "1", "1"]),
            ("scheme 'zerosnet'", "alpha", "beta", "together"),
        ),
        (
            lambda: timm.create_model("zerosnet20", alpha=["1", "1", "1"], beta=["1"], lam=3),
            ("scheme 'zerosnet'", "lam", "alpha and beta", "both"),
        ),
        (
            lambda: timm.create_model("zerosnet20", alpha=["1", "1", "1"], beta=["1"] * 4),
            ("scheme 'zerosnet'", "betas", "3", "got 4"),
        ),
        (lambda: timm.create_model("lmresnet20_shared", beta="papr"), ("beta: ", "'papr'")),
        (
            lambda: timm.create_model("zerosnet20", width=0),
            ("width", "1", "65536", "got 0"),
        ),
        (lambda: stabzoo.get_scheme("zerosnt"), ("scheme 'zerosnt'", "zerosnet")),
    ],
)
def test_bad_parameters_fail_in_a_sentence(call: Callable[[], object], facts: tuple[str, ...]) -> None:
    """Never a pydantic report, never a traceback's worth of types."""
    with raises(stabzoo.errors.ConfigError, *facts) as caught:
        call()
    assert "pydantic" not in str(caught.value)
    assert "input_value" not in str(caught.value)


def test_an_unknown_parameter_lists_the_known_ones() -> None:
    """A TypeError, as timm's contract wants, that helps."""
    with raises(
        TypeError,
        "model 'zerosnet20_opt'",
        "scheme 'zerosnet_opt'",
        "unknown parameter 'lam'",
        "none",
        "network",
        "width",
    ):
        timm.create_model("zerosnet20_opt", lam=3)
    with raises(UnknownParameterError, "scheme 'zerosnet'", "unknown parameter 'lamda'", "lam"):
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
