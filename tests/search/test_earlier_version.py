"""A run folder and an export of November 2026 still open: the version that wrote them had another layout of code.

`tests/fixtures/` keeps them as they were written, without lock files and states and with the weights of one member.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from depthweave.reports.analysis.front import front
from depthweave.reports.page.page import write_report
from depthweave.reports.store.run_store import RunStore
from depthweave.search.driver import run_search
from depthweave.search.run_folder.resuming import resumed
from depthweave.spaces import load
from depthweave.trainers import hardware
from tests.search.commandline import Cli
from tests.search.search_runs import RecordingProgress

_FIXTURES = Path(__file__).parent.parent / "fixtures"
_EXPORT = _FIXTURES / "export-2026-11"
_TEXT = _FIXTURES / "text.txt"
_MEMBER = "0c55706c6be4"
"""The front member whose weights are kept."""


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """A copy of the kept run."""
    shutil.copytree(_FIXTURES / "run-2026-11", tmp_path / "run")
    return RunStore.open(tmp_path / "run")


def test_kept_run_opens_with_its_records_and_its_front(store: RunStore) -> None:
    records = store.records()
    assert {it.trial: round(it.perplexity or 0.0, 3) for it in records} == {
        0: 101.714,
        1: 76.651,
        2: 101.272,
        3: 76.593,
    }
    members = front(records, objectives=store.info.objectives)
    assert {it.architecture_id for it in members} == {_MEMBER, "ff1c6482a532"}
    assert store.problems == []
    assert store.evaluations().num_rows == 8


def test_kept_run_makes_its_report(store: RunStore) -> None:
    page = Path(write_report(store)).read_text(encoding="utf-8")
    assert "The lowest perplexity is 76.593" in page


def test_kept_run_exports_its_member_as_the_version_that_wrote_it(store: RunStore, run: Cli, tmp_path: Path) -> None:
    code, out, err = run("export", store.where, "--select", f"id:{_MEMBER}", "--out", tmp_path / "export")
    assert (code, err) == (0, "")
    assert f"architecture {_MEMBER}, perplexity 76.651" in out
    ours, kept = (load_file(folder / "model.safetensors") for folder in (tmp_path / "export", _EXPORT))
    assert ours.keys() == kept.keys()
    assert all(torch.equal(ours[name], kept[name]) for name in kept)
    assert {path.name for path in (tmp_path / "export").iterdir()} == {path.name for path in _EXPORT.iterdir()}


def test_kept_export_loads_and_computes_what_its_weights_did() -> None:
    model = load(_EXPORT)
    assert model.architecture.id == _MEMBER
    tokens_BT = torch.tensor([list(b"the weave of depth")])
    with torch.no_grad():
        loss = model.loss(tokens_BT[:, :-1], tokens_BT[:, 1:]).item()
    assert loss == pytest.approx(4.430286, rel=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kept_run_goes_on_with_one_trial_more(store: RunStore, ray_address: str) -> None:
    # The run as if it had been measured here: on another processor it is rightly refused.
    for record in store.records():
        store.revise(dataclasses.replace(record, hardware=hardware(torch.device("cpu"))))
    before = {it.trial: it.perplexity for it in store.records()}
    overrides = [f"corpus.paths=[{_TEXT}]", "search.trials=5"]
    prepared = resumed(store, given=None, overrides=overrides, local=True, say=lambda line: None)
    result = run_search(prepared, store, address=ray_address, progress=RecordingProgress())
    after = {it.trial: it.perplexity for it in RunStore.open(store.where).records()}
    assert result.ending == "done"
    assert len(after) == len(before) + 1
    assert before.items() <= after.items()
