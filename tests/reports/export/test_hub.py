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
from depthweave.reports.store import RunStore
from depthweave.spaces import FUSIONS, Architecture, Decoder, generate, load, strided_wiring
from depthweave.trainers import make_tokenizer
from depthweave.trainers.tokenizer import BpeTokenizer, ByteTokenizer
from tests.reports.export import without_us
from tests.reports.export.conftest import keep_weights, model_of, record_of
from tests.reports.synthetic import make_info

_TEXT = "def f(x):\n\treturn 'Zoë — 日本'  # <|endofdocument|> , .\x00\n"
_BPE = "dwa over byte pairs"
_NAMES = (*FUSIONS, _BPE)

pytestmark = pytest.mark.timeout(300)  # The one program that answers for all folders.
needs_transformers = pytest.mark.skipif(
    find_spec("transformers") is None, reason="transformers is not installed: pip install depthweave[hub]"
)


def _architecture(name: str) -> Architecture:
    return Architecture(
        fusion="dwa" if name == _BPE else name,
        wiring=strided_wiring(4),
        width=16,
        heads=2,
        feed_forward=24,
        vocabulary=300 if name == _BPE else 256,
        context=16,
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
    told = json.loads((folder / "told.json").read_text(encoding="utf-8"))
    # The end of a document, written out in a text, is its characters.
    assert load_file(folder / "answers.safetensors")["text"].tolist() == tokenizer.encode(_TEXT)
    assert told["decoded"] == _TEXT
    assert told["end"] == tokenizer.end_of_document


@needs_transformers
def test_card_code_for_transformers_runs_as_printed(folder: Path) -> None:
    told = json.loads((folder / "told.json").read_text(encoding="utf-8"))
    assert told["card"].startswith("def main(")


@needs_transformers
def test_filling_on_the_left_is_refused_and_not_read_as_text(folder: Path) -> None:
    told = json.loads((folder / "told.json").read_text(encoding="utf-8"))
    assert told["refused"].startswith("attention_mask hides tokens before others: give prompts of one length")


def test_byte_tokenizer_in_a_file_is_the_tokenizer_of_bytes() -> None:
    ours, written = ByteTokenizer(), BpeTokenizer(byte_tokenizer_json())
    every = "".join(map(chr, [*range(0x800), 0xFFFD, 0x10FFFF])) + _TEXT
    assert written.encode(every) == ours.encode(every)
    assert written.decode(ours.encode(every)) == every
    # Torn characters too.
    assert written.decode([0xE6, 0x97]) == ours.decode([0xE6, 0x97])
    assert (written.vocabulary, written.end_of_document) == (ours.vocabulary, ours.end_of_document)
    assert (written.token_bytes() == ours.token_bytes()).all()


def test_byte_tokenizer_is_what_the_library_itself_writes() -> None:
    written: dict[str, Any] = json.loads(byte_tokenizer_json())
    assert json.loads(tokenizers.Tokenizer.from_str(byte_tokenizer_json()).to_str()) == written
