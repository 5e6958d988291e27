"""Ctrl-C and SIGTERM: their exit codes, and their delivery where Python would drop them."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

INTERRUPTED = 128 + signal.SIGINT
"""Exit code after Ctrl-C, by the convention of shells."""
TERMINATED = 128 + signal.SIGTERM
"""Exit code after SIGTERM, by the same convention. The process ends at once: what matters is on disk."""

_RESEND_AFTER_S = 0.02
"""Most destructors have returned by then; if not, the signal is sent once more."""


@contextmanager
def deliver_signals() -> Iterator[None]:
    """Inside, a signal that should end the process does so wherever it arrives.

    When a signal handler raises inside a destructor or a weak reference's callback, Python prints the exception and
    drops it, and the process continues. Here such a signal is sent again.
    """
    original = sys.unraisablehook

    def resend(unraisable: UnraisableHookArgs) -> None:
        number = _signal_of(unraisable.exc_value)
        if number is None:
            original(unraisable)
            return
        # To the main thread, so that a blocking call there is interrupted too.
        timer = threading.Timer(_RESEND_AFTER_S, signal.pthread_kill, [threading.main_thread().ident, number])
        timer.daemon = True
        timer.start()

    sys.unraisablehook = resend
    try:
        yield
    finally:
        sys.unraisablehook = original


def _signal_of(error: BaseException | None) -> int | None:
    """Returns the signal whose handler raised this exception; `None` if it was none."""
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGINT
    if isinstance(error, SystemExit) and error.code == TERMINATED:
        return signal.SIGTERM
    return None
