"""An exported folder loads, generates and says truly what it is."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from depthweave.reports.analysis.front import front
from depthweave.reports.analysis.selection import select
from depthweave.reports.analysis.verdicts import Verdict, verdicts_of
from depthweave.reports.export import architecture_of, export, metrics_json, read_training
from depthweave.reports.export.byte_tokenizer import byte_tokenizer_json
from depthweave.reports.export.card import card_of_record
from depthweave.reports.export.padding import with_padding
from depthweave.reports.export.training import training_of
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.spaces import Architecture, Decoder, load, parse_rule, read_architecture, read_rule, save_model
from tests.reports.confirmed import PAIR, confirmed_records
from tests.reports.export.conftest import ARCHITECTURE, record_of

FILES = [
    "README.md",
    "SHA256SUMS",
    "architecture.yaml",
    "config.json",
    "configuration_depthweave.py",
    "generation_config.json",
    "metrics.json",
    "model.safetensors",
    "modeling_depthweave.py",
    "tokenizer.json",
    "tokenizer_config.json",
    "training.yaml",
]


def test_export_loads_as_the_same_model(trained: RunStore, model: Decoder, tmp_path: Path) -> None:
    out = export(trained, record_of(), out=tmp_path / "deep" / "out")
    assert sorted(item.name for item in out.iterdir()) == FILES
    assert all(item.stat().st_mode & 0o044 == 0o044 for item in out.iterdir())
    assert read_architecture(out / "architecture.yaml") == ARCHITECTURE
    assert read_rule(out / "architecture.yaml") == parse_rule("2x1")
    tokens = torch.arange(10)[None]
    torch.testing.assert_close(load(out)(tokens), model.eval()(tokens), rtol=0, atol=0)


def test_export_metrics_have_value_unit_meaning(trained: RunStore, tmp_path: Path) -> None:
    out = export(trained, record_of(), out=tmp_path / "out")
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["memory_bytes"] == {
        "value": 52 * 2**20,
        "unit": "byte",
        "meaning": "peak memory of a training step",
    }
    assert metrics["started_at"]["value"].endswith("+00:00")
    assert metrics.keys() == {*Record.__dataclass_fields__, "tokens_per_parameter"}
    assert metrics["tokens_per_parameter"]["value"] == pytest.approx(
        record_of().tokens / (record_of().parameters + record_of().embedding_parameters)
    )


def test_export_card_code_for_our_python_runs(trained: RunStore, tmp_path: Path) -> None:
    out = export(trained, record_of(), out=tmp_path / "a folder")
    card = (out / "README.md").read_text()
    ours, theirs, tuned = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert "eos_token" in tuned
    code = ours + "import torch\nprint(tuple(model(torch.tensor([[1, 2, 3]])).shape))"
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "(1, 3, 256)\n"
    assert "AutoModelForCausalLM" in theirs
    assert f"depthweave train '{out}' --out '{out}-again'" in card
    assert f"depthweave generate '{out}' --prompt" in card
    assert "One seed." in card
    assert "1.10× | 1.08× to 1.12×, over measurements |" in card


def test_export_card_has_the_numbers_of_curve_and_front(full_store: RunStore, tmp_path: Path) -> None:
    records = full_store.records()
    record = select(records, how="knee", objectives=full_store.info.objectives)
    training = training_of(record, spec_yaml="")
    card = card_of_record(full_store, record, training=training, folder=tmp_path, verdict=None, formats=("torch",))
    rows = full_store.evaluations([record.trial]).to_pylist()
    assert all(f"| {row['tokens']:,} | {row['loss']:.4f} |" in card for row in rows)
    members = front(records, objectives=full_store.info.objectives)
    assert len(re.findall(r"×[^|]* \| [\d.]+ [MG]iB \|$", card, re.MULTILINE)) == len(members)
    assert card.count("(this model)") == 1
    behind = next(item for item in records if item.state == "complete" and item not in members)
    message = card_of_record(full_store, behind, training=training, folder=tmp_path, verdict=None, formats=())
    assert message.count("(this model, not on the front)") == 1
    assert "model.pt2" in card


def test_training_file_holds_all_that_a_training_needs(trained: RunStore, tmp_path: Path) -> None:
    record = record_of(seed=3, last_loss=0.1 + 0.2)
    out = export(trained, record, out=tmp_path / "out")
    training = read_training(out)
    assert training is not None
    assert training == training_of(record, spec_yaml=trained.spec_yaml)
    assert training.loss == record.last_loss
    assert training.recipe == {"steps": 200, "batch": 16, "learning_rate": 0.001, "seed": 3}
    message = (training.corpus_sha256, training.tokenizer, training.threads, training.hardware, training.software)
    assert message == (record.corpus_sha256, "bytes", 1, "a processor", record.software)


def test_training_file_says_how_the_text_is_read_and_never_where_it_lies() -> None:
    spec = "corpus: {kind: files, paths: [/home/me/texts], separator: '---', validation_frac: 0.1, dataset: null}\n"
    training = training_of(record_of(), spec_yaml=spec)
    assert training.corpus_options == {"kind": "files", "separator": "---", "validation_frac": 0.1}


def test_export_takes_the_tokenizer_along(trained: RunStore, tmp_path: Path) -> None:
    content = byte_tokenizer_json().replace("255", "0").encode()
    trained.write_bytes("tokenizer.json", content)
    out = export(trained, record_of(tokenizer="bpe:4096"), out=tmp_path / "out")
    assert (out / "tokenizer.json").read_text(encoding="utf-8") == with_padding(content.decode())
    assert json.loads((out / "config.json").read_text())["eos_token_id"] == 0


def test_export_card_text_opens_no_markup(trained: RunStore, tmp_path: Path) -> None:
    out = export(trained, record_of(corpus="<script>`|\x1b[2J\x9b", hardware="<b>\nx"), out=tmp_path / "out")
    card = (out / "README.md").read_text()
    assert "<script>" not in card
    assert not {"\x1b", "\x9b"} & set(card)
    assert "<b>" not in card


def test_no_file_of_an_export_is_a_pickle_and_loading_reads_none(
    trained: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = export(trained, record_of(), out=tmp_path / "out")
    for file in out.iterdir():
        start = file.read_bytes()[:2]
        assert start != b"PK", f"{file.name} is an archive, which may hold pickles"
        assert start[:1] != b"\x80", f"{file.name} is a pickle"

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a pickle was read")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refused)
    monkeypatch.setattr(torch, "load", refused)
    load(out)
    read_training(out)


def test_export_into_a_folder_with_something_refused(trained: RunStore, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(ValueError, match="is not an empty folder"):
        export(trained, record_of(), out=tmp_path / "out")
    with pytest.raises(ValueError, match="is not an empty folder"):
        export(trained, record_of(), out=tmp_path / "out" / "mine")


def test_export_into_an_empty_folder_works(trained: RunStore, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert (export(trained, record_of(), out=tmp_path / "out") / "README.md").is_file()


def test_export_whose_weights_were_not_kept_says_how_to_train_them_again(store: RunStore, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="were not kept, because it is not on the front") as error:
        export(store, record_of(), out=out)
    assert len(str(error.value).splitlines()) == 1
    assert f"`depthweave train {out} --out {out}-trained` trains it again" in str(error.value)
    assert {"architecture.yaml", "training.yaml", "metrics.json"} <= {path.name for path in out.iterdir()}
    assert not (out / "config.json").exists(), "nothing that a loader would take for a model"
    assert read_architecture(out / "architecture.yaml").id == record_of().architecture_id
    assert read_training(out) is not None


def test_export_of_a_trial_that_was_stopped_is_one_line_and_leaves_nothing(store: RunStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"trial-00012/model\.safetensors is absent \(the trial is pruned\)"):
        export(store, dataclasses.replace(record_of(), state="pruned"), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_export_damaged_or_wrong_weights_leave_nothing(trained: RunStore, model: Decoder, tmp_path: Path) -> None:
    path = Path(trained.checkpoint_dir(12)) / "model.safetensors"
    before = set(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="cannot be read"):
        export(trained, record_of(), out=tmp_path / "out")
    plain = Architecture(
        fusion="none", wiring=ARCHITECTURE.wiring, width=16, heads=2, feed_forward=24, vocabulary=256, context=16
    )
    save_model(path, Decoder(plain))
    with pytest.raises(ValueError, match=f"belong to architecture {plain.id}"):
        export(trained, record_of(), out=tmp_path / "out")
    assert set(tmp_path.iterdir()) == before


def test_architecture_of_a_record_that_does_not_fit_its_id() -> None:
    assert architecture_of(record_of()) == ARCHITECTURE
    with pytest.raises(ValueError, match="written by another version"):
        architecture_of(record_of(width=32))


def test_importing_export_imports_no_torch() -> None:
    code = "import sys, depthweave.reports.export; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_confirmed_export_says_what_the_seeds_say(store: RunStore) -> None:
    records = confirmed_records()
    verdicts = verdicts_of(records, objectives=PAIR)
    record = select(records, how="best", objectives=PAIR)
    columns = dataclasses.asdict(record)
    values = json.loads(metrics_json(columns, verdict=verdicts["close"]))
    # The weights' own number stays beside the mean of the seeds.
    assert values["perplexity"]["value"] == record.perplexity
    assert values["mean_perplexity"]["value"] == pytest.approx(math.exp(verdicts["close"].loss.mean))
    assert values["settled"] == {
        "value": True,
        "unit": "",
        "meaning": "whether its place on the front is settled",
    }
    assert "settled" not in json.loads(metrics_json(columns))

    def card(verdict: Verdict | None) -> str:
        training = training_of(record, spec_yaml="")
        folder = Path("exports/close")
        return card_of_record(store, record, training=training, folder=folder, verdict=verdict, formats=())

    assert "5 fresh seeds of this architecture have a perplexity of 3.702 on average" in card(verdicts["close"])
    assert "| the same, mean of 5 fresh seeds | 3.702 | 3.3" in card(verdicts["close"])
    assert "the run's front is settled" in card(verdicts["close"])
    assert "is not settled: dwa 4×1, 12 blocks may dominate it (12 %)" in card(verdicts["best"])
    assert "confirm with new seeds" in card(None)
