"""Ctrl-C and SIGTERM: their exit codes, and that none is lost."""

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
"""Exit code after Ctrl-C, by the habit of shells."""
TERMINATED = 128 + signal.SIGTERM
"""Exit code after SIGTERM, likewise: what matters is on disk, and whoever sent it counts the seconds."""

_PAUSE_S = 0.02
"""By then what was running has most often returned; where it has not, the signal is put off once more."""


@contextmanager
def deliver_signals() -> Iterator[None]:
    """Inside, a signal that ends the process does so wherever it falls.

    A handler's exception that falls into a destructor or into a weak reference's callback is printed there by Python
    and dropped, and the process goes on as if nobody had asked it to end. Such a signal is sent again instead.
    """
    former = sys.unraisablehook

    def resend(unraisable: UnraisableHookArgs) -> None:
        number = _signal_of(unraisable.exc_value)
        if number is None:
            former(unraisable)
            return
        # To the main thread: what it waits for is interrupted too.
        again = threading.Timer(_PAUSE_S, signal.pthread_kill, [threading.main_thread().ident, number])
        again.daemon = True
        again.start()

    sys.unraisablehook = resend
    try:
        yield
    finally:
        sys.unraisablehook = former


def _signal_of(error: BaseException | None) -> int | None:
    """The signal whose handler raised this."""
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGINT
    if isinstance(error, SystemExit) and error.code == TERMINATED:
        return signal.SIGTERM
    return None
