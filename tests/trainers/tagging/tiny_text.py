"""A made-up text with three types of entities, and tiny tokenizers for it.

The tokenizers are learnt once a process: learning them again may give their tokens other numbers.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from functools import cache

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from depthweave.trainers.tagging.raw_sentence import RawSentence
from depthweave.trainers.tagging.sentences import TaggedText
from depthweave.trainers.tagging.tagged_text import make_tagged_text

_PEOPLE = ("Ada Lovelace", "Grace Hopper", "Alan Turing", "Emmy Noether", "Kurt", "Rózsa Péter", "Sofja")
_PLACES = ("London", "New York", "Göttingen", "Budapest", "Stockholm")
_PRODUCTS = ("Analytical Engine", "Mark I", "Bombe")
_TEMPLATES = (
    "person lives in location .",
    "The product was made by person !",
    "person and person met in location",
    "nothing of note happened today",
    "@friend loves the new product #wow",
    "a train from location to location",
)


def tiny_text() -> TaggedText:
    """Returns 60 training, 24 validation and 24 test sentences."""
    sentences = list(itertools.islice(_sentences(), 108))
    return make_tagged_text("tiny", train=sentences[:60], valid=sentences[60:84], test=sentences[84:])


def _sentences() -> Iterable[RawSentence]:
    names = {
        "person": itertools.cycle(_PEOPLE),
        "location": itertools.cycle(_PLACES),
        "product": itertools.cycle(_PRODUCTS),
    }
    for template in itertools.cycle(_TEMPLATES):
        words: list[str] = []
        tags: list[str] = []
        for item in template.split():
            parts = next(names[item]).split() if item in names else [item]
            words += parts
            tags += [f"B-{item}", *[f"I-{item}"] * (len(parts) - 1)] if item in names else ["O"]
        yield RawSentence(tuple(words), tuple(tags), "made up")


def _words() -> list[str]:
    text = tiny_text()
    return [word for sentence in (*text.train, *text.valid) for word in sentence.words]


@cache
def word_piece_json() -> str:
    """Returns an uncased WordPiece tokenizer with `[CLS]` and `[SEP]`, as BERT has."""
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        _words(), trainers.WordPieceTrainer(vocab_size=120, special_tokens=special, show_progress=False)
    )
    ids = {token: tokenizer.token_to_id(token) for token in special}
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    tokenizer.decoder = decoders.WordPiece()
    text: str = tokenizer.to_str()
    return text


def byte_level_json(*, add_prefix_space: bool = False, split: bool = False) -> str:
    """Returns a byte-level BPE tokenizer without special tokens, as GPT-2 has; with `split` as Llama 3 and Qwen."""
    tokenizer = tokenizers.Tokenizer.from_str(_byte_level())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    if split:
        pattern = tokenizers.Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+(?!\S)|\s+")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(pattern, behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=False),
            ]
        )
    text: str = tokenizer.to_str()
    return text


@cache
def _byte_level() -> str:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([" ".join(_words())], trainer)
    text: str = tokenizer.to_str()
    return text


@cache
def metaspace_json() -> str:
    """Returns a Unigram tokenizer that marks spaces, as T5 and XLM-R have."""
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<s>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(
        [" ".join(_words())],
        trainers.UnigramTrainer(vocab_size=110, special_tokens=special, unk_token="<unk>", show_progress=False),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    text: str = tokenizer.to_str()
    assert json.loads(text)["model"]["type"] == "Unigram"
    return text
