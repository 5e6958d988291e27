"""The GPU benchmark without a GPU: measurements are kept and resumed, time is kept, every part runs at its smallest."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from benchmarks.gpu import ledger as ledger_module
from benchmarks.gpu.averages import loop
from benchmarks.gpu.check import CHECKS
from benchmarks.gpu.compare import python_files
from benchmarks.gpu.ledger import Facts, Ledger, OutOfTime, read_lines
from benchmarks.gpu.search import spec_of
from benchmarks.gpu.sizes import DRY, FULL, architecture_of
from benchmarks.gpu.table import tables
from benchmarks.gpu.triton_panels import has_triton
from depthweave.search.spec.loading import parse_spec
from depthweave.spaces.decoder import Decoder
from depthweave.trainers import CorpusSpec, load_corpus

_ROOT = Path(__file__).parents[2]
_FACTS = Facts(device="a GPU", driver="580", torch="2.11", commit="abc", sizes="full")


def _ledger(folder: Path, *, facts: Facts = _FACTS, seconds: float = 60.0) -> Ledger:
    return Ledger(folder / "part.jsonl", facts=facts, deadline_s=time.monotonic() + seconds)


# The ledger.


def test_measurement_is_kept_with_its_facts_and_not_made_again(tmp_path: Path) -> None:
    made: list[int] = []

    def work() -> dict[str, Any]:
        made.append(1)
        return {"value": 2.5}

    first = _ledger(tmp_path).measure("a", work)
    again = _ledger(tmp_path).measure("a", work)
    assert first is not None
    assert again is not None
    assert (first["value"], again["value"], len(made)) == (2.5, 2.5, 1)
    (line,) = read_lines(tmp_path / "part.jsonl")
    assert {name: line[name] for name in dataclasses.asdict(_FACTS)} == dataclasses.asdict(_FACTS)
    _ledger(tmp_path, facts=dataclasses.replace(_FACTS, commit="def")).measure("a", work)
    assert len(made) == 2, "of another commit it says nothing"


def test_what_failed_is_kept_with_its_cause_and_tried_again(tmp_path: Path) -> None:
    def fails() -> dict[str, Any]:
        raise RuntimeError("CUDA error:\n  illegal address")

    ledger = _ledger(tmp_path)
    assert ledger.measure("a", fails) is None
    assert ledger.failures == ["a"]
    assert read_lines(tmp_path / "part.jsonl")[0]["failed"] == "RuntimeError: CUDA error: illegal address"
    assert _ledger(tmp_path).measure("a", lambda: {"value": 1}) is not None
    assert _ledger(tmp_path).measure("b", lambda: {"value": 1}) is not None


def test_measurement_ends_when_the_parts_time_is_over(tmp_path: Path) -> None:
    def swallows() -> dict[str, Any]:
        # As a compiler does that goes on uncompiled whatever it caught.
        try:
            time.sleep(30.0)
        except Exception:
            return {"value": 1}
        return {"value": 2}

    started = time.monotonic()
    assert _ledger(tmp_path, seconds=2.5).measure("a", swallows) is None
    assert time.monotonic() - started < 20.0
    assert not issubclass(OutOfTime, Exception)
    assert "not done in the 2 s" in read_lines(tmp_path / "part.jsonl")[0]["failed"]


def test_measurement_that_loses_the_end_of_its_time_is_ended_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "_AGAIN_S", 0.2)

    def loses() -> dict[str, Any]:
        # As Python itself does with what is raised while an object is collected.
        with contextlib.suppress(OutOfTime):
            time.sleep(30.0)
        time.sleep(30.0)
        return {"value": 1}

    started = time.monotonic()
    assert _ledger(tmp_path, seconds=2.5).measure("a", loses) is None
    assert time.monotonic() - started < 20.0


def test_measurement_that_usually_takes_longer_than_what_is_left_is_not_begun(tmp_path: Path) -> None:
    ledger = _ledger(tmp_path, seconds=30.0)
    assert ledger.measure("a", lambda: {"value": 1}, needs_s=90.0) is None
    assert (ledger.failures, ledger.left_out) == ([], ["a"])
    assert read_lines(tmp_path / "part.jsonl") == []


def test_line_that_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    _ledger(tmp_path).measure("a", lambda: {"value": 1})
    with (tmp_path / "part.jsonl").open("a") as file:
        file.write('{"key": "b", "val')
    assert [line["key"] for line in read_lines(tmp_path / "part.jsonl")] == ["a"]


# Sizes and contenders.


def test_sizes_are_the_papers_where_they_say_so() -> None:
    plain = architecture_of("plain", FULL.fusions)
    assert (plain.depth, plain.width, plain.heads, plain.feed_forward) == (48, 768, 12, 3072)
    sites = architecture_of("dwa 4x5", FULL.fusions).wiring.sites
    assert [site.block for site in sites] == [5, 10, 15, 20, 25, 30, 35, 40, 45]
    assert architecture_of("dwatt", FULL.fusions).wiring.sites[-1].block == 48


def test_loop_in_the_place_of_panels_gives_the_same_logits_and_gradients() -> None:
    shape = DRY.fusions
    models = [Decoder(architecture_of("dwa 1x1", shape), seed=3) for _ in range(2)]
    loop(models[1])
    tokens_BT = torch.randint(shape.vocabulary, (2, shape.context))
    gradients = []
    for model in models:
        with torch.no_grad():
            for number, weights in enumerate(model.fusion.weights.values()):
                weights += 0.1 * torch.arange(len(weights)) * (-1) ** number
        model.loss(tokens_BT, tokens_BT).backward()
        gradients.append(torch.cat([item.grad.flatten() for item in model.parameters() if item.grad is not None]))
    assert torch.allclose(*gradients, atol=1e-5)


@pytest.mark.skipif(not has_triton(), reason="Triton is not installed")
@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) >= "2.3.0", reason="Triton's interpreter needs NumPy below 2.3")
def test_triton_kernel_in_its_interpreter_gives_the_products_of_the_panels() -> None:
    program = "import torch; from benchmarks.gpu.triton_panels import agrees; print(agrees(torch.device('cpu')))"
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=_ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(answer.stdout) <= 1e-5


def test_sources_that_are_no_text_are_left_out_of_the_comparison(tmp_path: Path) -> None:
    for name, content in {
        "a[b]/__init__.py": b"x = 1\n",
        "a[b]/latin.py": b"# \xe9\n",
        "a[b]/zero.py": b"\0",
        "c/only/.hidden.py": b"y = 2\n",
        "d/__init__.py": b"z = 3\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    found = python_files([tmp_path], wanted_bytes=10)
    assert [str(Path(item).relative_to(tmp_path)) for item in found] == ["a[b]/__init__.py", "c/only/.hidden.py"]
    corpus = load_corpus(CorpusSpec(kind="files", paths=tuple(found)))
    assert {*corpus.train, *corpus.validation} == {"x = 1\n", "y = 2\n"}


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_search_at_its_sizes_is_a_spec(device: str) -> None:
    sizes = FULL if device == "cuda" else DRY
    spec = parse_spec(yaml.safe_dump(spec_of(sizes, device=torch.device(device))))
    assert spec.recipe.precision == "auto"
    assert spec.resources.gpus_per_trial == (0.125 if device == "cuda" else 0.0)
    assert spec.search.trials == sizes.search_trials


def test_table_says_which_aims_were_reached(tmp_path: Path) -> None:
    memory = {f"{who}{what}_gb": 1.5 for who in ("", "plain_") for what in ("forward", "step")}
    lines = [
        {"key": key, "forward_speed": [speed, 0.9, 0.99], "step_speed": [0.91, 0.9, 0.92], "first_s": 1.0}
        | {"plain_first_s": 1.0, "seconds": 3.0, **memory, **dataclasses.asdict(_FACTS)}
        for key, speed in (("dwa 1x1, eager", 0.93), ("dwa 1x1, whole", 0.91), ("dwa 1x1, loop, eager", 0.7))
    ]
    (tmp_path / "fusions.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    shown = tables(tmp_path)
    assert "a GPU, driver 580, torch 2.11, commit abc, full sizes" in shown
    assert "| dwa 1x1, eager | 0.930 [0.900, 0.990] (at least 0.92: reached)" in shown
    assert "| dwa 1x1, whole | 0.910 [0.900, 0.990] (at least 0.92: missed)" in shown
    assert "| dwa 1x1, loop, eager | 0.700 [0.900, 0.990] |" in shown
    assert tables(tmp_path / "empty").startswith("nothing was measured")


# The whole.


def _run(*arguments: str, cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def test_full_sizes_without_a_gpu_are_refused_in_a_line(tmp_path: Path) -> None:
    answer = _run("--part", "check", "--device", "cpu", "--out", str(tmp_path), cwd=_ROOT)
    assert answer.returncode == 2
    assert answer.stderr.splitlines()[-1].endswith("full sizes need a GPU; try --dry")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_every_part_runs_at_its_smallest_and_a_second_call_only_says_what_is_known(tmp_path: Path) -> None:
    arguments = ("--dry", "--device", "cpu", "--out", str(tmp_path))
    answer = _run(*arguments, cwd=_ROOT)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    parts = {
        part: read_lines(tmp_path / f"{part}.jsonl") for part in ("check", "fusions", "train", "compare", "search")
    }
    assert all(parts.values())
    assert {line["key"] for line in parts["check"]} == set(CHECKS)
    assert [line["key"] for line in parts["compare"]] == ["text", "plain, seed 0", "dwa 1x1, seed 0", "dwa 4x5, seed 0"]
    assert parts["search"][0]["states"] == {"complete": DRY.search_trials}
    assert parts["search"][0]["precisions"] == ["float32"]
    started = time.monotonic()
    again = _run(*arguments, cwd=_ROOT)
    assert again.returncode == 0
    assert time.monotonic() - started < 60.0
    assert {name: len(lines) for name, lines in parts.items()} == {
        name: len(read_lines(tmp_path / f"{name}.jsonl")) for name in parts
    }
    assert "dwa 1x1, by block" in tables(tmp_path)


@pytest.mark.gpu
@pytest.mark.timeout(600)
# Torch warns that its watch for waits is a prototype, and its compiler of much else.
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", CHECKS)
def test_on_a_gpu(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    CHECKS[name](FULL.check, torch.device("cuda"))
