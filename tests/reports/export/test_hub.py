"""An exported folder is a model and a tokenizer for Hugging Face's transformers, without Depthweave.

Axes: B batch, T tokens.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from depthweave.reports.export import export
from depthweave.reports.export.byte_tokenizer import byte_tokenizer_json
from depthweave.reports.export.padding import PADDING, with_padding
from depthweave.reports.store.run_store import RunStore
from depthweave.spaces import Architecture, Decoder, generate, load, read_architecture, strided_wiring
from depthweave.spaces.block_style import GPT, BlockStyle
from depthweave.trainers import make_tokenizer
from depthweave.trainers.tokenizer import BpeTokenizer, ByteTokenizer
from tests.fusion_names import LAST_OF_FILES
from tests.reports.export import without_us
from tests.reports.export.conftest import keep_weights, model_of, record_of
from tests.reports.synthetic import make_info

_TEXT = "def f(x):\n\treturn 'Zoë — 日本'  # <|endofdocument|> , .\x00\n"
_BPE = "dwa over byte pairs"
_LLAMA = {"dwa on llama": "dwa", "value_residual on llama": "value_residual"}
_NAMES = (*LAST_OF_FILES, _BPE, *_LLAMA)

pytestmark = pytest.mark.timeout(300)  # The one program that answers for all folders.
needs_transformers = pytest.mark.skipif(
    find_spec("transformers") is None, reason="transformers is not installed: pip install depthweave[hub]"
)


def _architecture(name: str) -> Architecture:
    return Architecture(
        fusion="dwa" if name == _BPE else _LLAMA.get(name, name),
        wiring=strided_wiring(4),
        width=16,
        heads=2,
        feed_forward=24,
        vocabulary=300 if name == _BPE else 256,
        context=16,
        block=BlockStyle(kind="llama", heads_per_kv=2, qk_norm=True) if name in _LLAMA else GPT,
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An export of every fusion over bytes, and one over pairs of them, as transformers answered for it."""
    made = {}
    for name in _NAMES:
        place = tmp_path_factory.mktemp("hub")
        store = RunStore.create(place / "run", info=make_info(), spec_yaml="name: quick\n")
        if name == _BPE:
            tokenizer = BpeTokenizer.train([_TEXT * 3, "the end of the weave " * 40], vocabulary=300)
            assert tokenizer.json is not None
            store.write_bytes("tokenizer.json", tokenizer.json.encode())
            architecture = _architecture(name)
            architecture = Architecture.from_dict({**architecture.to_dict(), "vocabulary": tokenizer.vocabulary})
        else:
            architecture = _architecture(name)
        keep_weights(store, model_of(architecture))
        made[name] = export(store, record_of(architecture), out=place / "out")
        generator = torch.Generator().manual_seed(0)
        save_file(
            {"tokens": torch.randint(architecture.vocabulary, (3, 16), generator=generator)},
            made[name] / "tokens.safetensors",
        )
        (made[name] / "text.txt").write_text(_TEXT, encoding="utf-8")
    cache = str(tmp_path_factory.mktemp("hf"))
    environment = os.environ | {"HF_HOME": cache, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, without_us.__file__, *map(str, made.values())]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(params=_NAMES)
def folder(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Path:
    return folders[request.param]


def _ours(folder: Path) -> tuple[Decoder, Tensor, dict[str, Tensor]]:
    return load(folder), load_file(folder / "tokens.safetensors")["tokens"], load_file(folder / "answers.safetensors")


@needs_transformers
def test_transformers_has_our_logits_and_loss(folder: Path) -> None:
    model, tokens_BT, answers = _ours(folder)
    with torch.no_grad():
        logits_BTV = model(tokens_BT)
        loss = model.loss(tokens_BT[:, :-1], tokens_BT[:, 1:])
    torch.testing.assert_close(answers["logits"], logits_BTV, rtol=0, atol=1e-5)
    torch.testing.assert_close(answers["last"], logits_BTV[:, -1:], rtol=0, atol=1e-5)
    torch.testing.assert_close(answers["again"], logits_BTV, rtol=0, atol=1e-5)
    torch.testing.assert_close(answers["loss"], loss, rtol=1e-5, atol=0)


@needs_transformers
def test_transformers_generates_what_we_do_with_its_cache_and_without(folder: Path) -> None:
    model, tokens_BT, answers = _ours(folder)
    expected_BT = generate(model, tokens_BT[:, :4], num_tokens=8)
    assert torch.equal(answers["cached"], expected_BT)
    assert torch.equal(answers["uncached"], expected_BT)
    # Beams are reordered inside the cache.
    assert torch.equal(answers["beams"], answers["uncached_beams"])


@needs_transformers
def test_transformers_tokenizes_as_we_do(folder: Path) -> None:
    tokenizer = make_tokenizer((folder / "tokenizer.json").read_text(encoding="utf-8"))
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    before, after = _TEXT.split("<|endofdocument|>")
    wanted = [*tokenizer.encode(before), tokenizer.end_of_document, *tokenizer.encode(after)]
    assert load_file(folder / "answers.safetensors")["text"].tolist() == wanted
    assert results["decoded"] == _TEXT
    assert results["end"] == tokenizer.end_of_document


@needs_transformers
def test_card_code_for_transformers_runs_as_printed(folder: Path) -> None:
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert results["card"].startswith("def main(")


@needs_transformers
def test_filled_up_packed_and_chunked_texts_are_as_they_are_alone(folder: Path) -> None:
    answers = load_file(folder / "answers.safetensors")
    for place in range(3):
        for way in ("left", "right", "packed"):
            expected, found = answers[f"alone {place}"], answers[f"with {way} {place}"]
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5, msg=lambda text, way=way: f"{way}: {text}")
        for way in ("dynamic", "static", "chunks", "static chunks"):
            assert torch.equal(answers[f"with next {way} {place}"], answers[f"alone next {place}"]), way


@needs_transformers
def test_loss_in_parts_and_with_checkpoints_is_that_of_the_batch(folder: Path) -> None:
    answers = load_file(folder / "answers.safetensors")
    for way in ("parts", "checkpoints"):
        for what in ("loss", "gradient"):
            torch.testing.assert_close(answers[f"with {way} {what}"], answers[f"alone {what}"], rtol=1e-4, atol=1e-6)


@needs_transformers
def test_other_calls_for_the_same_have_the_same_answer(folder: Path) -> None:
    model, tokens_BT, answers = _ours(folder)
    for way in ("embeds", "booleans", "scores", "tuple", "kinds"):
        torch.testing.assert_close(answers[f"with {way} logits"], answers["alone logits"], rtol=0, atol=1e-5)
    a = model.architecture
    assert answers["states"].shape == (a.depth + 1, *tokens_BT.shape, a.width)
    # The first is the embedding, unless the fusion carries the residual; the last is what the head reads.
    with torch.no_grad():
        if not model.fusion.carries_residual:
            torch.testing.assert_close(answers["states"][0], model.embedding(tokens_BT), rtol=0, atol=1e-6)
        torch.testing.assert_close(answers["states"][-1], model.hidden(tokens_BT), rtol=0, atol=1e-5)


@needs_transformers
def test_text_that_reaches_the_end_of_the_context_stops_there(folder: Path) -> None:
    model, tokens_BT, answers = _ours(folder)
    # The last token is written and not read.
    assert answers["to the end"].shape == (len(tokens_BT), model.architecture.context + 1)
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert [text[:2] for text in results["piped"]] == ["ab", "hi"]
    assert results["refused"]["prompt"].startswith("the prompt has 32 tokens, the context of this model 16")


@needs_transformers
def test_unsupported_arguments_are_refused_in_one_line(folder: Path) -> None:
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))["refused"]
    assert results.pop("nothing").startswith("give either input_ids or inputs_embeds")
    assert "position_ids" in results["packed"]
    assert "attention_mask" in results["shape"]
    for name, line in results.items():
        assert line, name
        assert "\n" not in line
        assert name in line or name in ("packed", "shape", "prompt"), line


@needs_transformers
def test_documents_keep_their_ends_in_training(folder: Path) -> None:
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert results["written end"] == results["end"] != results["padding"]
    assert [sum(label == results["end"] for label in row) for row in results["labels"]] == [1, 1]
    assert results["labels"][0][-2:] == [-100, -100]
    # With kinds of tokens, which transformers 4 adds, the card's lines would fail there.
    assert results["names"] == ["input_ids", "attention_mask"]


@needs_transformers
def test_model_that_transformers_saved_is_read_by_us(folder: Path) -> None:
    model, tokens_BT, _ = _ours(folder)
    again = load(folder / "again")
    assert again.architecture == model.architecture == read_architecture(folder / "again" / "architecture.yaml")
    with torch.no_grad():
        assert torch.equal(again(tokens_BT), model(tokens_BT))
    tokenizer = make_tokenizer((folder / "again" / "tokenizer.json").read_text(encoding="utf-8"))
    ours = make_tokenizer((folder / "tokenizer.json").read_text(encoding="utf-8"))
    assert tokenizer.encode(_TEXT) == ours.encode(_TEXT)
    assert [len(row) for row in (tokenizer.encode("a"), tokenizer.encode("a" * 40))] == [1, len(ours.encode("a" * 40))]


def test_byte_tokenizer_in_a_file_is_the_tokenizer_of_bytes() -> None:
    ours, written = ByteTokenizer(), BpeTokenizer(byte_tokenizer_json())
    every = "".join(map(chr, [*range(0x800), 0xFFFD, 0x10FFFF])) + _TEXT
    assert written.encode(every) == ours.encode(every)
    assert written.decode(ours.encode(every)) == every
    # Torn characters too.
    assert written.decode([0xE6, 0x97]) == ours.decode([0xE6, 0x97])
    assert (written.vocabulary, written.end_of_document) == (ours.vocabulary, ours.end_of_document)
    assert (written.token_bytes() == ours.token_bytes()).all()


def test_padding_takes_the_place_of_a_byte_that_no_text_has() -> None:
    trained = BpeTokenizer.train([_TEXT * 3, "the end of the weave " * 40], vocabulary=300)
    assert trained.json is not None
    for plain in (byte_tokenizer_json(), trained.json):
        ours, padded = BpeTokenizer(plain), BpeTokenizer(with_padding(plain))
        every = "".join(map(chr, [*range(0x800), 0xFFFD, 0x10FFFF])) + _TEXT
        assert padded.encode(every) == ours.encode(every)
        assert (padded.vocabulary, padded.end_of_document) == (ours.vocabulary, ours.end_of_document)
        added = {item["content"]: item["id"] for item in json.loads(with_padding(plain))["added_tokens"]}
        assert padded.decode([added[PADDING], *ours.encode("þ")]) == "þ"
        assert padded.token_bytes()[added[PADDING]] == 0
        # Once is enough.
        assert with_padding(with_padding(plain)) == with_padding(plain)


def test_tokenizer_does_not_cut_and_fill_up_as_it_was_saved() -> None:
    values = json.loads(byte_tokenizer_json())
    values["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    values["padding"] = {
        "strategy": {"Fixed": 9},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 254,
        "pad_type_id": 0,
        "pad_token": "x",
    }
    tokenizer = BpeTokenizer(json.dumps(values))
    assert tokenizer.encode("abcdef") == list(b"abcdef")
    assert tokenizer.encode_documents(["a", "bcdef"]).tolist() == [*b"a", 255, *b"bcdef", 255]


def test_byte_tokenizer_is_what_the_library_itself_writes() -> None:
    written: dict[str, Any] = json.loads(byte_tokenizer_json())
    assert json.loads(tokenizers.Tokenizer.from_str(byte_tokenizer_json()).to_str()) == written
