"""``stabzoo page``: a site of the explorer, the zoo and studies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stabzoo.cli.console import output
from stabzoo.page.serving import server
from stabzoo.page.site import write_site
from stabzoo.study.report.nearby import measured_networks
from stabzoo.study.report.page import studies_of

__all__ = ["write_page"]


def write_page(
    folder: Path, stores: Sequence[Path], files: Sequence[Path], benchmarks: Sequence[Path], *, serve: bool
) -> None:
    """Write the site, print its files, and serve it until it is interrupted if that is asked for.

    Raises:
        ConfigError: the folder cannot be written, or a store, a study's file or a benchmark not be read.
    """
    console = output()
    studies, hidden = studies_of(stores, files)
    for path in write_site(folder, studies, hidden, measured_networks(studies), benchmarks):
        console.print(str(path))
    if serve:
        with server(folder) as running:
            console.print(f"http://127.0.0.1:{running.server_port}/ (until Ctrl-C)")
            running.serve_forever()
