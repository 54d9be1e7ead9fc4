"""What a network carries beside its newest state: a block reads it, leaves it one step later, and returns the state.

So the result of a block and of a stage is a feature map, whatever the scheme remembers.
"""

from inspect import Parameter, signature
from typing import Any

from torch import Tensor, nn

__all__ = ["Past", "advanced", "given", "returned", "takes_lists"]


class Past:
    """The states before the newest one, newest first, and after them the past slopes where a scheme uses them.

    One object passes through all blocks of a network, and each block sets its ``entries``.  Code that handles the
    arguments of modules (sharding, hooks) passes such an object on unchanged, unlike a list.
    """

    def __init__(self, entries: list[Tensor]) -> None:
        self.entries = entries


def takes_lists(block: nn.Module) -> bool:
    """Whether a block of an own network maps one list, the history, to another: it has no argument for a `Past`."""
    parameters = signature(block.forward).parameters.values()
    return sum(p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD) for p in parameters) < 2


def advanced(block: nn.Module, history: list[Tensor]) -> list[Tensor]:
    """The history one block later, newest first; the list ``history`` stays as it is."""
    if takes_lists(block):
        return block(list(history))
    past = Past(list(history[1:]))
    return [block(history[0], past), *past.entries]


def returned(result: Tensor | list[Tensor]) -> list[Tensor]:
    """What a step returns, as a list: the new state, and the slope where it returns one."""
    return result if isinstance(result, list) else [result]


def given(arguments: tuple[Any, ...]) -> list[Tensor]:
    """The history that a block is called with, from its arguments, as a hook before the call gets them."""
    newest, *rest = arguments
    if isinstance(newest, list):
        return list(newest)
    return [newest, *(rest[0].entries if rest else ())]
