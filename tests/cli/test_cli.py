"""The commands: what they print, where they print it, and their exit statuses."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import timm
from rich.console import Console

import stabzoo
import stabzoo.study
from fixtures.commands import Result, Run
from fixtures.messages import refuses, says
from fixtures.plugins import GOOD_CODE
from stabzoo.cli import main
from stabzoo.cli.console import brief, full, table
from stabzoo.errors import ConfigError, PluginWarning
from stabzoo.methods import OwnStep
from stabzoo.registry.catalogue import catalogue
from stabzoo.stability.enclosure import Enclosure

Install = Callable[..., Path]
COMMAND = "import sys; from stabzoo.cli import main; sys.exit(main())"


def spawn(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, its output in a pipe."""
    command = [sys.executable, "-c", COMMAND, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)


# list


def test_list_shows_every_scheme_and_model_with_its_owner(run: Run) -> None:
    """One line a scheme; families of models in one line; nothing on standard error, no colour, nothing wrapped."""
    status, out, err = run("list")
    assert (status, err) == (0, "")
    assert "\x1b" not in out
    lines = [line.split() for line in out.splitlines()]
    assert ["zerosnet_opt", "3", "2", "strong", "1/3", "no", "-", "11/48", "-", "zerosnet", "stabzoo", "0.1.0"] in lines
    assert ["lm_resnet*", "2", "-", "strong", "1/20", "no", "-", "-", "-", "multistep", "stabzoo", "0.1.0"] in lines
    assert any("at initialisation" in line for line in out.splitlines())
    family = (
        "zerosnet{depth}_opt 164, 326, 650, 1298 cifar bottleneck zerosnet_opt 3 2 strong 1/3 - zerosnet stabzoo 0.1.0"
    )
    assert family.split() in lines
    certified = "resnet_s_cert 1 1 strong 0 " + 3 * "not decided " + "growth, sensitivity forward stabzoo 0.1.0"
    assert certified.split() in lines
    assert sum("preresnet{depth}" in line for line in lines) == 4
    implicit = "theta 1 2 strong 0 A (1 + 1/2 z) / (1 - 1/2 z) -1/12 - theta stabzoo 0.1.0"
    assert ["one-step,", "implicit", *implicit.split()] in lines  # the first of its family
    assert [out.count(f"\n{family} ") for family in ("reversible", "Runge-Kutta", "multistep, implicit")] == [2, 2, 2]


def test_list_json_is_one_document_with_every_name(run: Run) -> None:
    """Exact numbers are strings; an irrational one has its bounds."""
    data = json.loads(run("list --json").out)
    assert data["version"] == stabzoo.__version__
    assert data["problems"] == []
    schemes, models = ({entry["name"]: entry for entry in data[key]} for key in ("schemes", "models"))
    assert (list(schemes), list(models)) == (stabzoo.list_schemes(), stabzoo.list_models())
    assert schemes["zerosnet_opt"] == {
        "name": "zerosnet_opt",
        "plugin": "zerosnet",
        "distribution": f"stabzoo {stabzoo.__version__}",
        "family": "multistep, explicit",
        "learnable": False,
        "kind": "linear multistep",
        "steps": 3,
        "order": 2,
        "status": "strong",
        "is_consistent": True,
        "is_A_stable": False,
        "is_L_stable": False,
        "parasitic_radius": "1/3",
        "error": None,
        "error_constant": "11/48",
        "stability_function": None,
        "claim": {"order": 2, "stability": "strong", "condition": None},
        "certified": {},
        "false_claims": [],
    }
    assert list(models["stable_resnet_s11_cert"]["certified"]) == ["growth", "sensitivity"]
    assert schemes["zerosnet_tra"]["learnable"]
    assert schemes["zerosnet_tra"]["parasitic_radius"]["approximately"] == pytest.approx(0.5**0.5)
    model = models["zerosnet164"]
    assert (model["scheme"], model["depth"], model["form"], model["block"]) == ("zerosnet", 164, "cifar", "bottleneck")
    assert (model["steps"], model["order"], model["status"], model["plugin"]) == (3, 2, "strong", "zerosnet")


def test_list_filters(run: Run) -> None:
    """Patterns choose names, a scheme's name also its models; a status chooses what is proved."""

    def names(line: str) -> tuple[list[str], list[str]]:
        data = json.loads(run(f"list --json {line}").out)
        return [entry["name"] for entry in data["schemes"]], [entry["name"] for entry in data["models"]]

    everything = stabzoo.list_schemes(), stabzoo.list_models()
    assert names("--schemes --models") == everything
    assert names("--schemes") == (everything[0], [])
    assert names("--models") == ([], everything[1])
    assert names("'zerosnet20*'") == ([], ["zerosnet20", "zerosnet20_opt", "zerosnet20_tra"])
    schemes, models = names("euler 'lm*' --status strong")
    assert schemes == ["euler", "lm", "lm_resnet"]
    assert "preresnet18" in models
    assert "lmresnet20_shared" in models
    assert names("--status unstable") == names("--status broken") == ([], [])
    assert names("--status weak --schemes") == (["midpoint", "irevnet"], [])
    assert run("list 'zerosnet*' --status weak").out == "Nothing matches.\n"
    assert run("list zerosnet20").out.count("zerosnet20") == 1


def test_list_knows_weak_and_unstable_schemes(install: Install, run: Run) -> None:
    """A third party's scheme is listed as ours are, by what is proved of it, a false claim beside it."""
    install()
    leapfrog = ["other", "leapfrog", "2", "2", "weak", "1", "1/6", "-", "leapfrog", "stabzoo-leapfrog", "9.0"]
    assert leapfrog in [line.split() for line in run("list --status weak").out.splitlines()]
    install("other", GROWING, "other: {schemes: {growing: {order: 1, stability: strong}}}")
    result = run("list growing")
    assert result.status == 0
    (false,) = (line for line in result.out.splitlines() if "'growing'" in line and "order 1" in line)
    says(false, "plugin 'other' (stabzoo-other 9.0)", "scheme 'growing'", "not consistent")
    (scheme,) = json.loads(run("list --status unstable --json").out)["schemes"]
    assert (scheme["name"], scheme["order"], scheme["parasitic_radius"]) == ("growing", None, "2")
    assert len(scheme["false_claims"]) == 2


GROWING = """
    from stabzoo import ExplicitMultistep, hookimpl

    class Growing(ExplicitMultistep):
        name = "growing"
        alpha, beta = (2,), (1,)

    @hookimpl
    def stabzoo_discretizations():
        return [Growing]
"""


def test_a_plugin_that_fails_to_load_is_a_row(install: Install, run: Run) -> None:
    """So are its models; the reason is told once a kind; the others are as ever."""
    install(code="import nothing_of_this_name")
    status, out, err = run("list")
    assert (status, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["other", "leapfrog", "-", "-", "broken", *["-"] * 5, "leapfrog", "stabzoo-leapfrog", "9.0"] in lines
    model = ["other", "leapfrog20", "20", "cifar", "basic", "leapfrog", "-", "-", "broken", "-"]
    assert model in [line[:10] for line in lines]
    reason = ("plugin 'leapfrog' (stabzoo-leapfrog 9.0)", "ModuleNotFoundError", "'nothing_of_this_name'")
    of_scheme, of_model = (line for line in out.splitlines() if line.startswith("plugin 'leapfrog'"))
    says(of_scheme, *reason)
    says(of_model, "model leapfrog20", *reason)
    assert "leapfrog20" not in of_scheme
    assert "zerosnet_opt" in out
    broken = json.loads(run("list --json --status broken").out)
    assert [entry["status"] for entry in broken["schemes"] + broken["models"]] == ["broken", "broken"]
    says(broken["schemes"][0]["error"], *reason)


def test_a_registry_that_cannot_be_read_is_a_row(install: Install, run: Run) -> None:
    """With the reason, which names the file; elsewhere it is one plain line on standard error."""
    folder = install(registry="leapfrog: {schemes: {leapfrog: {order: two}}}")
    status, out, err = run("list")
    assert (status, err) == (0, "")
    assert ["-", "(plugin", "leapfrog)", "-", "-", "broken"] in [line.split()[:6] for line in out.splitlines()]
    says(out, "plugin 'leapfrog' (stabzoo-leapfrog 9.0)", folder / "registry.yaml", "schemes.leapfrog.order", "'two'")
    (problem,) = json.loads(run("list --json euler").out)["problems"]
    says(problem, "plugin 'leapfrog'", folder / "registry.yaml", "'two'")


def test_warnings_about_plugins_are_plain_lines(install: Install, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard error, without Python's source lines; the command goes on."""
    install(registry="leapfrog: {schemes: {leapfrog: {order: two}}}")
    status, out, err = run("show euler --json")
    assert status == 0
    assert err.startswith("stabzoo: warning: ")
    says(err, "plugin 'leapfrog' (stabzoo-leapfrog 9.0)", "registry.yaml", "'two'")
    assert "PluginWarning" not in err
    assert json.loads(out)["name"] == "euler"
    monkeypatch.setenv("STABZOO_PLUGINS", "euler,nothing")
    stabzoo.registry.catalogue.catalogue.cache_clear()
    err = run("list --schemes").err
    assert err.startswith("stabzoo: warning: ")
    assert err.count("\n") == 1
    says(err, "STABZOO_PLUGINS", "nothing")
    stabzoo.registry.catalogue.catalogue.cache_clear()
    monkeypatch.setenv("STABZOO_PLUGINS", "leapfrog")
    monkeypatch.setenv("STABZOO_STRICT", "1")
    result = run("list")
    assert (result.status, result.out) == (2, "")
    says(result.err, "stabzoo: ", "plugin 'leapfrog'", "'two'")


def test_list_imports_nothing_heavy() -> None:
    """In a process of its own, which also finds nothing to complain about under -W error."""
    heavy = {"torch", "timm", "numpy", "matplotlib", "sklearn", "scipy", "jinja2", "stabzoo.study"}
    code = f"import sys; from stabzoo.cli import main; main(['list']); sys.exit(', '.join({heavy} & {{*sys.modules}}) or 0)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "zerosnet_opt" in done.stdout


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_a_narrow_terminal_loses_columns_and_says_so(width: int) -> None:
    """In the order that is given; every line fits; the rest is whole."""
    file = io.StringIO()
    columns = {"name": ["a" * 30], "zero stability": ["strong"], "owner": ["b" * 40], "radius": ["1/3"]}
    table(Console(file=file, width=width), columns, expendable=("owner", "radius"))
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "a" * 30 in text
    assert ("b" * 40 in text) == (width >= 100)
    assert (f"not shown in {width} columns, see --json: owner\n" in text) == (width < 100)


def test_colours_only_where_they_are_wanted() -> None:
    """A pipe has none unless the environment asks for them."""
    assert "\x1b" not in spawn("list", "euler").stdout
    assert "\x1b[32mstrong" in spawn("list", "euler", FORCE_COLOR="1", TERM="xterm-256color", NO_COLOR="").stdout
    plain = spawn("list", "euler", PYTHONIOENCODING="ascii")
    assert (plain.returncode, plain.stderr) == (0, "")


def test_a_reader_that_goes_away_is_no_error() -> None:
    """As under `stabzoo list | head -1`."""
    command = [sys.executable, "-c", COMMAND, "list", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_cannot_be_written_is_told() -> None:
    """A result that is lost is not a success."""
    with open("/dev/full", "w") as full_device:
        command = [sys.executable, "-c", COMMAND, "list"]
        done = subprocess.run(command, stdout=full_device, stderr=subprocess.PIPE, text=True, check=False)
    refuses(Result(done.returncode, done.stdout or "", done.stderr), "output", "No space left on device")


# show and analyze


@pytest.mark.parametrize("name", stabzoo.list_schemes())
def test_show_has_all_there_is_to_say_of_a_scheme(name: str, run: Run) -> None:
    """Formula, card, verified certificate, claims and corrections; one line an entry in a pipe."""
    status, out, err = run(f"show {name}")
    assert (status, err) == (0, "")
    card, (plugin, claim) = stabzoo.card(stabzoo.get_scheme(name)), catalogue().schemes[name]
    assert f"  {card.method}\n" in out
    assert f"zero stability      {card.status}: {card.reason}" in out
    assert ("what the own step computes is not stated" in out) == isinstance(card.method, OwnStep)
    assert f"{plugin}\n" in out
    assert "certificate (verified: rho is rebuilt from it)\n- " in out
    assert "reflection coefficients of Miller's reduction: k = (" in out
    for text in (claim.reference, claim.condition or "", *claim.certified.values(), *claim.corrections):
        assert text in out
    assert ("at initialisation" in out) == (name in ("lm_resnet", "zerosnet_tra"))
    data = json.loads(run(f"show {name} --json").out)
    assert data["card"] == card.to_dict()
    assert data["certificate_verified"]
    assert data["claim"]["corrections"] == list(claim.corrections)
    assert (data["kind"], data["scheme"], data["plugin"]) == ("scheme", name, plugin.name)


def test_show_of_a_model_is_about_its_scheme_and_its_depth(run: Run) -> None:
    """The growth over the blocks that it has: Euler starts, and restarts where the maps change shape, are among them."""
    out = run("show zerosnet20_opt").out
    assert out.startswith(
        "zerosnet20_opt: cifar network of depth 20, plugin 'zerosnet' (stabzoo 0.1.0)\nscheme zerosnet_opt"
    )
    assert "growth              max ||C_n ... C_m||_inf = 1, over its own blocks m to n\n" in out
    data = json.loads(run("show zerosnet56 --set lam=0.34 --json").out)
    assert (data["kind"], data["parameters"], data["model"]["depth"]) == ("model", {"lam": "17/50"}, 56)
    steps = [block.step for block in timm.create_model("zerosnet56", lam="17/50", device="meta").blocks()]
    assert data["model"]["growth"] == str(stabzoo.stability.product_growth(steps).norm)
    assert data["model"]["growth_curve"] == [float(size) for size in stabzoo.stability.growth_curve(steps)]


@pytest.mark.parametrize(
    ("line", "growth"),
    [
        ("lmresnet20_shared --set k=3/2", "5/2"),  # 11861/256, had the history not begun anew with each stage
        ("lmresnet56_shared --set k=-1", "17"),
        ("zerosnet20 --set lam=1/4", "3719497/2048"),
        ("stable_resnet_s11_cert", None),  # its blocks state no coefficients
    ],
)
def test_growth_is_over_the_models_own_blocks(run: Run, line: str, growth: str | None) -> None:
    """Not over as many powers of one companion matrix as there are blocks."""
    assert json.loads(run(f"show {line} --json").out)["model"]["growth"] == growth
    assert ("not decided" in run(f"show {line}").out) == (growth is None)


def test_a_model_that_cannot_be_built_still_has_its_schemes_card(install: Callable[..., Path], run: Run) -> None:
    """No traceback, and the plugin is named where the growth would stand."""
    broken = "\n        def block(self, f):\n            raise RuntimeError('no block today')\n"
    install(code=GOOD_CODE.replace("alpha, beta = (0, 1), (2, 0)\n", f"alpha, beta = (0, 1), (2, 0)\n{broken}"))
    stabzoo.refresh()
    result = run("show leapfrog20")
    assert (result.status, result.err) == (0, "")
    says(result.out, "zero stability", "weak", "not decided", "plugin 'leapfrog'", "no block today")
    assert json.loads(run("show leapfrog20 --json").out)["model"]["growth"] is None


def test_analyze_takes_commas_and_spaces(run: Run) -> None:
    """As --set alpha=1/3,5/9,1/9 does."""
    spaces = run("analyze --alpha 1/3 5/9 1/9 --beta 16/9 --json")
    assert run("analyze --alpha 1/3,5/9,1/9 --beta 16/9, --json") == spaces
    assert spaces.status == 0


def test_show_takes_parameters(run: Run) -> None:
    """Exact numbers, words, lists, and a single number where a list is expected."""
    out = run("show zerosnet --set lam=3").out
    assert out.startswith("scheme zerosnet(lam=3), plugin 'zerosnet' (stabzoo 0.1.0)\n")
    assert "real interval       (-2, 0), length 2\n" in out
    assert "status" not in out
    weak = json.loads(run("show lm --set k=1 --json").out)
    assert (weak["card"]["status"], weak["card"]["imaginary_interval"]) == ("weak", "1")
    for text, status in (
        ("-1.000000000000000000000000000001", "unstable"),
        ("-0.999999999999999999999999999999", "strong"),
    ):
        assert json.loads(run(f"show lm --set k={text} --json").out)["card"]["status"] == status
    assert "modulus 1 + 1e-30" in run("show lm --set k=-1.000000000000000000000000000001").out
    released = json.loads(run("show lm --set beta=paper --set k=-1/2 --json").out)
    assert (released["card"]["beta"], released["parameters"]) == (["0", "0"], {"beta": "paper", "k": "-1/2"})
    for setting in ("alpha=1,1,1", "'alpha=[1, \"1\", 1.0]'"):
        table_10 = json.loads(run(f"show zerosnet --set {setting} --set beta=1 --json").out)
        assert table_10["card"]["alpha"] == ["1", "1", "1"]
        assert table_10["parameters"] == {"alpha": ["1", "1", "1"], "beta": ["1"]}


def test_show_of_a_false_claim_says_so(install: Install, run: Run) -> None:
    """Beside the proof."""
    install(registry="leapfrog: {schemes: {leapfrog: {order: 2, stability: strong}}}")
    result = run("show leapfrog")
    assert result.status == 0
    (false,) = (line for line in result.out.splitlines() if "registry.yaml" in line)
    says(false, "registry.yaml", "stability strong", "weak", "z + 1")


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        ("show zerosnt_opt", ("'zerosnt_opt'", "zerosnet_opt")),
        ("list zerosnt_opt", ("'zerosnt_opt'", "zerosnet_opt")),
        ("show zerosnet --set lam=0", ("scheme 'zerosnet'", "lam", "0", "eq. (10)")),
        ("show zerosnet --set speed=1", ("scheme 'zerosnet'", "unknown", "'speed'", "lam, alpha, beta")),
        ("show zerosnet --set lam", ("--set lam", "NAME=VALUE")),
        ("show zerosnet --set lam=1 --set lam=2", ("--set lam=2", "twice")),
        ("show zerosnet --set 'alpha=[1,'", ("--set alpha=[1,", "JSON")),
        ("show zerosnet --set lam=x", ("scheme 'zerosnet'", "lam: ", "'x'")),
        ("show zerosnet --set alpha=1,1,1", ("scheme 'zerosnet'", "alpha and beta", "together")),
        ("show", ('"show"', "NAME", "requires")),
        ("show euler lm", ("Unused", "'lm'")),
        ("show euler --plot plot.jpg", ("plot.jpg", ".png, .svg or .pdf", "'.jpg'")),
        ("analyze --alpha 1/0 --beta 1", ("alpha[0]", "'1/0'")),
        ("analyze --alpha 1 --beta -1/x", ("beta[0]", "'-1/x'")),
        ("analyze --alpha 1 --beta 1 1", ("betas", "alphas (1)", "got 2")),
        ("analyze --alpha 1", ("--alpha and --beta", "bdf(3)")),
        ("analyze --alpha 1 --beta", ('"analyze"', "--beta", "at least 1")),
        ("analyze --alpha 1 --beta 1 --bta 1", ("Unknown", "--bta", "--beta")),
        ("list --status stronk", ('"stronk"', "--status", '"strong"')),
        ("lst", ("Unknown command", '"lst"', '"list"')),
        ("study nothing", ("no study 'nothing'", "dynamical-system-figure-2")),
        ("study nothing.yaml", ("nothing.yaml", "No such file or directory")),
        ("study quickstart --workers x", ("--workers", '"x"', "int")),
        ("study quickstart --workers 0", ("workers", "at least 1", "got 0")),
    ],
)
def test_wrong_input_is_one_message_and_status_2(line: str, facts: tuple[str, ...], run: Run) -> None:
    """On standard error; standard output stays empty."""
    refuses(run(line), *facts)


def test_show_of_a_broken_scheme_names_its_plugin(install: Install, run: Run) -> None:
    """Whatever its code raised."""
    install(code="raise SystemExit(3)")
    for name in ("leapfrog", "leapfrog20"):
        refuses(run(f"show {name}"), "plugin 'leapfrog' (stabzoo-leapfrog 9.0)", "SystemExit: 3")


def test_analyze_is_exact(run: Run) -> None:
    """ZeroSNet-Opt from its coefficients."""
    data = json.loads(run("analyze --alpha 1/3 5/9 1/9 --beta 16/9 --json").out)
    assert data["card"] == stabzoo.card(stabzoo.get_scheme("zerosnet_opt")).to_dict()
    assert (data["card"]["status"], data["card"]["order"], data["card"]["parasitic_radius"]) == ("strong", 2, "1/3")
    out = run("analyze --alpha 1/3 5/9 1/9 --beta 16/9").out
    assert "roots of rho        1, on the unit circle\n" in out
    assert "                    -1/3 (-0.333333), multiplicity 2, modulus 1/3 (0.333333), inside\n" in out
    assert "parasitic radius    1/3 (0.333333)\n" in out


@pytest.mark.parametrize(
    ("line", "alpha", "beta", "beta_next"),
    [
        ("--alpha -3 5 -1 --beta 4", "-3 5 -1", "4 0 0", "0"),
        ("--beta -1/2 --alpha -1/3 -2/3 --json", "-1/3 -2/3", "-1/2 0", "0"),
        ("--alpha -.5 -1e-3 --beta=-1/2 --beta-next -1/2", "-1/2 -1/1000", "-1/2 0", "-1/2"),
        ("--alpha 1 --beta 1/2 --beta-next=1/2", "1", "1/2", "1/2"),
    ],
)
def test_negative_numbers_and_fractions_are_no_options(
    line: str, alpha: str, beta: str, beta_next: str, run: Run
) -> None:
    """However they are written."""
    card = json.loads(run(f"analyze --json {line.replace(' --json', '')}").out)["card"]
    assert (card["alpha"], card["beta"], card["beta_next"]) == (alpha.split(), beta.split(), beta_next)


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        ("--alpha 1/2 --beta 1", ("- every |k| < 1", "inside")),
        ("--alpha 0 1 --beta 2", ("- phi' has k = (0)", "every |k| < 1", "simple", "on the circle")),
        ("--alpha 1 --beta 1", ("- phi' is a constant", "simple", "on the circle")),
        ("--alpha -3/4 2 -1/4 --beta 5/2", ("- the last |k| > 1", "z^2 + 4/3 z - 7/3")),
        ("--alpha -3 5 -1 --beta 4", ("- the last |k| = 1", "z^3 + 3 z^2 - 5 z + 1", "not")),
        ("--alpha 2 -1 --beta 1", ("- phi' has k = (-1)", "last |k| >= 1", "z - 1", "outside")),
        ("--alpha 1 --beta 1/2 --beta-next 1/2", ("real interval (-infinity, 0)",)),
        ("--alpha 1 --beta 1/2 --beta-next 1/2", ("A-stable yes",)),
        ("--alpha 1 --beta 2", ("order -", "not consistent", "rho(1) = 0", "rho'(1) != sigma(1)")),
        ("--alpha 1 1 1 --beta 1", ("order -", "not consistent", "rho(1) != 0", "constants")),
        ("--alpha 1 -1/4 -1/2 --beta 1", ("+-",)),
    ],
)
def test_analyze_explains(line: str, facts: tuple[str, ...], run: Run) -> None:
    """Every way a certificate ends, every way to be inconsistent: in one line of the answer each."""
    status, out, _ = run(f"analyze {line}")
    assert status == 0
    lines = [" ".join(each.split()) for each in out.splitlines()]
    says(next((each for each in lines if facts[0] in each), out), *facts)


@pytest.mark.parametrize("digits", [20, 100])
def test_analyze_of_absurd_numbers(digits: int, run: Run) -> None:
    """Beyond the range of floats too, exactly."""
    status, out, err = run(f"analyze --alpha 1e{digits} 1e-{digits} --beta 1")
    assert (status, err) == (0, "")
    assert f"parasitic radius    1e+{digits} (certified)\n" in out
    card = json.loads(run(f"analyze --alpha 1e{digits} --beta 1 --json").out)["card"]
    assert card["parasitic_radius"] == "1" + "0" * digits


def test_plots(run: Run, tmp_path: Path) -> None:
    """Beside the text and beside JSON; a failure prints no result as if all were well."""
    assert run(f"show zerosnet_opt --plot {tmp_path / 'opt.png'}").out.startswith("scheme zerosnet_opt")
    json.loads(run(f"analyze --alpha 0 1 --beta 2 --plot {tmp_path / 'leapfrog.svg'} --json").out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["leapfrog.svg", "opt.png"]
    target = tmp_path / "nowhere" / "opt.png"
    refuses(run(f"show zerosnet_opt --plot {target}"), target, "No such file or directory", "folder")


def test_numbers_are_as_exact_as_their_room_allows() -> None:
    """Exact, certified digits, bounds, and never a whole number that it is not."""
    third, over = stabzoo.methods.multistep.exact("1/3"), stabzoo.methods.multistep.exact("1.000000000000001")
    assert [brief(third), full(third)] == ["1/3", "1/3 (0.333333)"]
    assert [brief(over), brief(None), brief(float("inf"))] == ["~1 + 1e-15", "-", "infinite"]
    assert brief(stabzoo.methods.multistep.exact("123456789/1000000007")) == "~0.12346"
    assert full(Enclosure(third, third + stabzoo.methods.multistep.exact("1e-20"))) == "0.333333333333 (certified)"
    assert full(Enclosure(third, 2 * third)) == "between 0.333333333333 and 0.666666666667"
    assert full(stabzoo.methods.multistep.exact("1e-100")).startswith("~1e-100 (exact with --json, ")
    assert [full(None), full(float("inf")), full(third * 3)] == ["-", "infinite", "1"]


# check


def test_check_is_quiet_when_all_is_true(run: Run) -> None:
    """A row a scheme, the number of checks, status 0."""
    status, out, err = run("check")
    assert (status, err) == (0, "")
    schemes = len(stabzoo.list_schemes())
    summary = out.splitlines()[-1]
    says(summary, f"{schemes} schemes", f"{len(stabzoo.list_models())} models", "all true")
    assert out.count("  true") == schemes
    assert "zero-stable: lam <= -1 or lam > 1/3 (proved)" in out
    data = json.loads(run("check z* --json").out)
    assert data["ok"]
    assert data["checks"] == sum(entry["checks"] for entry in data["schemes"]) + data["models"]


@pytest.mark.parametrize(
    ("claim", "facts"),
    [
        ("order: 3, stability: weak", ("order 3", "order 2")),
        ("order: 2, stability: unstable", ("stability unstable", "weak")),
        ("order: 2, stability: weak, condition: k > 0", ("no parameter 'k'", "no parameters")),
    ],
)
def test_check_of_a_false_claim_fails(claim: str, facts: tuple[str, ...], install: Install, run: Run) -> None:
    """The sentence names the plugin; the others are still true."""
    install(registry=f"leapfrog: {{schemes: {{leapfrog: {{{claim}}}}}}}")
    status, out, _ = run("check l*")
    assert status == 1
    (false,) = (line for line in out.splitlines() if line.startswith("plugin "))
    says(false, "plugin 'leapfrog' (stabzoo-leapfrog 9.0)", "scheme 'leapfrog'", *facts)
    says(out.splitlines()[-1], "1", "false or broken")
    others = [name for name in stabzoo.list_schemes() if name.startswith("l") and name != "leapfrog"]
    assert others
    assert (out.count("FALSE"), out.count("  true")) == (1, len(others))
    data = json.loads(run("check l* --json").out)
    assert (data["ok"], len(data["problems"])) == (False, 1)


def test_check_of_a_broken_plugin_fails(install: Install, run: Run) -> None:
    """Its scheme is a row."""
    install(code="import nothing_of_this_name")
    status, out, _ = run("check")
    assert status == 1
    assert ["leapfrog", "order", "2,", "weak", "-", "-", "broken"] in [line.split()[:7] for line in out.splitlines()]
    (told,) = (line for line in out.splitlines() if "leapfrog20" in line)
    says(told, "plugin 'leapfrog' (stabzoo-leapfrog 9.0)", "'nothing_of_this_name'")


def test_a_third_party_plugin_is_checked_by_the_installed_command(install: Install) -> None:
    """In a process of its own."""
    folder = install(registry="leapfrog: {schemes: {leapfrog: {order: 1, stability: weak}}}")
    done = spawn("check", "leapfrog", PYTHONPATH=str(folder.parent))
    assert (done.returncode, done.stderr) == (1, "")
    (false,) = (line for line in done.stdout.splitlines() if line.startswith("plugin "))
    says(false, "plugin 'leapfrog' (stabzoo-leapfrog 9.0)", "scheme 'leapfrog'", "order 1", "order 2")


# study and the program itself


def test_errors_of_several_lines_keep_them(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message, the lines of a configuration error below its place."""

    def refuse(name: str, scale: str) -> None:
        raise ConfigError("study.yaml:\n  a: is required\n  b: is required")

    monkeypatch.setattr(stabzoo.study, "load_study", refuse)
    assert run("study quickstart") == (2, "", "stabzoo: study.yaml:\n  a: is required\n  b: is required\n")


def test_help_has_every_command_and_examples(run: Run) -> None:
    """And every example is a command that exists."""
    status, out, _ = run("--help")
    assert status == 0
    assert run("").out == out
    commands = [
        "analyze",
        "audit",
        "barriers",
        "check",
        "design",
        "diagnose",
        "doctor",
        "evaluate",
        "export",
        "list",
        "new-plugin",
        "oscillator",
        "page",
        "predict",
        "publish",
        "show",
        "study",
        "train",
    ]
    for command in commands:
        assert sum(line.startswith(f"│ {command} ") for line in out.splitlines()) == 1
        detail = run(f"{command} --help")
        assert detail.status == 0
        assert f"Example: stabzoo {command}" in detail.out
    examples = [line.strip() for line in out.partition("Examples:")[2].splitlines() if line.strip()]
    assert {example.split()[1] for example in examples} == set(commands)


@pytest.mark.slow
def test_the_examples_of_the_help_run(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All but those that train, or need what was trained."""
    monkeypatch.chdir(tmp_path)
    for example in run("--help").out.partition("Examples:")[2].strip().splitlines():
        if (
            example.split()[1] not in ("train", "evaluate", "predict", "export", "publish")
            and "study quickstart" not in example
        ):
            assert run(example.strip().removeprefix("stabzoo ")).status == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lambda3.png", "runs", "site", "stabzoo-leapfrog"]
    assert (tmp_path / "runs" / "diagnosis" / "diagnosis.html").is_file()


def test_version_and_entry_point(run: Run) -> None:
    """The installed script is this program."""
    assert run("--version") == (0, f"stabzoo {stabzoo.__version__}\n", "")
    (script,) = entry_points(group="console_scripts", name="stabzoo")
    assert script.load() is main


def test_other_warnings_keep_their_category(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line each as well."""
    import warnings

    def warn(name: str, scale: str) -> None:
        warnings.warn("about something", PluginWarning, stacklevel=1)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", FutureWarning, stacklevel=1)
        raise ConfigError("no")

    monkeypatch.setattr(stabzoo.study, "load_study", warn)
    expected = "stabzoo: warning: about something\nstabzoo: warning: FutureWarning: old\nstabzoo: no\n"
    assert run("study quickstart").err == expected
