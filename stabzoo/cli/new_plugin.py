"""``stabzoo new-plugin``: a distribution around coefficients, a branch, an evaluation or models, and what is proved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stabzoo.claims import order_text
from stabzoo.cli.console import output
from stabzoo.errors import ConfigError
from stabzoo.methods import RungeKutta
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.scaffold import Kind, NewPlugin, write_plugin
from stabzoo.stability import rational_text

__all__ = ["write_new_plugin"]


def write_new_plugin(
    name: str,
    kind: Kind,
    *,
    scheme: str | None,
    alpha: Sequence[str],
    beta: Sequence[str],
    beta_next: str | None,
    a: Sequence[str],
    b: Sequence[str],
    design: Path | None,
    folder: Path,
) -> None:
    """Write the plugin ``name``, and print its files, what its registry claims, and what to do next.

    Raises:
        ConfigError: Coefficients that are none or not of the kind, a name or folder that is taken.
    """
    if design is not None:
        if alpha or beta or beta_next is not None or a or b:
            raise ConfigError("expected --design, or coefficients; got both")
        from stabzoo.designing import load_design

        alpha, beta, beta_next = _coefficients(load_design(design).method)
    multistep, runge_kutta = bool(alpha or beta or beta_next is not None), bool(a or b)
    if multistep and runge_kutta:
        raise ConfigError("expected --alpha and --beta of a multistep method, or --a and --b of a tableau; got both")
    if multistep and not alpha:
        raise ConfigError("--beta and --beta-next: expected --alpha with them, e.g. --alpha 0 1 --beta 2 0")
    if runge_kutta and not b:
        raise ConfigError("--a: expected --b with it, the weights of the stages, e.g. --a 1/2 --b 0 1")
    try:
        method = LinearMultistep(alpha, beta, beta_next or 0) if multistep else None
        tableau = RungeKutta([(), *(row.split(",") for row in a)], b) if runge_kutta else None
    except ValueError as error:
        raise ConfigError(f"the coefficients: {error}") from None
    plugin = NewPlugin(name, kind, method or tableau, scheme)
    written = write_plugin(plugin, folder)
    console = output()
    for path in plugin.files():
        console.print(str(written / path))
    console.print()
    if card := plugin.card:
        console.print(f"{card.method}: {order_text(card.order)}, {card.status}")
    console.print(f"next: cd {written} && pip install -e '.[test]' && pytest")


def _coefficients(method: LinearMultistep) -> tuple[list[str], list[str], str | None]:
    new = None if method.is_explicit else rational_text(method.beta_next)
    return [rational_text(c) for c in method.alpha], [rational_text(c) for c in method.beta], new
