"""Serving a written site to this machine alone."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["server"]


class _Pages(SimpleHTTPRequestHandler):
    """The files of one folder: no lists of folders, and no link that leads out of it."""

    def translate_path(self, path: str) -> str:
        found = Path(super().translate_path(path))
        folder = Path(self.directory).resolve()
        inside = found.resolve().is_relative_to(folder)
        return str(found if inside else folder / "outside of what is served")

    def list_directory(self, path: Any) -> None:
        self.send_error(404)

    def end_headers(self) -> None:
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is the command's."""


def server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of the files of ``folder``, on the loopback interface; of port 0 the system chooses a free one.

    Raises:
        OSError: the port is taken.
    """
    return ThreadingHTTPServer(("127.0.0.1", port), partial(_Pages, directory=str(folder)))
