"""Trials that fail on purpose, each in the way that is given for its architecture's id.

The class is defined inside a function: cloudpickle then sends it to the workers by value, and they need no tests.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any, Literal

import torch

from depthweave.search.trials.trial import ArchitectureTrial

Fault = Literal[
    *("raises", "raises once", "dies", "diverges", "hopeless"),
    *("no memory", "no memory of a device", "killed", "killed once", "hangs", "hangs once", "stopped", "clock jumps"),
]
HOPELESS_LOSS = 12.0
"""Nats a token that no healthy model reaches (an even guess among 256 is 5.5) and every hopeless trial exceeds."""


def faulty_trial(faults: Mapping[str, Fault]) -> type[ArchitectureTrial]:
    """Returns `ArchitectureTrial` with faults by architecture id.

    `raises` acts at once, the other faults after the first evaluation.
    """
    planted = dict(faults)

    class FaultyTrial(ArchitectureTrial):
        def step(self) -> dict[str, Any]:
            fault = planted.get(self._architecture.id)
            begun = bool(self._history)
            if fault == "raises":
                raise OSError("planted: no first evaluation")
            if fault == "hopeless":
                self._spoil(30.0)
            if begun and fault == "raises once" and self._attempts == 1:
                raise ArithmeticError("planted: the first time only")
            if begun and fault == "dies":
                os._exit(3)
            if begun and fault == "no memory":
                raise MemoryError("planted: 1 EiB asked for")
            if begun and fault == "no memory of a device":
                raise torch.OutOfMemoryError("planted: CUDA out of memory")
            if begun and (fault == "killed" or (fault == "killed once" and self._attempts == 1)):
                os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does where memory runs out
            if begun and (fault == "hangs" or (fault == "hangs once" and self._attempts == 1)):
                threading.Event().wait()
            if begun and fault == "stopped":
                os.kill(os.getpid(), signal.SIGSTOP)
            if fault == "clock jumps":
                jump_s = (-1) ** len(self._history) * 36_000.0
                time.time = lambda: time.clock_gettime(time.CLOCK_REALTIME) + jump_s
            if begun and fault == "diverges":
                self._spoil(float("nan"))
            return super().step()

        def _spoil(self, factor: float) -> None:
            """With logits this large the model is certain of a wrong token."""
            with torch.no_grad():
                self._state.model.embedding.weight.mul_(factor)

    return FaultyTrial
