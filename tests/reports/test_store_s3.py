"""A run in object storage, read from its address alone; against a local S3 server where moto is installed."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import fs

from depthweave.reports.page import write_report
from depthweave.reports.store import RunStore
from depthweave.search.commands.results import export_selected
from depthweave.search.commands.show import show_front
from depthweave.spaces import Architecture, Decoder, load, save_model, strided_wiring
from tests.reports.synthetic import make_info, make_record, synthetic_trials

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("moto") is None, reason="needs the server of moto[server]"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 server that knows no bucket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(600):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a bucket, and an environment as a user of such a server has it."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "of-a-test",
        "AWS_SECRET_ACCESS_KEY": "of-a-test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": server,
    }.items():
        monkeypatch.setenv(name, value)
    filesystem = fs.S3FileSystem(
        endpoint_override=server.removeprefix("http://"), scheme="http", allow_bucket_creation=True
    )
    filesystem.create_dir("bucket")
    return "s3://bucket"


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

    show_front(f"{bucket}/shown", form="table")
    assert record.architecture_id in capsys.readouterr().out
    write_report(RunStore.open(f"{bucket}/shown"))
    assert b"<html" in store.read_bytes("report.html")
    export_selected(f"{bucket}/shown", out=tmp_path / "exported", select="best", where=None, formats=())
    assert load(tmp_path / "exported").architecture == model.architecture


def test_address_without_a_bucket_or_a_server_is_one_line(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="holds no run"):
        RunStore.open(f"{bucket}/nothing")
    assert os.environ["AWS_ENDPOINT_URL"]
