"""The commands and their options; what they do is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import App, Parameter

import stabzoo

__all__ = ["app"]

EXAMPLES = """Examples:
  stabzoo list 'zerosnet*' --status strong
  stabzoo show zerosnet --set lam=3 --plot lambda3.png
  stabzoo analyze --alpha 1/3 5/9 1/9 --beta 16/9
  stabzoo check
  stabzoo doctor
  stabzoo new-plugin leapfrog --alpha 0 1 --beta 2 0
  stabzoo oscillator --omega 50 --step 1/100 1/20
  stabzoo study list
  stabzoo study quickstart --workers 2
  stabzoo train zerosnet20_opt --data digits
  stabzoo evaluate runs/zerosnet20_opt-digits-0
  stabzoo diagnose stable_resnet_s11_cert --folder runs/diagnosis
"""

app = App(
    name="stabzoo",
    help="Residual networks that are numerical methods for ODEs, with their stability proved.",
    help_epilogue=EXAMPLES,
    help_format="plaintext",
    version=f"stabzoo {stabzoo.__version__}",
    default_parameter=Parameter(negative=()),
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)


def _option(text: str, name: str | None = None) -> Parameter:
    return Parameter(name=name, help=text, show_default=False)


def _numbers(text: str) -> Parameter:
    return Parameter(help=text, consume_multiple=1)


Status: TypeAlias = Literal["strong", "weak", "unstable", "broken"]
Json = Annotated[bool, _option("Print one JSON document; exact numbers are strings.", name="--json")]
Workers = Annotated[
    int | None, _option("Processes that decode images from disk; by default the processors but one, shared by all.")
]
Plot = Annotated[Path | None, _option("Also draw roots and stability region: .png, .svg or .pdf.")]


@app.command(name="list", help_epilogue="")
def list_command(
    *patterns: Annotated[str, _option("Names to list, e.g. 'zerosnet*'; a scheme's name also lists its models.")],
    status: Annotated[
        Status | None, _option("What is strongly or weakly zero-stable, unstable, or of a broken plugin.")
    ] = None,
    schemes: Annotated[bool, _option("Only schemes.")] = False,
    models: Annotated[bool, _option("Only models.")] = False,
    as_json: Json = False,
) -> None:
    """List schemes and models with what is proved of them.

    Example: stabzoo list 'zerosnet*' --status strong
    """
    from stabzoo.cli.listing import list_all

    both = schemes == models
    list_all(patterns, status, schemes=schemes or both, models=models or both, as_json=as_json)


@app.command(help_epilogue="")
def show(
    name: Annotated[str, _option("A scheme or a model.")],
    /,
    *,
    settings: Annotated[
        tuple[str, ...],
        _option("A parameter of the scheme: lam=-9/5, alpha=1/3,5/9,1/9; may be repeated.", "--set"),
    ] = (),
    as_json: Json = False,
    plot: Plot = None,
) -> None:
    """Show what is proved of a scheme, the proof, and corrections.

    Example: stabzoo show zerosnet --set lam=3 --plot lambda3.png
    """
    from stabzoo.cli.showing import show_named

    show_named(name, settings, as_json=as_json, plot=plot)


@app.command(help_epilogue="")
def analyze(
    *,
    alpha: Annotated[tuple[str, ...], _numbers("Weights of the past states, newest first: 2, 1/3, -0.75, exactly.")],
    beta: Annotated[tuple[str, ...], _numbers("Weights of the past slopes, newest first.")],
    beta_next: Annotated[str, Parameter(help="Weight of the new slope, of an implicit method.")] = "0",
    as_json: Json = False,
    plot: Plot = None,
) -> None:
    """Prove the stability of given coefficients.

    y[n+1] = alpha_0 y[n] + alpha_1 y[n-1] + ... + h (beta_next f[n+1] + beta_0 f[n] + ...)

    Example: stabzoo analyze --alpha 1/3 5/9 1/9 --beta 16/9
    """
    from stabzoo.cli.showing import show_coefficients

    show_coefficients(alpha, beta, beta_next, as_json=as_json, plot=plot)


@app.command(help_epilogue="")
def check(*, as_json: Json = False) -> int:
    """Recompute every claim; exit with 1 if one is false.

    Of each scheme: order, stability, condition and certificate; of each model: its scheme takes its parameters.

    Example: stabzoo check
    """
    from stabzoo.cli import checking

    return checking.check(as_json=as_json)


@app.command(help_epilogue="")
def doctor(*, as_json: Json = False) -> int:
    """Examine the installation and every plugin; exit with 1 if one is broken.

    Example: stabzoo doctor
    """
    from stabzoo.cli import doctoring

    return doctoring.doctor(as_json=as_json)


@app.command(name="new-plugin", help_epilogue="")
def new_plugin(
    name: Annotated[str, _option("Of the plugin and its scheme, e.g. leapfrog.")],
    /,
    *,
    explicit: Annotated[bool, _option("An explicit multistep scheme: the default.")] = False,
    implicit: Annotated[bool, _option("An implicit multistep scheme.")] = False,
    block: Annotated[bool, _option("A scheme with a step of its own, of two stages.")] = False,
    alpha: Annotated[
        tuple[str, ...], _numbers("Weights of the past states, newest first; by default of a known scheme.")
    ] = (),
    beta: Annotated[tuple[str, ...], _numbers("Weights of the past slopes, newest first.")] = (),
    beta_next: Annotated[str | None, _option("Weight of the new slope, of an implicit scheme.")] = None,
    folder: Annotated[Path, _option("Where its folder is made; by default here.")] = Path(),
) -> None:
    """Write a plugin: a distribution around a scheme, with its tests.

    Example: stabzoo new-plugin leapfrog --alpha 0 1 --beta 2 0
    """
    from stabzoo.cli import scaffolding

    scaffolding.new_plugin(
        name,
        explicit=explicit,
        implicit=implicit,
        block=block,
        alpha=alpha,
        beta=beta,
        beta_next=beta_next,
        folder=folder,
    )


@app.command(help_epilogue="")
def oscillator(
    *,
    omega: Annotated[str, Parameter(help="The frequency, exactly.")] = "50",
    step: Annotated[tuple[str, ...], _numbers("Step sizes h, exactly.")] = ("1/100", "1/50", "21/500"),
    as_json: Json = False,
    plot: Annotated[Path | None, _option("Also draw phase diagrams: .png, .svg or .pdf.")] = None,
) -> None:
    """Compare schemes on y' = -omega^2 z, z' = y, whose orbits are closed.

    Forward Euler, backward Euler, the trapezoidal rule and Verlet, with exact spectral radii.

    Example: stabzoo oscillator --omega 50 --step 1/100 1/20 --plot phases.png
    """
    from stabzoo.cli.oscillating import compare_on_oscillator

    compare_on_oscillator(omega, step, as_json=as_json, plot=plot)


STUDY_EXAMPLES = """Examples:
  stabzoo study list
  stabzoo study show zerosnet-table-3 --scale laptop
  stabzoo study run root-scan --scale smoke --workers 1
  stabzoo study status root-scan
  stabzoo study report root-scan --scale smoke --keep results/root-scan
  stabzoo study diff root-scan@smoke quickstart@smoke
  stabzoo study export results.csv
"""

study = App(
    name="study",
    help=(
        "Train and compare networks, and look at what came of it.\n\n"
        "`stabzoo study NAME` is `stabzoo study run NAME`.\n\nExample: stabzoo study list"
    ),
    help_epilogue=STUDY_EXAMPLES,
)
app.command(study)

Study = Annotated[str, _option("A study that comes with stabzoo, or the path of a .yaml file.")]
Scale = Annotated[str, _option("A smaller form of the study: laptop, smoke; by default full.")]
Place = Annotated[
    Path | None,
    _option(
        "Where report and results are kept; by default runs/NAME[-SCALE], with the results of all studies in "
        "runs/results.sqlite."
    ),
]
Results = Annotated[Path | None, _option("Where results.sqlite is; by default runs.")]


@study.default
@study.command(name="run", help_epilogue="")
def study_run(
    name: Study,
    /,
    *,
    scale: Scale = "full",
    workers: Annotated[int | None, _option("Processes of one thread; by default one a processor.")] = None,
    engine: Annotated[
        Literal["local", "dask"], _option("Processes of this machine, or of a dask cluster; by default local.")
    ] = "local",
    scheduler: Annotated[
        str | None, _option("Of a dask cluster that is there, tcp://HOST:8786; by default one is started here.")
    ] = None,
    device: Annotated[Literal["cpu", "cuda"], _option("cpu or cuda, a GPU a run; by default cpu.")] = "cpu",
    folder: Place = None,
    root: Annotated[Path, _option("Where data sets lie; by default data.")] = Path("data"),
    download: Annotated[bool, _option("First fetch the data set, if it is not there.")] = False,
) -> int:
    """Train what is missing, and report; goes on where it was stopped.

    Example: stabzoo study quickstart --workers 2
    """
    from stabzoo.cli.studying import run_named

    return run_named(
        name,
        scale,
        folder=folder,
        workers=workers,
        engine=engine,
        scheduler=scheduler,
        device=device,
        root=root,
        download=download,
    )


@study.command(name="list", help_epilogue="")
def study_list(*, folder: Results = None, as_json: Json = False) -> None:
    """List the studies that come with stabzoo.

    Example: stabzoo study list
    """
    from stabzoo.cli.studying import list_studies

    list_studies(folder, as_json=as_json)


@study.command(name="show", help_epilogue="")
def study_show(name: Study, /, *, scale: Scale = "full", as_json: Json = False) -> None:
    """Show what a study asks, of which networks, and what is published.

    Example: stabzoo study show zerosnet-table-3 --scale laptop
    """
    from stabzoo.cli.studying import show_study

    show_study(name, scale, as_json=as_json)


@study.command(name="status", help_epilogue="")
def study_status(
    name: Annotated[str | None, _option("A study; by default all that were done here.")] = None,
    /,
    *,
    scale: Annotated[str | None, _option("One of its scales; by default those that were done here.")] = None,
    folder: Results = None,
    as_json: Json = False,
) -> None:
    """Show which runs are finished, running, failed or missing.

    Example: stabzoo study status
    """
    from stabzoo.cli.studying import show_status

    show_status(name, scale, folder, as_json=as_json)


@study.command(name="report", help_epilogue="")
def study_report(
    name: Study,
    /,
    *,
    scale: Scale = "full",
    folder: Place = None,
    keep: Annotated[Path | None, _option("Also write summary.md, results.csv and the figures there.")] = None,
) -> int:
    """Report from the runs that are finished; trains nothing.

    Exits with 1 if none is.

    Example: stabzoo study report root-scan --keep docs/results/root-scan
    """
    from stabzoo.cli.studying import report_study

    return report_study(name, scale, folder, keep)


@study.command(name="diff", help_epilogue="")
def study_diff(
    first: Annotated[str, _option("NAME or NAME@SCALE.")],
    second: Annotated[str, _option("NAME or NAME@SCALE.")],
    /,
    *,
    folder: Results = None,
    other: Annotated[Path | None, _option("Where results.sqlite of the second is, if elsewhere.")] = None,
    as_json: Json = False,
) -> None:
    """Show which settings of two studies differ, and their accuracies.

    Example: stabzoo study diff zerosnet-table-3@laptop zerosnet-table-6@laptop
    """
    from stabzoo.cli.studying import compare_studies

    compare_studies(first, second, folder, other, as_json=as_json)


@study.command(name="export", help_epilogue="")
def study_export(
    path: Annotated[Path, _option("A .csv or .parquet.")],
    /,
    *,
    name: Annotated[str | None, _option("Only the results of this one.", name="--study")] = None,
    folder: Results = None,
) -> None:
    """Write all results as a table, one row a run and evaluation.

    Example: stabzoo study export results.csv
    """
    from stabzoo.cli.studying import export_results

    export_results(path, name, folder)


@app.command(help_epilogue="")
def train(
    name: Annotated[str, _option("Any timm model.")],
    /,
    *,
    data: Annotated[
        str,
        _option(
            "digits, cifar10, cifar100, mnist, a folder with train/CLASS/* and val/CLASS/*, torch/NAME or hfds/NAME of "
            "timm's factory, or a .yaml file with what a study has as its data; by default digits."
        ),
    ] = "digits",
    size: Annotated[int | None, _option("Pixels a side; by default 16 for digits, 224 for images on disk.")] = None,
    root: Annotated[Path, _option("Where data sets lie; by default data.")] = Path("data"),
    download: Annotated[bool, _option("First fetch the data set, if it is not there.")] = False,
    unverified: Annotated[bool, _option("Take files that are not the published ones.")] = False,
    recipe: Annotated[str | None, _option("cifar, digits, imagenet, mnist, or a .yaml; by default the data's.")] = None,
    settings: Annotated[
        tuple[str, ...], _option("A setting of the recipe: epochs=20, lr=0.05; may be repeated.", "--set")
    ] = (),
    arguments: Annotated[
        tuple[str, ...], _option("An argument of the model: width=8, norm=none; may be repeated.", "--arg")
    ] = (),
    seed: Annotated[int, _option("By default 0.")] = 0,
    device: Annotated[str, _option("cpu or cuda; by default cpu.")] = "cpu",
    threads: Annotated[int | None, _option("Of torch; by default one a processor, shared by all processes.")] = None,
    folder: Annotated[Path | None, _option("Where it is kept; by default runs/MODEL-DATA-SEED.")] = None,
    checkpoint_steps: Annotated[int | None, _option("Also a checkpoint every so many updates.")] = None,
    workers: Workers = None,
    log: Annotated[
        tuple[Literal["tensorboard", "mlflow"], ...],
        _option("Also tell tensorboard (event files in the folder) or mlflow every epoch; may be repeated."),
    ] = (),
) -> int:
    """Train one network; goes on where it was stopped, to the last bit.

    On several GPUs or machines: torchrun --nproc-per-node 8 -m stabzoo train ...

    Example: stabzoo train zerosnet20_opt --data cifar10 --download --device cuda --set amp=bfloat16
    """
    from stabzoo.cli.training import train_model

    return train_model(
        name,
        data=data,
        size=size,
        root=root,
        download=download,
        verified=not unverified,
        settings=settings,
        arguments=arguments,
        chosen=recipe,
        seed=seed,
        device=device,
        threads=threads,
        folder=folder,
        checkpoint_steps=checkpoint_steps,
        workers=workers,
        log=log,
    )


@app.command(help_epilogue="")
def evaluate(
    *folders: Annotated[Path, _option("Folders of finished trainings; several differ in their seeds alone.")],
    conditions: Annotated[
        Path | None, _option("A .yaml file with evaluations, as a study has them; by default the papers'.")
    ] = None,
    root: Annotated[Path, _option("Where data sets lie; by default data.")] = Path("data"),
    workers: Workers = None,
    device: Annotated[str, _option("cpu or cuda; by default cpu.")] = "cpu",
    as_json: Json = False,
) -> None:
    """Measure what trained networks are worth, under noise and attack too.

    Example: stabzoo evaluate runs/zerosnet20_opt-digits-0 runs/zerosnet20_opt-digits-1
    """
    from stabzoo.cli.evaluating import evaluate_trained

    evaluate_trained(folders, conditions=conditions, root=root, workers=workers, device=device, as_json=as_json)


@app.command(help_epilogue="")
def diagnose(
    name: Annotated[str, _option("Any timm model.")],
    /,
    *,
    data: Annotated[str, _option("digits, cifar10, or a folder with a folder of images a class.")] = "digits",
    root: Annotated[Path, _option("Where cifar-10-batches-py lies; by default data.")] = Path("data"),
    checkpoint: Annotated[Path | None, _option("Its weights: .safetensors, .pt, .pth; by default random.")] = None,
    images: Annotated[int, _option("How many test images; by default 256.")] = 256,
    sigma: Annotated[float, _option("Noise whose growth is measured, on pixels in [0, 1]; by default 0.1.")] = 0.1,
    condition_numbers: Annotated[bool, _option("Also of each block: minutes for a deep network.")] = False,
    smallest: Annotated[bool, _option("Also each layer's smallest singular value.")] = False,
    folder: Annotated[Path | None, _option("Also write diagnosis.html and diagnosis.json there.")] = None,
    as_json: Json = False,
) -> None:
    """Measure norms, bounds, condition numbers, angles, noise growth.

    Example: stabzoo diagnose stable_resnet_s11_cert --folder runs/diagnosis
    """
    from stabzoo.cli.diagnosing import diagnose_model

    diagnose_model(
        name,
        data=data,
        root=root,
        checkpoint=checkpoint,
        images=images,
        sigma=sigma,
        condition_numbers=condition_numbers,
        smallest=smallest,
        folder=folder,
        as_json=as_json,
    )
