"""``stabzoo publish``: a trained network as a repository of the hub."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from stabzoo.cli.console import output
from stabzoo.deploy.opening import open_deployed
from stabzoo.deploy.publishing import upload, write_repository
from stabzoo.errors import ConfigError
from stabzoo.terminal import say

__all__ = ["publish_trained"]


def publish_trained(run: Path, repository: str | None, *, folder: Path | None, private: bool) -> None:
    """Write a repository and, where one is named, upload it.

    Raises:
        ConfigError: neither a repository nor a folder is named, or one of them cannot be used.
    """
    if repository is None and folder is None:
        raise ConfigError("publish: expected a repository OWNER/NAME of the Hugging Face hub, or --folder FOLDER")
    deployed = open_deployed(run)
    where = None if repository is None else f"hf-hub:{repository}"
    with TemporaryDirectory() as scratch:
        place = folder or Path(scratch, "repository")
        write_repository(deployed, place, where)
        if repository is not None:
            say(output(), upload(place, repository, private=private))
    if folder is not None:
        say(output(), f'{folder}: timm.create_model("local-dir:{folder}", pretrained=True) opens it')
