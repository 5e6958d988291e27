"""A run in object storage, read from its address alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from depthweave.reports.page.page import write_report
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.store.storage import UnreachableError
from depthweave.search.commands.export import export_selected
from depthweave.search.commands.show import show_front
from depthweave.spaces import Architecture, Decoder, load, save_model, strided_wiring
from tests.buckets import bucket, gate, needs_server
from tests.reports.synthetic import make_info, make_record, synthetic_trials

__all__ = ["bucket", "gate"]

pytestmark = [pytest.mark.slow, needs_server]


def test_run_in_a_bucket_has_a_whole_life(bucket: str) -> None:
    store = RunStore.create(f"{bucket}/life", info=make_info(), spec_yaml="name: quick\n")
    trials = synthetic_trials()
    for trial in trials:
        store.append(trial.record, evaluations=trial.evaluations, weights=trial.weights)
    store.revise(make_record(0, trial_latency=1.5))
    expected = store.records()
    store.merge()
    again = RunStore.open(f"{bucket}/life")
    assert again.records() == expected
    assert len(expected) == len(trials)
    assert again.evaluations().num_rows == sum(len(trial.evaluations) for trial in trials)
    assert again.problems == []


def test_show_report_and_export_work_from_the_address_alone(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wiring = strided_wiring(4, dilation=1, period=2)
    sizes = {"width": 32, "heads": 4, "feed_forward": 64, "vocabulary": 256, "context": 32}
    model = Decoder(Architecture(fusion="dwa", wiring=wiring, **sizes), seed=1)
    text = str([[site.block, list(site.sources)] for site in wiring])
    record = make_record(0, architecture_id=model.architecture.id, wiring=text, depth=4, **sizes)
    store = RunStore.create(f"{bucket}/shown", info=make_info(), spec_yaml="name: quick\n")
    store.append(record, evaluations=[], weights=[])
    save_model(tmp_path / "model.safetensors", model)
    store.write_bytes("checkpoints/trial-00000/model.safetensors", (tmp_path / "model.safetensors").read_bytes())
    assert store.checkpointed() == [0]

    show_front(f"{bucket}/shown", form="table")
    assert record.architecture_id in capsys.readouterr().out
    assert write_report(RunStore.open(f"{bucket}/shown")) == f"{bucket}/shown/report.html"
    assert b"<html" in store.read_bytes("report.html")
    export_selected(f"{bucket}/shown", out=tmp_path / "exported", select="best", where=None, formats=())
    assert load(tmp_path / "exported").architecture == model.architecture


def test_address_without_a_run_and_one_that_does_not_answer_are_one_line(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="holds no run"):
        RunStore.open(f"{bucket}/nothing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UnreachableError, match=r"no answer .*: check the address, the credentials"):
        RunStore.open(f"{bucket}/nothing")
