"""Tiny random hosts in folders, a made-up text whose entities are names of few words, and recipes for them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from depthweave.spaces.heads import HEADS, HeadShape, resolve_head
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tagging.host import Host, load_host
from depthweave.trainers.tagging.sentences import Sentence, TaggedText
from depthweave.trainers.tagging.tag_data import TagData, tag_data

PEOPLE, PLACES = ("Ada", "Bo", "Cy"), ("Delft", "Essen")
PLAIN = ("the", "loom", "of", "weaving", "sees", "and", "a", "in")
_PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "ada", "bo", "cy", "delft", "ess", "##en", *PLAIN[:3], "weav", "##ing")
VOCABULARY = (*_PIECES, *PLAIN[4:])


def write_tokenizer(folder: Path, *, max_tokens: int = 32) -> None:
    """Writes an uncased WordPiece tokenizer of the words above."""
    tokenizer = Tokenizer(WordPiece({piece: number for number, piece in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_tokens}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def write_bert(folder: Path, *, layers: int = 2, seed: int = 0) -> Path:
    """Writes a random BERT of width 16 with its tokenizer."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
        # Larger than usual: the states of a host of two layers then differ.
        initializer_range=0.2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("hosts") / "tiny-bert")


@pytest.fixture(scope="session")
def host(bert_folder: Path) -> Host:
    return load_host(bert_folder)


def sentences(num: int, *, seed: int) -> tuple[Sentence, ...]:
    """Returns sentences of three to nine words; a name is a person of one or two words, or a place."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(num):
        words: list[str] = []
        tags: list[str] = []
        for _ in range(generator.integers(2, 6)):
            kind = generator.integers(0, 4)
            if kind == 0:
                names = generator.choice(PEOPLE, size=generator.integers(1, 3)).tolist()
                words += names
                tags += ["B-person", "I-person"][: len(names)]
            elif kind == 1:
                words.append(str(generator.choice(PLACES)))
                tags.append("B-place")
            words.append(str(generator.choice(PLAIN)))
            tags.append("O")
        found.append(Sentence(tuple(words), tuple(tags)))
    return tuple(found)


@pytest.fixture(scope="session")
def text() -> TaggedText:
    return TaggedText(
        name="made-up",
        train=sentences(40, seed=0),
        valid=sentences(20, seed=1),
        test=sentences(20, seed=2),
        entity_types=("person", "place"),
        scheme="IOB2",
        sha256="0" * 64,
    )


@pytest.fixture(scope="session")
def data(text: TaggedText, host: Host, tmp_path_factory: pytest.TempPathFactory) -> TagData:
    return tag_data(text, host, max_tokens=32, cache=tmp_path_factory.mktemp("states"))


@pytest.fixture(scope="session")
def full_data(text: TaggedText, host: Host) -> TagData:
    return tag_data(text, host, max_tokens=32, weights="full")


def shape_of(kind: str, host: Host, *, classes: int = 5, budget: int = 6000) -> HeadShape:
    """Returns a head on all states of the host."""
    assert kind in HEADS
    return resolve_head(
        kind,
        depth=host.depth,
        sources=range(host.depth + 1),
        width=host.width,
        classes=classes,
        budget=budget,
        heads=host.heads,
        causal=host.causal,
    )


@pytest.fixture
def tag_recipe() -> Recipe:
    return Recipe(steps=12, batch=4, context=32, num_evaluations=3, evaluation_tokens=4096, learning_rate=1e-2, seed=3)
