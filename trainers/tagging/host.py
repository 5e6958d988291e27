"""A pretrained transformer in a local folder, as the host of a head: its states, its shape and its tokenizer.

Axes: B sentences, T tokens, D width.

Nothing is downloaded, no code of the folder is run, and only safetensors are read. Shape and direction of the
attention are found by a short pass, because configurations name them in many ways.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depthweave.spaces.hosts.host_folder import HOST_CONFIG_FILE, host_sha256, host_weight_files
from depthweave.spaces.quiet_transformers import quiet_transformers
from depthweave.spaces.regular import check_named, read_regular_text

TOKENIZER_FILE = "tokenizer.json"
_TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
_NEEDED = "config.json, *.safetensors and tokenizer.json, as save_pretrained of transformers writes them"
_PROBE_TOKENS = 4
_UNLIMITED = 10**6
"""Tokenizers without a limit give a number of thirty digits."""
_UNUSED = ("pooler.",)
"""Weights that no state depends on; many folders lack them."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Host:
    """A pretrained model whose layers run one after the other, on the CPU and in evaluation mode."""

    name: str
    """Name of its folder, with that of the folder above where it says nothing."""
    model: nn.Module
    depth: int
    """Layers; there are `depth + 1` states."""
    width: int
    """Width of every state."""
    heads: int
    """Attention heads of a layer."""
    causal: bool
    """Whether a token sees earlier tokens alone."""
    max_tokens: int
    """Longest sentence, special tokens included."""
    pad_token: int
    """Fills short sentences of a batch; the mask hides it."""
    tokenizer_json: str
    """Content of `tokenizer.json`."""
    sha256: str
    """Hash of configuration and weights."""


def load_host(path: str | Path) -> Host:
    """Returns the host in a folder, with weights in float32.

    Raises a one-line `ValueError` that names what is missing: the package transformers, a file, weights of a layer, or
    states of one width.
    """
    check_named(path, what="host folder")
    folder = Path(path)
    tokenizer_json = _tokenizer_json(folder)
    model = _model(folder)
    states = _probe(model, folder)
    config = getattr(model, "config", None)
    heads = getattr(config, "num_attention_heads", None)
    if not isinstance(heads, int) or heads < 1:
        raise ValueError(f"host {folder}: its layers have {heads!r} attention heads; give a model with one number")
    pad_token = getattr(config, "pad_token_id", None)
    return Host(
        name=_name(folder.resolve()),
        model=model,
        depth=len(states) - 1,
        width=states[-1].shape[-1],
        heads=heads,
        # The rows of a probe differ in their last token.
        causal=all(torch.equal(state[0, :-1], state[1, :-1]) for state in states),
        max_tokens=_max_tokens(model, folder),
        pad_token=pad_token if isinstance(pad_token, int) and pad_token >= 0 else 0,
        tokenizer_json=tokenizer_json,
        sha256=host_sha256(folder),
    )


def states_of(model: nn.Module, ids_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, ...]:
    """Returns the embedding's output and that of every layer [B, T, D]; the mask is true at real tokens."""
    output = model(input_ids=ids_BT, attention_mask=mask_BT.long(), output_hidden_states=True)
    states: tuple[Tensor, ...] = output.hidden_states
    return states


def _name(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}" if folder.name in ("model", "host") else folder.name


def _tokenizer_json(folder: Path) -> str:
    """Returns the tokenizer. Raises `ValueError` where the folder lacks a file."""
    if not folder.is_dir():
        raise ValueError(f"host {folder}: is no folder; give one with {_NEEDED}")
    has_config = (folder / HOST_CONFIG_FILE).is_file()
    if not has_config or not host_weight_files(folder):
        missing = "*.safetensors" if has_config else HOST_CONFIG_FILE
        raise ValueError(f"host {folder}: has no {missing}; give a folder with {_NEEDED}")
    try:
        return read_regular_text(folder / TOKENIZER_FILE)
    except FileNotFoundError:
        raise ValueError(
            f"host {folder}: has no {TOKENIZER_FILE}; save the model's fast tokenizer there (AutoTokenizer, "
            "save_pretrained)"
        ) from None
    except UnicodeError:
        raise ValueError(f"host {folder}: {TOKENIZER_FILE} is no UTF-8 text; save the tokenizer again") from None


def _model(folder: Path) -> nn.Module:
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError:
        raise ValueError(
            f"host {folder}: needs the package transformers, which is not installed: "
            "`pip install 'depthweave[ner]'` brings it"
        ) from None
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
            if getattr(config, "is_encoder_decoder", False):
                raise ValueError("it is an encoder with a decoder: give a model with one stack of layers")
            model, found = AutoModel.from_pretrained(
                str(folder),
                config=config,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                # Otherwise weights are in the precision of the file.
                dtype=torch.float32,
                output_loading_info=True,
            )
    except Exception as error:  # transformers raises whatever its parts raise.
        raise ValueError(f"host {folder}: cannot be read by transformers ({_one_line(error)})") from None
    missing = sorted(name for name in found["missing_keys"] if not name.startswith(_UNUSED))
    missing += sorted(str(item[0]) for item in found.get("mismatched_keys", ()))
    if missing:
        raise ValueError(
            f"host {folder}: its files lack {len(missing)} weights of the model, {missing[0]} among them: they would "
            "be random; give a complete folder"
        )
    host: nn.Module = model.eval()
    for name, parameter in host.named_parameters():
        if name.startswith(_UNUSED):
            parameter.requires_grad_(False)
    return host


@torch.no_grad()
def _probe(model: nn.Module, folder: Path) -> tuple[Tensor, ...]:
    """Returns the states of two short texts that differ in their last token."""
    ids_BT = torch.arange(1, _PROBE_TOKENS + 1).repeat(2, 1)
    ids_BT[1, -1] += 1
    try:
        states = states_of(model, ids_BT, torch.ones_like(ids_BT, dtype=torch.bool))
        shapes = {tuple(state.shape) for state in states}
    except Exception as error:
        raise ValueError(
            f"host {folder}: gives no states of a text ({_one_line(error)}); give a language model with one stack of "
            "layers"
        ) from None
    if len(states) < 2 or len(shapes) != 1 or states[0].shape[:2] != ids_BT.shape:
        raise ValueError(
            f"host {folder}: its {len(states)} states have the shapes {sorted(shapes)}; give a model whose layers all "
            "have one width"
        )
    return states


def _max_tokens(model: Any, folder: Path) -> int:
    limits = [getattr(model.config, "max_position_embeddings", None)]
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    # RoBERTa and its kin start to count after the padding token.
    padding = getattr(table, "padding_idx", None)
    if padding is not None and limits[0] is not None:
        limits[0] -= padding + 1
    config = folder / _TOKENIZER_CONFIG_FILE
    if config.is_file():
        try:
            limits.append(json.loads(read_regular_text(config)).get("model_max_length"))
        except (ValueError, AttributeError):
            raise ValueError(
                f"host {folder}: {_TOKENIZER_CONFIG_FILE} is no JSON object; save the tokenizer again"
            ) from None
    known = [int(limit) for limit in limits if isinstance(limit, int | float) and 0 < limit < _UNLIMITED]
    return min(known, default=_UNLIMITED)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
