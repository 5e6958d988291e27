"""An exported folder loads, generates and says truly what it is."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from depthweave.reports.export import architecture_of, export, metrics_json, model_card
from depthweave.reports.records import Record
from depthweave.reports.selection import select
from depthweave.reports.store import RunStore
from depthweave.reports.verdicts import verdicts_of
from depthweave.spaces import Architecture, Decoder, load, read_architecture, save_model, strided_wiring
from tests.reports.confirmed import PAIR, confirmed_records
from tests.reports.synthetic import make_record

ARCHITECTURE = Architecture(
    fusion="dwa",
    wiring=strided_wiring(4, dilation=2, period=1),
    width=16,
    heads=2,
    feed_forward=24,
    vocabulary=256,
    context=16,
)


def _record(**changes: object) -> Record:
    sites = json.dumps([[site.block, list(site.sources)] for site in ARCHITECTURE.wiring])
    values = {
        "architecture_id": ARCHITECTURE.id,
        "dilation": 2,
        "period": 1,
        "depth": 4,
        "width": 16,
        "heads": 2,
        "feed_forward": 24,
        "context": 16,
        "wiring": sites,
    }
    return make_record(12, **{**values, **changes})


@pytest.fixture
def model() -> Decoder:
    torch.manual_seed(0)
    return Decoder(ARCHITECTURE)


@pytest.fixture
def trained(store: RunStore, model: Decoder) -> RunStore:
    """A run with the weights of trial 12."""
    folder = Path(store.checkpoint_dir(12))
    folder.mkdir(parents=True)
    save_model(folder / "model.safetensors", model)
    return store


def test_export_loads_as_the_same_model(trained: RunStore, model: Decoder, tmp_path: Path) -> None:
    out = export(trained, _record(), out=tmp_path / "deep" / "out")
    assert sorted(item.name for item in out.iterdir()) == [
        "README.md",
        "architecture.yaml",
        "metrics.json",
        "model.safetensors",
    ]
    assert read_architecture(out / "architecture.yaml") == ARCHITECTURE
    tokens = torch.arange(10)[None]
    torch.testing.assert_close(load(out)(tokens), model.eval()(tokens), rtol=0, atol=0)


def test_export_metrics_have_value_unit_meaning(trained: RunStore, tmp_path: Path) -> None:
    out = export(trained, _record(), out=tmp_path / "out")
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["memory_bytes"] == {
        "value": 52 * 2**20,
        "unit": "byte",
        "meaning": "peak memory of a training step",
    }
    assert metrics["started_at"]["value"].endswith("+00:00")
    assert len(metrics) == len(Record.__dataclass_fields__)


def test_export_card_commands_run(trained: RunStore, tmp_path: Path) -> None:
    out = export(trained, _record(), out=tmp_path / "a folder")
    card = (out / "README.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", card, re.DOTALL)).replace("num_tokens=200", "num_tokens=4")
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("def main(")
    assert f"depthweave train '{out}'/architecture.yaml --corpus stdlib --tokens" in card
    assert "One seed." in card
    assert "1.10×" in card


def test_export_takes_the_tokenizer_along(trained: RunStore, tmp_path: Path) -> None:
    trained.write_bytes("tokenizer.json", b"{}")
    out = export(trained, _record(tokenizer="bpe:4096"), out=tmp_path / "out")
    assert (out / "tokenizer.json").read_bytes() == b"{}"
    assert "Tokenizer.from_file" in (out / "README.md").read_text()


def test_export_card_text_opens_no_markup(trained: RunStore, tmp_path: Path) -> None:
    out = export(trained, _record(corpus="<script>`|", hardware="<b>\nx"), out=tmp_path / "out")
    card = (out / "README.md").read_text()
    assert "<script>" not in card
    assert "--corpus PATH" in card
    assert "<b>" not in card


def test_export_into_a_folder_with_something_refused(trained: RunStore, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(ValueError, match="is not an empty folder"):
        export(trained, _record(), out=tmp_path / "out")
    with pytest.raises(ValueError, match="is not an empty folder"):
        export(trained, _record(), out=tmp_path / "out" / "mine")


def test_export_into_an_empty_folder_works(trained: RunStore, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert (export(trained, _record(), out=tmp_path / "out") / "README.md").is_file()


def test_export_without_weights_is_one_line_and_leaves_nothing(store: RunStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"trial-00012/model\.safetensors is absent"):
        export(store, _record(), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_export_damaged_or_wrong_weights_leave_nothing(trained: RunStore, model: Decoder, tmp_path: Path) -> None:
    path = Path(trained.checkpoint_dir(12)) / "model.safetensors"
    before = set(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="cannot be read"):
        export(trained, _record(), out=tmp_path / "out")
    plain = Architecture(
        fusion="none", wiring=ARCHITECTURE.wiring, width=16, heads=2, feed_forward=24, vocabulary=256, context=16
    )
    save_model(path, Decoder(plain))
    with pytest.raises(ValueError, match=f"are of architecture {plain.id}"):
        export(trained, _record(), out=tmp_path / "out")
    assert set(tmp_path.iterdir()) == before


def test_architecture_of_a_record_that_does_not_fit_its_id() -> None:
    assert architecture_of(_record()) == ARCHITECTURE
    with pytest.raises(ValueError, match="written by another version"):
        architecture_of(_record(width=32))


def test_importing_export_imports_no_torch() -> None:
    code = "import sys, depthweave.reports.export; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_confirmed_export_says_what_the_seeds_say() -> None:
    records = confirmed_records()
    verdicts = verdicts_of(records, objectives=PAIR)
    record = select(records, how="best", objectives=PAIR)
    values = json.loads(metrics_json(record, verdict=verdicts["close"]))
    # The weights' own number stays beside the mean of the seeds.
    assert values["perplexity"]["value"] == record.perplexity
    assert values["mean_perplexity"]["value"] == pytest.approx(math.exp(verdicts["close"].loss.mean))
    assert values["settled"] == {
        "value": True,
        "unit": "",
        "meaning": "whether its place on the front is settled",
    }
    folder = Path("exports/close")
    card = model_card(record, run_name="quick", folder=folder, has_tokenizer=False, verdict=verdicts["close"])
    assert "3 seeds of this architecture have a perplexity of 3.663 on average" in card
    assert "the run's front is settled" in card
    unsure = model_card(record, run_name="quick", folder=folder, has_tokenizer=False, verdict=verdicts["best"])
    assert "is not settled: on the front with" in unsure
    assert "confirm with new seeds" in model_card(record, run_name="quick", folder=folder, has_tokenizer=False)
    assert "settled" not in json.loads(metrics_json(record))
