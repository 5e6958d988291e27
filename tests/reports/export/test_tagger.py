"""An exported tagger computes what its state does, and its tokenizer gives the tokens of its training.

Axes: B sentences, T tokens, C classes.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from depthweave.reports.export.tagger import export_tagger, load_tagger
from depthweave.reports.export.tagger_card import host_licence
from depthweave.reports.export.tagger_tokenizer import write_tagger_tokenizer
from depthweave.spaces.heads import HEADS
from depthweave.trainers.tagging.host import Host, states_of
from depthweave.trainers.tagging.tag_data import HostWeights, tag_data
from depthweave.trainers.tagging.tag_evaluation import evaluate_tags
from depthweave.trainers.tagging.tagging_state import TaggingState
from depthweave.trainers.tagging.word_pieces import WordPieces
from tests.reports.export.tagger_exports import CLASSES, FACTS, exported, tagger_of
from tests.trainers.tagging.tiny_text import byte_level_json, metaspace_json, tiny_text, word_piece_json

# All heads on an encoder, and those that differ on a causal host or on one whose layers differ.
_CASES: list[tuple[str, str, HostWeights]] = [
    *((kind, "bert", "frozen") for kind in HEADS),
    ("dwatt", "bert", "full"),
    ("concat", "bert", "lora"),
    ("mix", "gpt2", "frozen"),
    ("deeper", "gpt2", "lora"),
    ("dwa", "modern_bert", "frozen"),
    ("deeper", "modern_bert", "full"),
]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the hosts are kept."""
    return tmp_path_factory.mktemp("hosts")


@torch.no_grad()
def _logits(state: TaggingState, host: Host, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Returns the logits of a state in full precision, also for a frozen host."""
    model = host.model if state.host_model is None else state.host_model.eval()
    states = states_of(model, ids_BT, mask_BT)
    logits_BTC: Tensor = state.head.eval()([states[source] for source in state.shape.sources], mask_BT)
    return logits_BTC


def _batch(vocabulary: int) -> tuple[Tensor, Tensor]:
    ids_BT = torch.randint(5, vocabulary, (3, 11), generator=torch.Generator().manual_seed(1))
    mask_BT = torch.arange(11) < torch.tensor([[11], [4], [1]])
    return ids_BT * mask_BT, mask_BT


@pytest.mark.parametrize(("kind", "family", "weights"), _CASES, ids=["-".join(case) for case in _CASES])
def test_export_has_the_logits_of_the_state(
    kind: str, family: str, weights: HostWeights, hosts: Path, tmp_path: Path
) -> None:
    state, host, folder = exported(kind, family, hosts, weights=weights, out=tmp_path / "out")
    model = load_tagger(folder)
    ids_BT, mask_BT = _batch(100)
    wanted_BTC = _logits(state, host, ids_BT, mask_BT)
    with torch.no_grad():
        found_BTC = model(input_ids=ids_BT, attention_mask=mask_BT.long()).logits
        # Without padding a mask may be left out.
        alone_TC = model(input_ids=ids_BT[1:2, :4], token_type_ids=torch.zeros(1, 4).long()).logits[0]
    torch.testing.assert_close(found_BTC[mask_BT], wanted_BTC[mask_BT], rtol=0.0, atol=1e-6)
    torch.testing.assert_close(alone_TC, wanted_BTC[1, :4], rtol=0.0, atol=1e-5)
    assert float(found_BTC.std()) > 0.1
    weights_file = load_file(folder / "model.safetensors")
    assert {name.partition(".")[0] for name in weights_file} == {"host", "head"}
    assert not [name for name in weights_file if "lora" in name or "pooler" in name]


@pytest.fixture(scope="module")
def dwatt(hosts: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TaggingState, Host, Path]:
    return exported("dwatt", "bert", hosts, weights="full", out=tmp_path_factory.mktemp("dwatt") / "out")


@pytest.fixture
def copied(dwatt: tuple[TaggingState, Host, Path], tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(dwatt[2], tmp_path / "copy")


def test_whole_words_get_the_tags_of_the_trainers(dwatt: tuple[TaggingState, Host, Path]) -> None:
    import transformers

    state, host, folder = dwatt
    data = tag_data(tiny_text(), host, max_tokens=32, weights="full")
    wanted = evaluate_tags(state, data.valid, classes=CLASSES).tags
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer.model_max_length == 32
    words = [list(sentence.words) for sentence in data.valid.sentences]
    batch = tokenizer(words, is_split_into_words=True, padding=True, truncation=True, return_tensors="pt")
    model = load_tagger(folder)
    with torch.no_grad():
        numbers_BT = model(**batch).logits.argmax(-1)
    found = []
    for row in range(len(words)):
        ids = batch.word_ids(row)
        first = [place for place, word in enumerate(ids) if word is not None and ids[place - 1] != word]
        found.append(tuple(model.config.id2label[int(numbers_BT[row, place])] for place in first))
    assert found == wanted
    assert len({tag for tags in found for tag in tags}) > 2


@pytest.mark.parametrize(
    "tokenizer_json",
    [
        word_piece_json(),
        metaspace_json(),
        byte_level_json(),
        byte_level_json(add_prefix_space=True),
        byte_level_json(split=True),
    ],
    ids=["word pieces", "metaspace", "byte level", "byte level with its space", "byte level, divided before"],
)
def test_tokenizer_gives_the_tokens_of_training(tokenizer_json: str, tmp_path: Path) -> None:
    import transformers

    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "tokenizer.json").write_text(tokenizer_json, encoding="utf-8")
    write_tagger_tokenizer(tmp_path, host_folder=tmp_path / "host", max_tokens=64)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    sentences = tiny_text().valid
    wanted = WordPieces(tokenizer_json).encode(sentences, classes=CLASSES, max_tokens=64)
    batch = tokenizer([list(item.words) for item in sentences], is_split_into_words=True)
    assert np.concatenate(batch["input_ids"]).tolist() == wanted.ids.tolist()
    # A text of these words gives the same; marks are divided from words by a space there too.
    texts = tokenizer([" ".join(item.words) for item in sentences])
    assert texts["input_ids"] == batch["input_ids"]
    named = [token for token in ("[PAD]", "</s>") if token in tokenizer.get_vocab()]
    assert ([] if tokenizer.pad_token is None else [tokenizer.pad_token]) == named
    assert set(batch) == {"input_ids", "attention_mask"}


def test_loss_is_over_labelled_tokens_and_may_be_counted_elsewhere(dwatt: tuple[TaggingState, Host, Path]) -> None:
    model = load_tagger(dwatt[2])
    ids_BT, mask_BT = _batch(100)
    labels_BT = torch.where(mask_BT, ids_BT % 7, -100)
    labels_BT[0, ::2] = -100
    with torch.no_grad():
        output = model(input_ids=ids_BT, attention_mask=mask_BT.long(), labels=labels_BT, output_hidden_states=True)
        part = model(input_ids=ids_BT, attention_mask=mask_BT.long(), labels=labels_BT, num_items_in_batch=100)
        tuple_ = model(input_ids=ids_BT, attention_mask=mask_BT.long(), return_dict=False)
    logs = output.logits.log_softmax(-1)
    own = [-logs[row, place, labels_BT[row, place]] for row, place in (labels_BT != -100).nonzero().tolist()]
    assert float(output.loss) == pytest.approx(float(sum(own)) / len(own), rel=1e-5)
    assert float(part.loss) == pytest.approx(float(sum(own)) / 100, rel=1e-5)
    assert len(output.hidden_states) == 3
    assert torch.equal(tuple_[0], output.logits)


def test_fine_tuning_moves_every_parameter_and_round_trips(
    dwatt: tuple[TaggingState, Host, Path], tmp_path: Path
) -> None:
    model = load_tagger(dwatt[2])
    model.activation_checkpointing_enable()
    ids_BT, mask_BT = _batch(100)
    before = {name: item.detach().clone() for name, item in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    model(input_ids=ids_BT, attention_mask=mask_BT.long(), labels=ids_BT % 7).loss.backward()
    optimizer.step()
    unmoved = [name for name, item in model.named_parameters() if torch.equal(item, before[name])]
    # The softmax drops what a key's bias adds.
    assert not [name for name in unmoved if not name.endswith("key.bias")]
    model.eval().save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    with torch.no_grad():
        wanted, found = (it(input_ids=ids_BT, attention_mask=mask_BT.long()).logits for it in (model, again))
    assert torch.equal(found, wanted)


def test_arguments_that_no_host_has_are_refused(dwatt: tuple[TaggingState, Host, Path]) -> None:
    model = load_tagger(dwatt[2])
    ids_BT, mask_BT = _batch(100)
    for options, message in (
        ({"input_ids": None}, "give either input_ids or inputs_embeds"),
        ({"cu_seqlens": torch.ones(1)}, "this model does not support cu_seqlens: leave it out"),
        ({"attention_mask": torch.ones(3, 1, 11, 11)}, "attention_mask has 4 dimensions: give one value a token"),
    ):
        with pytest.raises(ValueError, match=f"^{message}$"):
            model(**{"input_ids": ids_BT, "attention_mask": mask_BT.long(), **options})


def test_several_token_types_are_refused(dwatt: tuple[TaggingState, Host, Path]) -> None:
    model = load_tagger(dwatt[2])
    with pytest.raises(ValueError, match=r"^token_type_ids has several token types, this model has one: leave it out$"):
        model(input_ids=torch.ones(1, 3).long(), token_type_ids=torch.ones(1, 3).long())


def test_configuration_and_code_need_nothing_else(dwatt: tuple[TaggingState, Host, Path], hosts: Path) -> None:
    _, _, folder = dwatt
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "README.md",
        "SHA256SUMS",
        "config.json",
        "configuration_depthweave_tagger.py",
        "model.safetensors",
        "modeling_depthweave_tagger.py",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert values["id2label"] == {str(number): tag for number, tag in enumerate(CLASSES)}
    assert values["label2id"] == {tag: number for number, tag in enumerate(CLASSES)}
    assert values["auto_map"]["AutoModelForTokenClassification"].endswith("DepthweaveForTokenClassification")
    texts = [(folder / name).read_text(encoding="utf-8") for name in names if not name.endswith("safetensors")]
    assert not [text for text in texts if str(hosts) in text]
    code = (folder / "modeling_depthweave_tagger.py").read_text(encoding="utf-8")
    assert "from depthweave" not in code
    assert "import depthweave" not in code


def test_card_has_the_facts_escaped(dwatt: tuple[TaggingState, Host, Path]) -> None:
    card = (dwatt[2] / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: transformers\npipeline_tag: token-classification\ntags: [depthweave]\n")
    assert "| F1 of entities | 0.421 | 0.40 to 0.44 over 3 draws |" in card
    assert "* One &lt;draw> of few sentences." in card
    assert "made \\| up" in card
    assert "It finds entities of these types: location, person, product." in card
    assert (
        "dwatt (attention over depth, token by token, added to the last state (DWAtt); reads states 0, 1, 2 of 3)"
        in card
    )
    assert "Host and head were trained together." in card
    assert "names no licence" in card


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("---\nlanguage: en\nlicense: apache-2.0\n---\n# Host\n", "apache-2.0"),
        ("---\nlicense: [a, b]\n---\n", None),
        ("# Host\n---\nlicense: mit\n---\n", None),
        ("---\nlicense: {\n---\n", None),
    ],
)
def test_licence_is_that_of_the_hosts_card(text: str, licence: str | None, tmp_path: Path) -> None:
    assert host_licence(tmp_path) is None
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    assert host_licence(tmp_path) == licence


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_damaged_files_are_refused_in_one_line(name: str, copied: Path) -> None:
    _flip(copied / name)
    with pytest.raises(ValueError, match=rf"^{copied / name}: is not as it was written[^\n]*$"):
        load_tagger(copied)
    (copied / name).unlink()
    with pytest.raises(ValueError, match=rf"^{copied / name}: is missing, but SHA256SUMS lists it[^\n]*$"):
        load_tagger(copied)
    (copied / "SHA256SUMS").unlink()
    with pytest.raises(ValueError, match=rf"^{copied}: has no {name}: give the folder of an exported tagger$"):
        load_tagger(copied)


def test_damage_without_checksums_is_one_line_too(copied: Path) -> None:
    (copied / "SHA256SUMS").unlink()
    (copied / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ValueError, match=rf"^{copied}: cannot be read \([^\n]*\): export it again$"):
        load_tagger(copied)


def _export(place: Path, **changes: Any) -> Path:
    given = {"host_folder": place / "host", "classes": CLASSES, "facts": FACTS, **changes}
    return export_tagger(place / "new", **given)


def test_what_does_not_fit_is_refused_before_anything_is_written(
    dwatt: tuple[TaggingState, Host, Path], hosts: Path, tmp_path: Path
) -> None:
    state, host, _ = dwatt
    source = hosts / "bert"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"classes": ("O", "B-x", "I-x")}, "there are 3 tags, the head has 7 classes: give its own tags"),
        ({"host_folder": tmp_path / "gone"}, f"host {tmp_path / 'gone'}: is gone: put the folder .* there again"),
    ]
    for changes, message in cases:
        with pytest.raises(ValueError, match=f"^{message}$"):
            _export(tmp_path, **{"state": state, "host_folder": source, **changes})
    other = shutil.copytree(source, tmp_path / "other")
    _flip(other / "model.safetensors")
    with pytest.raises(ValueError, match=rf"^host {other}: is not the one that the head was trained on [^\n]*$"):
        _export(tmp_path, state=state, host_folder=other)
    other = shutil.copytree(source, tmp_path / "without")
    (other / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"^{other / 'tokenizer.json'}: is no tokenizer that can be read [^\n]*$"):
        _export(tmp_path, state=tagger_of("last", host), host_folder=other)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine").touch()
    with pytest.raises(ValueError, match=r"is not an empty folder: give --out another one$"):
        _export(tmp_path, state=state, host_folder=source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "other", "without"]
