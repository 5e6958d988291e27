"""A whole search through Ray whose trials share one device: the part `search`.

It shows the device's utilisation, trials a minute, and how quiet it was while latencies were measured. It checks that
every trial ended well and that the report exists. Needs the dependencies of the command `depthweave`, Ray and Optuna
included.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
import yaml

from benchmarks.gpu.ledger import Ledger, Values
from benchmarks.gpu.sizes import Sizes

_EXAMPLE = Path(__file__).parents[2] / "examples" / "gpu.yaml"
_NEEDS_S = 150.0
_ENDING_S = 20.0
"""Time for a search to end after a signal; then it is killed, which it also survives."""
_PROGRAM = "from depthweave.search.cli import main; main()"


def run(ledger: Ledger, *, sizes: Sizes, device: torch.device, out: Path) -> None:
    """One search, from its spec to its report."""
    ledger.measure("search", partial(_search, sizes=sizes, device=device, out=out), needs_s=_NEEDS_S)


def spec_of(sizes: Sizes, *, device: torch.device) -> dict[str, object]:
    """The spec `examples/gpu.yaml` at a size that a few minutes are enough for."""
    spec: dict[str, object] = yaml.safe_load(_EXAMPLE.read_text(encoding="utf-8"))
    on_gpu = device.type == "cuda"
    space, recipe, resources = ({**spec[name]} for name in ("space", "recipe", "resources"))  # type: ignore[dict-item]
    if on_gpu:
        space |= {"depths": [6, 12], "budgets": [10_000_000]}
        recipe |= {"steps": 400, "batch": 16, "context": 256, "compile": False, "num_evaluations": 8}
    else:
        space |= {"depths": [4, 6], "budgets": [40_000], "head_width": 16}
        recipe |= {"steps": 20, "batch": 2, "context": 16, "compile": False, "num_evaluations": 4}
        recipe |= {"evaluation_tokens": 1024}
    resources |= {
        "device": device.type,
        "cpus_per_trial": 1,
        "gpus_per_trial": 1 / sizes.search_workers if on_gpu else 0.0,
        "measure_limit_s": 1.0,
        "max_concurrent": sizes.search_workers,
    }
    return {
        **spec,
        "corpus": {"kind": "stdlib"},
        "tokenizer": "bytes",
        "space": space,
        "recipe": recipe,
        "search": {**spec["search"], "trials": sizes.search_trials},  # type: ignore[dict-item]
        "resources": resources,
    }


def _search(*, sizes: Sizes, device: torch.device, out: Path) -> Values:
    spec, folder = out / "search.yaml", out / "run"
    out.mkdir(parents=True, exist_ok=True)
    spec.write_text(yaml.safe_dump(spec_of(sizes, device=device)), encoding="utf-8")
    resumed = ["--resume"] if (folder / "run.json").exists() else []
    began_s = time.monotonic()
    with _watched(device) as utilisation, (out / "search.txt").open("a", encoding="utf-8") as said:
        command = [sys.executable, "-c", _PROGRAM, "search", str(spec), "--out", str(folder), *resumed]
        done = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        try:
            code = done.wait()
        except BaseException:
            # It saves and says how to continue.
            done.terminate()
            try:
                done.wait(_ENDING_S)
            except subprocess.TimeoutExpired:
                done.kill()
                done.wait()
            raise
    if code:
        raise RuntimeError(f"the search ended with code {code}: {_last_line(out / 'search.txt')}")
    return {"wall_s": round(time.monotonic() - began_s, 1), **_found(folder), **_busy(utilisation)}


def _found(folder: Path) -> Values:
    from depthweave.reports.store.run_store import RunStore

    records = RunStore.open(folder).records()
    trained_s = sum(item.measure_s + item.train_s + item.evaluation_s for item in records)
    span_s = (max(it.finished_at for it in records) - min(it.started_at for it in records)).total_seconds()
    noises = [item.latency_noise for item in records if item.latency_noise is not None]
    again = [it.latency / it.trial_latency for it in records if it.latency is not None and it.trial_latency]
    return {
        "states": dict(Counter(item.state for item in records)),
        "reasons": sorted({item.reason for item in records if item.state == "failed" and item.reason})[:3],
        "trials_a_minute": round(60.0 * len(records) / span_s, 2),
        "work_s_a_trial": round(trained_s / len(records), 2),
        "precisions": sorted({yaml.safe_load(item.recipe)["precision"] for item in records}),
        "latency_noise": [round(float(value), 4) for value in np.quantile(noises, (0.5, 1.0))] if noises else None,
        "measured_again": [round(float(value), 4) for value in np.quantile(again, (0.0, 0.5, 1.0))] if again else None,
        "report_mb": round((folder / "report.html").stat().st_size / 1e6, 2),
    }


def _busy(utilisation: list[float]) -> Values:
    if not utilisation:
        return {"utilisation_percent": None}
    quartiles = np.quantile(utilisation, (0.25, 0.5, 0.75)).tolist()
    return {"utilisation_percent": quartiles, "utilisation_mean_percent": round(float(np.mean(utilisation)), 1)}


@contextmanager
def _watched(device: torch.device) -> Iterator[list[float]]:
    """Collects the device's utilisation, percent, twice a second; nothing without `nvidia-smi`."""
    seen: list[float] = []
    if device.type != "cuda" or shutil.which("nvidia-smi") is None:
        yield seen
        return
    query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "500"]
    watch = subprocess.Popen(query, stdout=subprocess.PIPE, text=True)
    # "[N/A]" if the driver does not report it, as with MIG.
    reader = threading.Thread(
        target=lambda: seen.extend(float(line) for line in watch.stdout or () if line.strip().isdecimal())
    )
    reader.start()
    try:
        yield seen
    finally:
        watch.terminate()
        reader.join()


def _last_line(file: Path) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")
