"""Whole searches over heads on Ray: show, report, resume and confirmation."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from depthweave.reports.analysis.seeds import confirming, searched
from depthweave.reports.export.tagger import load_tagger
from depthweave.reports.figures.tagged_examples import read_examples
from depthweave.reports.store.run_store import RunStore
from depthweave.search.driver import SearchResult, run_confirmation, run_search
from depthweave.search.preparation import PreparedSearch
from depthweave.search.run_folder.resuming import resumed
from tests.search.commandline import Cli
from tests.search.search_runs import RecordingProgress, prepared_search, search
from tests.search.tagging_runs import write_ner_files

# Ray's processes start slowly where the machine is busy.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedSearch:
    return prepared_search(write_ner_files(tmp_path_factory.mktemp("ner")))


@pytest.fixture(scope="module")
def result(prepared: PreparedSearch, ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    return search(prepared, out=tmp_path_factory.mktemp("runs") / "ner", address=ray_address)


def test_search_records_heads_and_its_front_is_of_errors(result: SearchResult) -> None:
    assert {it.state for it in result.records} <= {"complete", "pruned"}
    assert len(result.records) == 4
    complete = [it for it in result.records if it.state == "complete"]
    assert all(it.error == it.loss and it.entity_scores for it in complete)
    assert [it.fusion for it in result.records if it.reference] == ["last"]
    rows = pq.read_table(Path(result.store.where) / "front.parquet").to_pylist()
    assert {row["objectives"] for row in rows} >= {"error,latency,parameters"}


def test_show_and_report(result: SearchResult, run: Cli) -> None:
    code, out, _ = run("show", result.store.where)
    assert code == 0
    assert "error" in out
    assert "perplexity" not in out
    code, out, _ = run("show", result.store.where, "--json")
    assert {row["fusion"] for row in json.loads(out)}
    page = Path(result.store.report_path).read_text(encoding="utf-8")
    assert re.search(r"The lowest validation error is 0\.\d", page)


def test_resumed_search_tries_more_heads(result: SearchResult, ray_address: str) -> None:
    store = RunStore.open(result.store.where)
    prepared = resumed(store, given=None, overrides=["search.trials=5"], local=True, say=lambda line: None)
    more = run_search(prepared, store, address=ray_address, progress=RecordingProgress())
    assert len(more.records) == 5
    before, after = ({it.trial: it.error for it in records} for records in (result.records, more.records))
    assert before.items() <= after.items()


def test_confirmation_pairs_fresh_draws(result: SearchResult, ray_address: str, run: Cli) -> None:
    store = RunStore.open(result.store.where)
    prepared = resumed(store, given=None, overrides=[], local=True, say=lambda line: None)
    done = run_confirmation(prepared, store, num_seeds=2, address=ray_address, progress=RecordingProgress())
    fresh = confirming(done.records)
    assert {it.seed for it in fresh} == {1, 2}
    assert all(it.test_f1 is not None and it.test_loss is None for it in fresh if it.state == "complete")
    assert all(it.test_f1 is None for it in searched(done.records))
    code, out, _ = run("show", store.where, "--json")
    assert code == 0
    rows = json.loads(out)
    assert all(row["mean_error"] is not None and row["mean_perplexity"] is None for row in rows)
    assert all(0 <= row["mean_test_error"] <= 1 for row in rows)
    code, out, _ = run("show", store.where)
    assert "error over fresh seeds" in out


def test_two_runs_of_the_same_draws_are_compared_by_their_errors(
    result: SearchResult, run: Cli, tmp_path: Path
) -> None:
    info = dataclasses.replace(result.store.info, run_id="ner-again")
    other = RunStore.create(tmp_path / "other", info=info, spec_yaml=result.store.spec_yaml)
    for record in searched(result.store.records()):
        other.append(dataclasses.replace(record, run_id=info.run_id), evaluations=[], weights=[])
    code, out, err = run("compare", result.store.where, other.where, "--out", tmp_path / "comparison.html")
    assert (code, err) == (0, "")
    assert "error" in out
    assert "not compared" not in out


def test_heads_are_exported_with_their_host(result: SearchResult, run: Cli, tmp_path: Path) -> None:
    code, _, err = run("export", result.store.where, "--out", tmp_path / "tagger", "--select", "best,smallest")
    assert (code, err) == (0, "")
    for rule in ("best", "smallest"):
        model = load_tagger(tmp_path / "tagger" / rule)
        assert sorted(model.config.id2label.values()) == sorted(result.store.info.classes)
        assert "validation part, 30 shots, mean of 2 draws" in (tmp_path / "tagger" / rule / "README.md").read_text(
            encoding="utf-8"
        )
    code, _, err = run("export", result.store.where, "--out", tmp_path / "graph", "--format", "onnx")
    assert code == 2
    assert "--format onnx: is for language models" in err


def test_sentences_are_kept_on_which_heads_differ(result: SearchResult) -> None:
    store = RunStore.open(result.store.where)
    assert store.has_file("examples.json")
    for example in read_examples(store):
        assert next(iter(example.predicted)) == "last"
        assert len(example.predicted) >= 2
    weights = [row for it in result.records if it.state == "complete" for row in it.layer_weights or ()]
    assert {row.shots for row in weights} <= {10, 30}
    assert all(0 <= row.layer <= 3 for row in weights)
