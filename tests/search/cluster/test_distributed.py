"""`depthweave train --workers`: the result of one worker, whatever is killed on the way, and room found or refused."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from depthweave.reports.export import read_training
from depthweave.search.cluster.distributed import resources_per_worker
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.files import ARCHITECTURE_FILE, write_architecture
from depthweave.spaces.wiring import strided_wiring
from tests.search.commandline import Cli

_MAIN = "from depthweave.search.cli import main; main()"


@pytest.mark.parametrize(
    ("workers", "nodes", "each"),
    [
        (2, [{"CPU": 2.0}], {"CPU": 1}),
        (2, [{"CPU": 16.0}], {"CPU": 8}),
        (3, [{"CPU": 8.0}, {"CPU": 4.0}], {"CPU": 4}),
        (2, [{"CPU": 3.0}, {"CPU": 3.0}], {"CPU": 3}),
        (4, [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0, "GPU": 2.0}], {"CPU": 1, "GPU": 1}),
    ],
)
def test_workers_share_the_nodes_equally(workers: int, nodes: list[dict[str, float]], each: dict[str, float]) -> None:
    assert resources_per_worker(workers, nodes=nodes) == each


def test_more_workers_than_room_are_refused() -> None:
    with pytest.raises(ValueError, match="--workers 3: the cluster has 2 CPUs"):
        resources_per_worker(3, nodes=[{"CPU": 1.5}, {"CPU": 1.0}])
    # Where there are GPUs, every worker has one.
    with pytest.raises(ValueError, match="--workers 2: the cluster has 1 GPUs"):
        resources_per_worker(2, nodes=[{"CPU": 16.0, "GPU": 1.0}])


def test_batch_that_workers_cannot_share_is_refused_before_ray_starts(
    training: list[object], fault: Callable[..., str], tmp_path: Path
) -> None:
    line = fault(*training, "--out", tmp_path / "model", "--workers", "3")
    assert line.startswith("recipe.batch is 16, which 3 workers cannot share equally")


@pytest.fixture
def training(tmp_path: Path, corpus_folder: Path) -> list[object]:
    """Arguments of a training of 50 steps and five evaluations, with seconds between two."""
    folder = tmp_path / "exported"
    folder.mkdir()
    architecture = Architecture(
        fusion="dwa", wiring=strided_wiring(6), width=64, heads=2, feed_forward=256, vocabulary=256, context=128
    )
    write_architecture(folder / ARCHITECTURE_FILE, architecture)
    sets = ("batch=16", "num_evaluations=5", "evaluation_tokens=2048")
    return [
        *("train", folder / ARCHITECTURE_FILE, "--corpus", corpus_folder, "--tokens", 50 * 16 * 128),
        *(item for text in sets for item in ("--set", text)),
    ]


@pytest.mark.release
def test_two_workers_of_which_one_is_killed_come_to_what_one_comes_to(
    training: list[object], run: Cli, tmp_path: Path
) -> None:
    assert run(*training, "--out", tmp_path / "one").code == 0
    with _command(*training, "--out", tmp_path / "two", "--workers", 2) as driver:
        lines = _until(driver, "step 10:")
        os.kill(_worker_of(driver.pid), signal.SIGKILL)
        lines += _until(driver, "perplexity .*$")
        lines += list(driver.stdout or ())
        assert driver.wait(timeout=60) == 0
    printed = "".join(lines)
    assert "a worker was lost" in printed
    # From the last evaluation: none is missing, none made twice.
    assert re.findall(r"^step (\d+):", printed, flags=re.MULTILINE) == ["10", "20", "30", "40", "50"]
    one, two = (_loss(tmp_path / name) for name in ("one", "two"))
    assert abs(one - two) < 1e-4
    assert not list((tmp_path / "two").glob(".ray-train*"))


@pytest.mark.release
def test_training_of_two_workers_whose_driver_is_killed_goes_on_with_one(
    training: list[object], run: Cli, tmp_path: Path
) -> None:
    with _command(*training, "--out", tmp_path / "two", "--workers", 2) as driver:
        _until(driver, "step 10:")
        driver.kill()
    code, printed, _ = run(*training, "--out", tmp_path / "two")
    assert code == 0
    assert re.search(r"from step [1-4]0$", printed, flags=re.MULTILINE)
    assert run(*training, "--out", tmp_path / "one").code == 0
    assert abs(_loss(tmp_path / "one") - _loss(tmp_path / "two")) < 1e-4


@contextmanager
def _command(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-u", "-c", _MAIN, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _until(driver: subprocess.Popen[str], pattern: str) -> list[str]:
    """The lines up to the one that matches; the test's own timeout bounds the wait."""
    lines = []
    for line in driver.stdout or ():
        lines.append(line)
        if re.search(pattern, line):
            return lines
    raise AssertionError(f"ended without {pattern!r}: {''.join(lines)}")


def _worker_of(driver: int) -> int:
    """A process of Ray Train that descends from the driver."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and b"RayTrainWorker" in _read(folder / "cmdline") and driver in _above(folder):
                return int(folder.name)
    raise AssertionError("no worker of Ray Train runs")


def _above(folder: Path) -> list[int]:
    found = []
    while parent := re.search(rb"^PPid:\s+([1-9]\d*)$", _read(folder / "status"), flags=re.MULTILINE):
        found.append(int(parent[1]))
        folder = folder.parent / str(found[-1])
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        # It has ended meanwhile.
        return b""


def _loss(folder: Path) -> float:
    training = read_training(folder)
    assert training is not None
    return training.loss
