"""Measurements, kept one a line at once: a part stops at its time limit and continues later.

A line has a key, the measured values, and their conditions: device, driver, torch, commit, sizes. A measurement with a
line of the same conditions is not repeated. A failed one has a line with the cause, and is tried again.
"""

from __future__ import annotations

import gc
import json
import shutil
import signal
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import torch

Values = dict[str, Any]
_ROOT = Path(__file__).parents[2]
_LEAST_S = 2.0
"""Nothing is started with less time left."""
_AGAIN_S = 40.0
"""Time until the signal is sent again, longer than a search needs to end. Python drops exceptions that are raised while
it collects an object."""
_CAUSE_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The conditions of a measurement."""

    device: str
    """Model of the GPU or the processor."""
    driver: str
    torch: str
    commit: str
    sizes: str
    """`full` or `dry`."""

    @classmethod
    def of(cls, device: torch.device, *, sizes: str) -> Facts:
        """Returns the conditions of this machine and this source."""
        from depthweave.trainers import hardware

        return cls(
            device=hardware(device),
            driver=_driver() if device.type == "cuda" else "",
            torch=torch.__version__,
            commit=_commit(),
            sizes=sizes,
        )


class OutOfTime(BaseException):
    """The part's time is over. Not an `Exception`, because libraries catch those."""


class Ledger:
    """The lines of one part."""

    def __init__(self, file: Path, *, facts: Facts, deadline_s: float) -> None:
        """`deadline_s`: by `time.monotonic`."""
        self._file, self._facts, self._deadline_s = file, asdict(facts), deadline_s
        self._known = {line["key"]: line for line in read_lines(file) if self._is_ours(line)}
        self.failures: list[str] = []
        """Keys that failed in this call."""
        self.left_out: list[str] = []
        """Keys without time left."""

    def measure(self, key: str, work: Callable[[], Values], *, needs_s: float = 0.0) -> Values | None:
        """Returns kept values, or the result of `work`, which is then kept; `None` if it failed or time is over.

        `needs_s`: usual seconds on a GPU; with less time left the work is not started.
        """
        if key in self._known:
            print(f"{key}: known", flush=True)
            return dict(self._known[key])
        left_s = self._deadline_s - time.monotonic()
        if left_s < (_LEAST_S if self._facts["sizes"] == "dry" else max(needs_s, _LEAST_S)):
            print(f"{key}: left out, {max(left_s, 0.0):.0f} s left", flush=True)
            self.left_out.append(key)
            return None
        started = time.monotonic()
        try:
            with _limited(left_s):
                values = work()
        except OutOfTime:
            values = {"failed": f"not done in the {left_s:.0f} s that were left"}
        except Exception as error:
            traceback.print_exc()
            values = {"failed": " ".join(f"{type(error).__name__}: {error}".split())[:_CAUSE_CHARACTERS]}
        finally:
            _tidy()
        line = {"key": key, "seconds": round(time.monotonic() - started, 1), **values}
        self._keep(line)
        if "failed" in values:
            self.failures.append(key)
            return None
        self._known[key] = line
        return dict(line)

    def _keep(self, line: Values) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**line, **self._facts, "at": now}) + "\n")
        shown = {name: value for name, value in line.items() if name != "key" and not isinstance(value, list)}
        print(f"{line['key']}: {json.dumps(shown)}", flush=True)

    def _is_ours(self, line: Values) -> bool:
        return "failed" not in line and all(line.get(name) == value for name, value in self._facts.items())


def read_lines(file: Path) -> list[Values]:
    """The lines of a part; one that was cut off by a kill is left out."""
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


@contextmanager
def _limited(limit_s: float) -> Iterator[None]:
    """Raises `OutOfTime` in the main thread when the time is over, and again where it was lost."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit_s, _AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _tidy() -> None:
    """Models of one measurement do not stay for the next; graphs do, for the model that all are compared with."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _driver() -> str:
    return _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").partition("\n")[0]


def _commit() -> str:
    """Returns the commit of the checkout, or of its bundle (`pack.py`)."""
    commit_file = _ROOT / "COMMIT"
    if commit_file.exists():
        return commit_file.read_text(encoding="utf-8").strip()
    return _output("git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--abbrev=10") or "unknown"


def _output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
