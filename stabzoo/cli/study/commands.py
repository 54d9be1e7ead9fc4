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
        "Train and compare networks, and inspect the results.\n\n"
        "`stabzoo study NAME` is `stabzoo study run NAME`.\n\nExample: stabzoo study list"
    ),
    help_epilogue=STUDY_EXAMPLES,
)


Study = Annotated[str, option("A study of stabzoo or of a plugin, or the path of a .yaml file.")]


Scale = Annotated[str, option("A smaller form of the study: laptop, smoke; by default full.")]


Place = Annotated[
    Path | None,
    option(
        "Folder of report and results; by default runs/NAME[-SCALE], with the results of all studies in "
        "runs/results.sqlite."
    ),
]


Results = Annotated[Path | None, option("Folder of results.sqlite; by default runs.")]


@study.default
@study.command(name="run", help_epilogue="")
def study_run(
    name: Study,
    /,
    *,
    scale: Scale = "full",
    workers: Annotated[int | None, option("Single-threaded processes; by default one per processor.")] = None,
    engine: Annotated[
        Literal["local", "dask"], option("Run on this machine or on a dask cluster; by default local.")
    ] = "local",
    scheduler: Annotated[
        str | None, option("Address of an existing dask cluster, tcp://HOST:8786; by default one is started here.")
    ] = None,
    device: Annotated[Literal["cpu", "cuda"], option("cpu or cuda, one GPU per run; by default cpu.")] = "cpu",
    folder: Place = None,
    root: Root = Path("data"),
    download: Annotated[bool, option("Download the data set first if it is missing.")] = False,
) -> int:
    """Train the missing runs, then report; an interrupted study resumes where it stopped.

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
    """Show the networks, settings, published numbers and limits of a study.

    Example: stabzoo study show zerosnet-table-3 --scale laptop
    """
    from stabzoo.cli.study.list import show_study

    show_study(name, scale, as_json=as_json)


@study.command(name="status", help_epilogue="")
def study_status(
    name: Annotated[str | None, option("A study; by default all with runs here.")] = None,
    /,
    *,
    scale: Annotated[str | None, option("One of its scales; by default those with runs here.")] = None,
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
    """Report the finished runs, without training.

    Exits with 1 if there are none.

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
    other: Annotated[Path | None, option("Folder of the second study's results.sqlite, if it is another.")] = None,
    as_json: Json = False,
) -> None:
    """Compare the settings and accuracies of two studies.

    Example: stabzoo study diff zerosnet-table-3@laptop zerosnet-table-6@laptop
    """
    from stabzoo.cli.study.diff import compare_studies

    compare_studies(first, second, folder, other, as_json=as_json)


@study.command(name="correlate", help_epilogue="")
def study_correlate(
    *names: Study,
    scale: Scale = "full",
    evaluation: Annotated[
        str, option("Title of an evaluation, or column of published numbers; by default clean.")
    ] = "clean",
    published: Annotated[bool, option("Use the published numbers instead of those measured here.")] = False,
    folder: Results = None,
    plot: Annotated[Path | None, option("Also draw the numbers against three quantities: .png, .svg or .pdf.")] = None,
    as_json: Json = False,
) -> None:
    """Rank correlations of exact quantities of the schemes with what their networks achieved.

    Example: stabzoo study correlate zerosnet-table-1 zerosnet-table-2 zerosnet-table-3 --published
    """
    from stabzoo.cli.study.correlate import correlate

    correlate(names, scale, evaluation, folder, of_paper=published, plot=plot, as_json=as_json)


@study.command(name="figure", help_epilogue="")
def study_figure(
    path: Annotated[Path, option("The .png, .svg or .pdf to write.")],
    /,
    *names: Study,
    scale: Scale = "full",
    quantity: Annotated[str, option("An evaluation's title, or a diagnostic's number; by default clean.")] = "clean",
    folder: Results = None,
) -> None:
    """Draw one quantity of the networks of several studies, measured and published.

    Example: stabzoo study figure tables.pdf zerosnet-table-2 zerosnet-table-3
    """
    from stabzoo.cli.study.figure import draw_studies

    draw_studies(names, scale, quantity, folder, path)


@study.command(name="export", help_epilogue="")
def study_export(
    path: Annotated[Path, option("The .csv or .parquet to write.")],
    /,
    *,
    name: Annotated[str | None, option("Only the results of this study.", name="--study")] = None,
    folder: Results = None,
) -> None:
    """Write all results as a table: one row per run and number, from evaluations and diagnostics.

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
    """Export the best run of a network: a folder that timm, predict, export and publish open.

    The best run has the highest top-1 on the test images; expect less on other images.

    Example: stabzoo study checkpoint root-scan 'r = 0' --scale smoke --to best
    """
    from stabzoo.cli.study.checkpoint import export_checkpoint

    export_checkpoint(name, label, scale, folder=folder, to=to)


@study.command(name="new", help_epilogue="")
def study_new(
    path: Annotated[Path, option("The .yaml file to write; it must not exist.")],
    /,
    *,
    data: DataSet = "digits",
    size: Size = None,
    root: Root = Path("data"),
) -> None:
    """Write your own study, with comments: two networks on these images, for you to edit.

    For a folder of images, size, batch and epochs are chosen as `stabzoo train` does.

    Example: stabzoo study new own.yaml --data photos
    """
    from stabzoo.cli.study.new import write_study

    write_study(path, data, size, root)
