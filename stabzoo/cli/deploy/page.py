"""``stabzoo page``: a site of the explorer and the zoo."""

from __future__ import annotations

from pathlib import Path

from stabzoo.cli.console import output
from stabzoo.page.serving import server
from stabzoo.page.site import write_site

__all__ = ["write_page"]


def write_page(folder: Path, *, serve: bool) -> None:
    """Write the site, print its files, and serve it until it is interrupted if that is asked for.

    Raises:
        ConfigError: the folder cannot be written.
    """
    console = output()
    for path in write_site(folder):
        console.print(str(path))
    if serve:
        with server(folder) as running:
            console.print(f"http://127.0.0.1:{running.server_port}/ (until Ctrl-C)")
            running.serve_forever()
