"""``stabzoo new-plugin``: a distribution around coefficients, and what is proved of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stabzoo.cli.console import output
from stabzoo.errors import ConfigError
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.scaffold import Kind, NewPlugin, write_plugin

__all__ = ["write_new_plugin"]


def write_new_plugin(
    name: str,
    *,
    explicit: bool,
    implicit: bool,
    block: bool,
    models: str | None,
    alpha: Sequence[str],
    beta: Sequence[str],
    beta_next: str | None,
    folder: Path,
) -> None:
    """Write the plugin ``name``, and print its files, what its registry claims, and what to do next.

    Raises:
        ConfigError: More than one kind, coefficients that are none or not of the kind, a name or folder that is taken.
    """
    given: dict[Kind, bool] = {
        "explicit": explicit,
        "implicit": implicit,
        "block": block,
        "models": models is not None,
    }
    kinds: list[Kind] = [kind for kind, is_given in given.items() if is_given]
    if len(kinds) > 1:
        raise ConfigError(
            f"expected one of {', '.join(f'--{kind}' for kind in given)}; "
            f"got {' and '.join(f'--{kind}' for kind in kinds)}"
        )
    kind: Kind = kinds[0] if kinds else ("explicit" if beta_next is None else "implicit")
    method = None
    if alpha or beta or beta_next is not None:
        if not alpha:
            raise ConfigError("--beta and --beta-next: expected --alpha beside them, e.g. --alpha 0 1 --beta 2 0")
        try:
            method = LinearMultistep(alpha, beta, beta_next or 0)
        except ValueError as error:
            raise ConfigError(f"the coefficients: {error}") from None
    plugin = NewPlugin(name, kind, method, models)
    written = write_plugin(plugin, folder)
    console = output()
    for path in plugin.files():
        console.print(str(written / path))
    card = plugin.card
    console.print()
    console.print(f"{card.method}: {f'order {card.order}' if card.order else 'not consistent'}, {card.status}")
    console.print(f"next: cd {written} && pip install -e '.[test]' && pytest")
