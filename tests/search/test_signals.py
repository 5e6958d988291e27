"""A signal that ends the command does so wherever it falls."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

_SCRIPT = """
import signal, sys, time, weakref
from depthweave.search.signals import TERMINATED, deliver_signals

def terminate(number, frame):
    sys.exit(TERMINATED)

def fall(reference):
    signal.raise_signal({number})
    print("went on after the signal")

class Watched:
    pass

class Falling:
    def __del__(self):
        fall(None)

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, terminate)
with deliver_signals():
    watched = {make}
    reference = weakref.ref(watched, fall if {in_callback} else None)
    del watched
    print("waits", flush=True)
    time.sleep(30)
"""


def _run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=25, check=False)


@pytest.mark.parametrize("in_callback", [True, False], ids=["callback", "destructor"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_python_would_drop_ends_the_process(number: signal.Signals, in_callback: bool) -> None:
    make = "Watched()" if in_callback else "Falling()"
    ended = _run(_SCRIPT.format(number=int(number), make=make, in_callback=in_callback))
    assert ended.returncode in (128 + number, -number)  # Python kills itself with the SIGINT that was not handled
    assert ended.stdout == "waits\n", "it did fall where it is dropped"
    assert "Exception ignored" not in ended.stderr


def test_other_exceptions_in_destructors_are_shown_as_ever() -> None:
    ended = _run(
        _SCRIPT.format(number="'no number'", make="Falling()", in_callback=False).replace("sleep(30)", "time()")
    )
    assert ended.returncode == 0
    assert "Exception ignored" in ended.stderr
    assert "TypeError" in ended.stderr
