"""Code of plugins is run with its printing kept out of standard output, and for a limited time.

A limit is not a sandbox: what blocks in C, catches every exception or ends the process by itself (``os._exit``) is not
stopped, for plugins run with the user's rights.  It is there for the plugin that hangs or prints by mistake.

Environment:
    STABZOO_PLUGIN_SECONDS: for how long a plugin may be imported, or compute its coefficients; 60 by default, 0 for no
        limit.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from stabzoo.errors import ConfigError, PluginError, shortened

__all__ = ["OutOfTime", "failure_text", "plugin_code"]

VARIABLE, SECONDS = "STABZOO_PLUGIN_SECONDS", 60.0


class OutOfTime(BaseException):
    """Raised in the plugin's code; no `Exception`, which that code may well catch."""


_here = threading.local()
"""Of this thread: ``running``, whether a plugin's code is; ``interrupted``, whether Ctrl-C has been pressed meanwhile,
None where that cannot be known."""


@contextlib.contextmanager
def plugin_code(where: str, *, passes: tuple[type[Exception], ...] = (), limited: bool = True) -> Iterator[None]:
    """Run a plugin's code inside: whatever it raises is a `PluginError`, except what ``passes`` and Ctrl-C.

    A `KeyboardInterrupt` that the plugin raises by itself is a failure like any other; the user's own comes out as one
    that says what it has interrupted.

    Standard output is turned to standard error, and the code is stopped after the limit.  In the main thread the limit
    is an alarm, which also ends waiting; in another thread, and where the process has an alarm of its own, a second
    thread raises the exception between two instructions of this one.

    Args:
        where: The plugin, and what was asked of it: the message begins with it.
        passes: What the code may raise, for the caller to put into words.
        limited: Whether the code is stopped after the limit; an attack on all test images takes as long as it takes.

    Raises:
        PluginError: the code failed.
        ConfigError: the limit in the environment is not a number of seconds.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    nested = getattr(_here, "running", False)
    turned = contextlib.nullcontext() if nested else _limited(_seconds() if limited else 0)
    try:
        with turned:
            yield
    except (PluginError, *passes):
        raise
    except BaseException as error:  # SystemExit, or whatever it defines
        if isinstance(error, KeyboardInterrupt) and getattr(_here, "interrupted", None) is not False:
            raise KeyboardInterrupt(f"{where}: interrupted") from error
        raise PluginError(f"{where}: {failure_text(error)}") from error


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    _here.running = True
    limit = _alarm(seconds) if _alarm_is_free() else _watchdog(seconds)
    try:
        with contextlib.redirect_stdout(sys.stderr), _noted_interrupts(), limit:
            yield
    finally:
        _here.running = False


@contextlib.contextmanager
def _noted_interrupts() -> Iterator[None]:
    """Tell Ctrl-C, for which Python calls a handler in the main thread, from a `KeyboardInterrupt` of the code."""

    def note(number: int, frame: FrameType | None) -> None:
        _here.interrupted = True
        signal.default_int_handler(number, frame)

    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    if not in_main or handler is not signal.default_int_handler:
        raises_none = not in_main or handler in (signal.SIG_IGN, signal.SIG_DFL)  # as of a job in the background
        _here.interrupted = False if raises_none else None
        yield
        return
    _here.interrupted = False
    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def failure_text(error: BaseException) -> str:
    """What a plugin raised, in one line of bounded length, whatever it is."""
    kind = type(error).__name__
    if isinstance(error, OutOfTime):
        return f"not done after {_seconds():g} s; {VARIABLE} sets another limit (0: none)"
    try:
        text = " ".join(str(error).split())
    except Exception:  # its __str__ is broken too
        text = ""
    return shortened(f"{kind}: {text}" if text else kind)


def _seconds() -> float:
    text = os.environ.get(VARIABLE, str(SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 10**6:
        raise ConfigError(f"{VARIABLE}: expected a number of seconds, or 0 for no limit; got {text!r:.40}")
    return seconds


def _alarm_is_free() -> bool:
    return (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
        and not any(signal.getitimer(signal.ITIMER_REAL))
    )


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise OutOfTime

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


@contextlib.contextmanager
def _watchdog(seconds: float) -> Iterator[None]:
    if not seconds:
        yield
        return
    thread, lock, over = ctypes.c_ulong(threading.get_ident()), threading.Lock(), threading.Event()

    def bark() -> None:
        with lock:
            if not over.is_set():
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(OutOfTime))

    timer = threading.Timer(seconds, bark)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            over.set()
            ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)  # raised too late
        timer.cancel()
