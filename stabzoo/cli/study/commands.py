"""The commands of ``stabzoo study`` and their options; what they do is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App

from stabzoo.cli.arguments.options import DataSet, Json, Root, Size, option

STUDY_EXAMPLES = """Examples:
  stabzoo study list
  stabzoo study show zerosnet-table-3 --scale laptop
  stabzoo study run root-scan --scale smoke --workers 1
  stabzoo study status root-scan
  stabzoo study report root-scan --scale smoke --keep results/root-scan
  stabzoo study diff root-scan@smoke quickstart@smoke
  stabzoo study correlate zerosnet-table-3 --published
  stabzoo study figure tables.pdf zerosnet-table-2 zerosnet-table-3
  stabzoo study export results.csv
  stabzoo study checkpoint root-scan 'r = 0' --scale smoke
"""


study = App(
    name="study",
    help=(
        "Train and compare networks, and look at the results.\n\n"
        "`stabzoo study NAME` is `stabzoo study run NAME`.\n\nExample: stabzoo study list"
    ),
    help_epilogue=STUDY_EXAMPLES,
)


Study = Annotated[str, option("A study of stabzoo or of a plugin, or the path of a .yaml file.")]


Scale = Annotated[str, option("A smaller form of the study: laptop, smoke; by default full.")]


Place = Annotated[
    Path | None,
    option(
        "Where report and results are kept; by default runs/NAME[-SCALE], with the results of all studies in "
        "runs/results.sqlite."
    ),
]


Results = Annotated[Path | None, option("Where results.sqlite is; by default runs.")]


@study.default
@study.command(name="run", help_epilogue="")
def study_run(
    name: Study,
    /,
    *,
    scale: Scale = "full",
    workers: Annotated[int | None, option("Processes of one thread; by default one a processor.")] = None,
    engine: Annotated[
        Literal["local", "dask"], option("Processes of this machine, or of a dask cluster; by default local.")
    ] = "local",
    scheduler: Annotated[
        str | None, option("Of an existing dask cluster, tcp://HOST:8786; by default one is started here.")
    ] = None,
    device: Annotated[Literal["cpu", "cuda"], option("cpu or cuda, a GPU a run; by default cpu.")] = "cpu",
    folder: Place = None,
    root: Root = Path("data"),
    download: Annotated[bool, option("First fetch the data set, if it is not there.")] = False,
) -> int:
    """Train what is missing, and report; resumes where it was stopped.

    Example: stabzoo study quickstart --workers 2
    """
    from stabzoo.cli.study.run import run_named

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
    """List the studies that come with stabzoo and with plugins.

    Example: stabzoo study list
    """
    from stabzoo.cli.study.list import list_studies

    list_studies(folder, as_json=as_json)


@study.command(name="show", help_epilogue="")
def study_show(name: Study, /, *, scale: Scale = "full", as_json: Json = False) -> None:
    """Show what a study asks, of which networks, and what is published.

    Example: stabzoo study show zerosnet-table-3 --scale laptop
    """
    from stabzoo.cli.study.list import show_study

    show_study(name, scale, as_json=as_json)


@study.command(name="status", help_epilogue="")
def study_status(
    name: Annotated[str | None, option("A study; by default all that were done here.")] = None,
    /,
    *,
    scale: Annotated[str | None, option("One of its scales; by default those that were done here.")] = None,
    folder: Results = None,
    as_json: Json = False,
) -> None:
    """Show which runs are finished, running, failed or missing.

    Example: stabzoo study status
    """
    from stabzoo.cli.study.status import show_status

    show_status(name, scale, folder, as_json=as_json)


@study.command(name="report", help_epilogue="")
def study_report(
    name: Study,
    /,
    *,
    scale: Scale = "full",
    folder: Place = None,
    keep: Annotated[Path | None, option("Also write summary.md, results.csv and the figures there.")] = None,
    latex: Annotated[Path | None, option("Also write its tables to this .tex file.")] = None,
) -> int:
    """Report from the runs that are finished; trains nothing.

    Exits with 1 if none is.

    Example: stabzoo study report root-scan --keep docs/results/root-scan
    """
    from stabzoo.cli.study.run import report_study

    return report_study(name, scale, folder, keep, latex)


@study.command(name="diff", help_epilogue="")
def study_diff(
    first: Annotated[str, option("NAME or NAME@SCALE.")],
    second: Annotated[str, option("NAME or NAME@SCALE.")],
    /,
    *,
    folder: Results = None,
    other: Annotated[Path | None, option("Where results.sqlite of the second is, if elsewhere.")] = None,
    as_json: Json = False,
) -> None:
    """Show which settings of two studies differ, and their accuracies.

    Example: stabzoo study diff zerosnet-table-3@laptop zerosnet-table-6@laptop
    """
    from stabzoo.cli.study.diff import compare_studies

    compare_studies(first, second, folder, other, as_json=as_json)


@study.command(name="correlate", help_epilogue="")
def study_correlate(
    *names: Study,
    scale: Scale = "full",
    evaluation: Annotated[str, option("Its title, or of published numbers their column; by default clean.")] = "clean",
    published: Annotated[bool, option("Of the numbers that papers print, instead of those measured here.")] = False,
    folder: Results = None,
    plot: Annotated[Path | None, option("Also draw them against three quantities: .png, .svg or .pdf.")] = None,
    as_json: Json = False,
) -> None:
    """Tell which exact quantity of the schemes orders what was measured of their networks, by rank correlations.

    Example: stabzoo study correlate zerosnet-table-1 zerosnet-table-2 zerosnet-table-3 --published
    """
    from stabzoo.cli.study.correlate import correlate

    correlate(names, scale, evaluation, folder, of_paper=published, plot=plot, as_json=as_json)


@study.command(name="figure", help_epilogue="")
def study_figure(
    path: Annotated[Path, option("The .png, .svg or .pdf that is written.")],
    /,
    *names: Study,
    scale: Scale = "full",
    quantity: Annotated[str, option("An evaluation's title, or a diagnostic's number; by default clean.")] = "clean",
    folder: Results = None,
) -> None:
    """Draw one quantity of the networks of several studies: measured, and beside it what papers print.

    Example: stabzoo study figure tables.pdf zerosnet-table-2 zerosnet-table-3
    """
    from stabzoo.cli.study.figure import draw_studies

    draw_studies(names, scale, quantity, folder, path)


@study.command(name="export", help_epilogue="")
def study_export(
    path: Annotated[Path, option("A .csv or .parquet.")],
    /,
    *,
    name: Annotated[str | None, option("Only the results of this one.", name="--study")] = None,
    folder: Results = None,
) -> None:
    """Write all results as a table, one row a run and number: evaluations, and all that diagnostics found.

    Example: stabzoo study export results.csv
    """
    from stabzoo.cli.study.run import export_results

    export_results(path, name, folder)


@study.command(name="checkpoint", help_epilogue="")
def study_checkpoint(
    name: Study,
    label: Annotated[str, option("The label of one of its networks.")],
    /,
    *,
    scale: Scale = "full",
    folder: Results = None,
    to: Annotated[Path | None, option("A new folder; by default NAME-LABEL in runs.")] = None,
) -> None:
    """Export a network of a study, of its runs the best: a folder that timm, predict, export and publish open.

    The best is that of the highest top-1 on the test images, which is more than can be expected of other images.

    Example: stabzoo study checkpoint root-scan 'r = 0' --scale smoke --to best
    """
    from stabzoo.cli.study.checkpoint import export_checkpoint

    export_checkpoint(name, label, scale, folder=folder, to=to)


@study.command(name="new", help_epilogue="")
def study_new(
    path: Annotated[Path, option("The .yaml file that is written; it must not be there.")],
    /,
    *,
    data: DataSet = "digits",
    size: Size = None,
    root: Root = Path("data"),
) -> None:
    """Write your own study, with comments: two networks on these images, to be changed.

    A folder of images is looked at first, as `stabzoo train` does, and size, batch and epochs are chosen for it.

    Example: stabzoo study new own.yaml --data photos
    """
    from stabzoo.cli.study.new import write_study

    write_study(path, data, size, root)
