"""One flipped bit in every file of a real run and of an export: each use names the file, or reads what was written."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from optuna import load_study
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from safetensors.torch import load_file

from depthweave.reports.analysis.front_file import front_schema
from depthweave.reports.analysis.seeds import FIRST_CONFIRMATION
from depthweave.reports.analysis.selection import select
from depthweave.reports.export import export, read_training
from depthweave.reports.export.tokenizer import read_tokenizer
from depthweave.reports.store.run_store import RunStore
from depthweave.search.commands.generate import text_pieces
from depthweave.search.confirmation import PLAN_FILE, read_plan
from depthweave.search.driver import run_search
from depthweave.search.preparation import create_run
from depthweave.search.study.journal_recovery import set_aside_damaged
from depthweave.search.survey import SURVEY_FILE, read_survey
from depthweave.search.trials.checkpoints import PROGRESS_FILE, Checkpoints, trial_folder
from depthweave.search.trials.trial import read_progress, write_progress
from depthweave.spaces import load
from depthweave.spaces.checksums import CHECKSUM_SUFFIX, CHECKSUMS_FILE, add_checksum
from depthweave.spaces.files import MODEL_FILE
from depthweave.trainers import TrainingState, train
from depthweave.trainers.checkpoint import STATE_FILE
from tests.search.ledger_runs import make_evaluation, make_report
from tests.search.search_runs import RecordingProgress, prepared_search

pytestmark = [pytest.mark.release, pytest.mark.timeout(900)]

_BITS = 20
"""Of each file."""
_IN_FLIGHT = 90


class _Made(NamedTuple):
    run: Path
    exported: Path


@pytest.fixture(scope="module")
def made(small_spec: dict[str, Any], ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> _Made:
    return make(small_spec, folder=tmp_path_factory.mktemp("flipped"), address=ray_address)


def make(spec: dict[str, Any], *, folder: Path, address: str | None) -> _Made:
    """A run that has ended, with a checkpoint of a trial in flight beside it, and an export."""
    overrides = ("search.trials=8", "tokenizer=bpe:300", "recipe.steps=200", "recipe.num_evaluations=2")
    prepared = prepared_search(spec, *overrides)
    store = create_run(prepared, out=folder / "run")
    result = run_search(prepared, store, address=address, progress=RecordingProgress())
    record = select(result.records, how="best", objectives=store.info.objectives)
    export(store, record, out=folder / "exported")
    place = trial_folder(folder / "run" / "checkpoints", _IN_FLIGHT)
    state = TrainingState.start(prepared.reference.architecture, recipe=prepared.spec.recipe, device="cpu")
    next(train(state, prepared.data))
    write_progress(place, make_report(make_evaluation(0, loss=2.0)))
    state.save(place / STATE_FILE)
    values = {"trainings": [{"trial": FIRST_CONFIRMATION, "architecture_id": "a", "seed": 1}]}
    store.write_bytes(PLAN_FILE, json.dumps(add_checksum(values)).encode())
    return _Made(folder / "run", folder / "exported")


def _flips(path: Path) -> Iterator[int]:
    """The file with one bit after the other flipped; whole again at the end."""
    whole = path.read_bytes()
    # Half of them near the ends, where formats keep what everything else hangs on.
    draw, size = random.Random(path.name), 8 * len(whole)
    near = [draw.randrange(min(size, 512)) for _ in range(_BITS // 4)]
    near += [size - 1 - draw.randrange(min(size, 512)) for _ in range(_BITS // 4)]
    try:
        for bit in [*near, *(draw.randrange(size) for _ in range(_BITS // 2))]:
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            yield bit
    finally:
        path.write_bytes(whole)


def _text(values: object) -> str:
    """Text with every digit: NaN does not equal itself."""
    return repr(values)


def _weights(folder: Path) -> str:
    return _text({name: tensor.tolist() for name, tensor in sorted(load_file(folder / MODEL_FILE).items())})


def _front(run: Path) -> str:
    """As another program reads it that verifies pages, by the names of its columns."""
    try:
        table = pq.ParquetFile(run / "front.parquet", page_checksum_verification=True).read()
        table.validate(full=True)
        return _text(table.select(front_schema().names).to_pylist())
    # ValueError: a name that is no UTF-8.
    except (pa.ArrowException, OSError, LookupError, ValueError) as error:
        raise ValueError(f"front.parquet: {' '.join(str(error).split())}") from None


def _journal(run: Path, scratch: Path) -> str:
    copy = scratch / "study.journal"
    shutil.copy(run / "study.journal", copy)
    message = set_aside_damaged(copy)
    if message is not None:
        raise ValueError(message)
    storage = JournalStorage(JournalFileBackend(str(copy)))
    return _text([load_study(study_name=name, storage=storage).trials for name in ("objectives", "curves")])


def _progress(run: Path) -> str:
    found = read_progress(Checkpoints(run / "checkpoints"), _IN_FLIGHT)
    if found is None:
        raise ValueError(f"{PROGRESS_FILE}: as the trial says that starts again")
    return _text(found)


def _state(run: Path) -> str:
    state = TrainingState.load(trial_folder(run / "checkpoints", _IN_FLIGHT) / STATE_FILE, device="cpu")
    tensors = {name: tensor.tolist() for name, tensor in state.model.state_dict().items()}
    return _text((state.architecture, state.recipe, state.step, state.loss_sum, tensors, state.optimizer.state_dict()))


def _export(run: Path, scratch: Path) -> str:
    out = scratch / "out"
    shutil.rmtree(out, ignore_errors=True)
    store = RunStore.open(run)
    record = select(store.records(), how="best", objectives=store.info.objectives)
    export(store, record, out=out)
    named = ("tokenizer.json", "architecture.yaml", "metrics.json")
    return _text([_weights(out), *((out / name).read_text() for name in named)])


def _tables(run: Path) -> str:
    """Raises with the store's own lines where it leaves something out."""
    store = RunStore.open(run)
    read = [store.info, store.records(), store.evaluations().to_pylist(), store.weights().to_pylist()]
    if store.problems:
        raise ValueError("; ".join(store.problems))
    return _text(read)


def _uses(name: str, run: Path, scratch: Path) -> list[Callable[[], str]]:
    """What reads a file of a run."""
    if name.endswith(".parquet"):
        return [lambda: _front(run)] if name == "front.parquet" else [lambda: _tables(run)]
    base = name.rpartition("/")[2].removesuffix(CHECKSUM_SUFFIX)
    return {
        "run.json": [lambda: _tables(run)],
        SURVEY_FILE: [lambda: _text(read_survey(RunStore.open(run)))],
        PLAN_FILE: [lambda: _text(read_plan(RunStore.open(run)))],
        "study.journal": [lambda: _journal(run, scratch)],
        "tokenizer.json": [lambda: _export(run, scratch)],
        PROGRESS_FILE: [lambda: _progress(run)],
        STATE_FILE: [lambda: _state(run)],
        MODEL_FILE: [lambda: _export(run, scratch)],
        # Written for people, and read by nothing that is not a person; the spec is held against run.json on resume.
        "report.html": [],
        "spec.yaml": [],
    }[base]


def _message_of(use: Callable[[], str], expected: str, *, where: str) -> str:
    """The line of a use that refuses; empty where it reads what was written."""
    try:
        read = use()
    except ValueError as error:
        return str(error)
    assert read == expected, f"{where}: other values, and not a word"
    return ""


def test_every_file_of_a_run(made: _Made, tmp_path: Path) -> None:
    run = made.run
    store = RunStore.open(run)
    best = select(store.records(), how="best", objectives=store.info.objectives)
    others = {f"checkpoints/trial-{it.trial:05d}" for it in store.records() if it.trial != best.trial}
    found, seen = 0, set()
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        name = str(path.relative_to(run))
        if path.suffix == ".lock" or str(path.parent.relative_to(run)) in others:
            continue
        seen.add(path.name)
        for use in _uses(name, run, tmp_path):
            expected = use()
            for bit in _flips(path):
                message = _message_of(use, expected, where=f"{name}, bit {bit}")
                assert not message or path.name.removesuffix(CHECKSUM_SUFFIX) in message
                assert len(message.splitlines()) == bool(message)
                found += bool(message)
            assert use() == expected
    kept = {STATE_FILE, PROGRESS_FILE, MODEL_FILE, "tokenizer.json", SURVEY_FILE, PLAN_FILE}
    kept |= {"run.json", "study.journal", "front.parquet", STATE_FILE + CHECKSUM_SUFFIX, MODEL_FILE + CHECKSUM_SUFFIX}
    assert kept <= seen
    assert found > 200


def test_every_file_of_an_export(made: _Made) -> None:
    folder = made.exported
    tokens_BT = torch.arange(16)[None]

    def read() -> str:
        recorded = read_training(folder)
        tokenizer = read_tokenizer(folder, recorded=recorded)
        with torch.no_grad():
            logits = load(folder)(tokens_BT).tolist()
        text = "".join(text_pieces(folder, prompt="the ", num_tokens=8, temperature=0.0, top_k=None, seed=0))
        return _text((recorded, tokenizer, logits, text))

    expected, found = read(), set()
    assert "nan" not in expected
    for path in sorted(folder.iterdir()):
        for bit in _flips(path):
            message = _message_of(read, expected, where=f"{path.name}, bit {bit}")
            assert not message or CHECKSUMS_FILE in message
            assert not message or path.name in message
            assert len(message.splitlines()) == bool(message)
            if message:
                found.add(path.name)
            command = ["sha256sum", "--strict", "-c", CHECKSUMS_FILE]
            checked = subprocess.run(command, cwd=folder, capture_output=True, check=False)
            # What is not read here is checked by that; a letter in another case is the same checksum.
            assert checked.returncode or path.name == CHECKSUMS_FILE
            assert f"{path.name}: FAILED".encode() in checked.stdout or path.name == CHECKSUMS_FILE
    assert found == {"architecture.yaml", MODEL_FILE, "training.yaml", "tokenizer.json", CHECKSUMS_FILE}
    assert read() == expected
