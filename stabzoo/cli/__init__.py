"""The command line: a file per command, imported when the command runs."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from cyclopts.exceptions import CycloptsError

from stabzoo.cli.commands import app
from stabzoo.cli.console import TRACEBACK, complain, show_traceback
from stabzoo.errors import ConfigError, PluginError, PluginWarning, is_out_of_memory
from stabzoo.registry.loading import one_command

__all__ = ["main"]

NEGATIVE_RATIO = re.compile(r"-[0-9.]+/.*")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0: done; 1: `stabzoo check` found a false claim, a run of a study failed, or there is none to report; 2: the input
    is wrong, or something cannot be read or written; 130: interrupted; 141: the reader of the output is gone.  What is
    wrong is one message on standard error.
    """
    if sys.stderr is None:  # closed by the caller
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 -- to the end of the process
    if sys.stdout is None:
        return _fail("standard output is closed; redirect it, e.g. > /dev/null")
    for stream in (sys.stdout, sys.stderr):
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="replace")  # a locale without the letters of a name is no reason to fail
    tokens = prepared(sys.argv[1:] if arguments is None else arguments)
    TRACEBACK.set("--traceback" in tokens)
    tokens = [token for token in tokens if token != "--traceback"]
    with one_command(), warnings.catch_warnings():
        warnings.simplefilter("always", PluginWarning)
        warnings.showwarning = _show_warning
        try:
            status = app(tokens)
            sys.stdout.flush()
            return status or 0
        except PluginError as error:
            show_traceback(error)
            return _fail(str(error))
        except (ConfigError, CycloptsError) as error:
            return _fail(str(error))
        except KeyboardInterrupt as error:
            _fail(str(error) or "interrupted")
            return 130
        except BrokenPipeError:
            _abandon_stdout()
            return 141
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return _fail(
                f"out of memory ({' '.join(str(error).split())[:200] or type(error).__name__}); free some, or ask for "
                "less at once (batch_size, accumulation, workers); what is saved is kept, and the same command resumes"
            )
        except OSError as error:
            _abandon_stdout()
            return _fail(f"{error.filename or 'the output'}: cannot be written ({error.strerror or error})")


def prepared(arguments: Sequence[str]) -> list[str]:
    """The arguments as the parser takes them.

    A leading space, which numbers may have, keeps -1/3 from being taken for an option as -3 is not.
    """
    return [f" {word}" if NEGATIVE_RATIO.fullmatch(word) else word for word in arguments]


def _fail(message: str) -> int:
    complain(message)
    return 2


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    kind = "" if issubclass(category, PluginWarning) else f"{category.__name__}: "
    complain(f"warning: {kind}{message}")


def _abandon_stdout() -> None:
    """Leave nothing in standard output that the interpreter would try, and fail, to write at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
