"""Tiny random hosts in folders, and heads that fit them."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from depthweave.spaces.heads import HEADS, HeadShape, resolve_head
from depthweave.trainers.tagging.host import Host
from tests.trainers.tagging.tiny_text import byte_level_json, word_piece_json

VOCABULARY = 120
"""Above that of the tiny text's tokenizer."""


def write_tokenizer(folder: Path, *, max_tokens: int = 32) -> None:
    """Writes the tokenizer of the tiny text, with a limit below that of the hosts' positions."""
    (folder / "tokenizer.json").write_text(word_piece_json(), encoding="utf-8")
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_tokens}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def write_bert(folder: Path, *, dropout: float = 0.1) -> Path:
    """Writes a random BERT of two layers of width 16 with its tokenizer."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        # Larger than usual: the states of a host of two layers then differ.
        initializer_range=0.2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def write_gpt2(folder: Path, *, split: bool = False) -> Path:
    """Writes a random GPT-2 of two layers of width 16 with a byte-level tokenizer that has no special token.

    With `split` the tokenizer divides text as those of Llama 3 and Qwen do.
    """
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(
        vocab_size=340,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=40,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        GPT2Model(config).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(byte_level_json(split=split), encoding="utf-8")
    return folder


def write_modern_bert(folder: Path) -> Path:
    """Writes a random ModernBERT of two layers of width 16, one with local attention, with its tokenizer."""
    from transformers import ModernBertConfig, ModernBertModel

    config = ModernBertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
        local_attention=4,
        global_attn_every_n_layers=2,
        initializer_range=0.2,
        pad_token_id=0,
        cls_token_id=2,
        sep_token_id=3,
        bos_token_id=2,
        eos_token_id=3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ModernBertModel(config).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def shape_of(kind: str, host: Host) -> HeadShape:
    """Returns a head on all states of the host, for the seven classes of the tiny text."""
    assert kind in HEADS
    return resolve_head(
        kind,
        depth=host.depth,
        sources=range(host.depth + 1),
        width=host.width,
        classes=7,
        budget=6000,
        heads=host.heads,
        causal=host.causal,
    )
