"""Run as a program where Depthweave cannot be imported: what transformers makes of exported folders.

For every folder given, `answers.safetensors` in it holds logits of given tokens, tokens generated after them with and
without a cache and by beams, and the tokens of a text; after saving and loading by transformers the logits again.
Names that begin with `alone` and `with` are of the same text, alone and as part of a batch, a pack or another call.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_TEXTS = ("abcdefg", "hij", "klmnopqrst")


class _Absent:
    """Nothing of Depthweave is installed."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        if name.split(".")[0] == "depthweave":
            raise ModuleNotFoundError(name)
        return None


def main() -> None:
    """Answer for every folder."""
    sys.meta_path.insert(0, _Absent())  # type: ignore[arg-type]
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for folder in map(Path, sys.argv[1:]):
        model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
        tokens_BT = load_file(folder / "tokens.safetensors")["tokens"]
        given = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
        with torch.no_grad():
            answers = {"logits": model(tokens_BT).logits, "last": model(tokens_BT, logits_to_keep=1).logits}
            answers["loss"] = model(tokens_BT, labels=tokens_BT).loss
            answers["cached"] = model.generate(tokens_BT[:, :4], use_cache=True, **given)
            answers["uncached"] = model.generate(tokens_BT[:, :4], use_cache=False, **given)
            answers["beams"] = model.generate(tokens_BT[:, :4], use_cache=True, num_beams=2, **given)
            answers["uncached_beams"] = model.generate(tokens_BT[:, :4], use_cache=False, num_beams=2, **given)
        text = (folder / "text.txt").read_text(encoding="utf-8")
        found = tokenizer(text)["input_ids"]
        answers["text"] = torch.tensor(found)
        model.save_pretrained(folder / "again")
        again = AutoModelForCausalLM.from_pretrained(folder / "again", trust_remote_code=True)
        with torch.no_grad():
            answers["again"] = again(tokens_BT).logits
        tokenizer.save_pretrained(folder / "again")
        answers |= _batches(model, tokenizer) | _trained(model, tokens_BT) | _calls(model, tokens_BT)
        # The card's second block of Python is for those without us.
        printed = io.StringIO()
        code = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "README.md", "exec"), {})
        results = {
            "decoded": tokenizer.decode(found),
            "end": tokenizer.eos_token_id,
            "padding": tokenizer.pad_token_id,
            "written end": tokenizer("a" + tokenizer.eos_token)["input_ids"][-1],
            "names": tokenizer.model_input_names,
            "labels": _labels(tokenizer),
            "refused": _refusals(model, tokens_BT),
            "piped": _piped(model, tokenizer),
            "card": printed.getvalue(),
        }
        (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
        save_file({name: tensor.contiguous() for name, tensor in answers.items()}, folder / "answers.safetensors")
    assert not [name for name in sys.modules if name.split(".")[0] == "depthweave"]


def _batches(model: Any, tokenizer: Any) -> dict[str, Tensor]:
    """Texts alone, filled up on either side, packed, and generated from together."""
    found: dict[str, Tensor] = {}
    alone = [tokenizer(text, return_tensors="pt") for text in _TEXTS]
    given = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None, "pad_token_id": tokenizer.pad_token_id}
    for place, one in enumerate(alone):
        with torch.no_grad():
            found[f"alone {place}"] = model(**one).logits[0]
            found[f"alone next {place}"] = model.generate(**one, **given)[0, -5:]
    for side in ("left", "right"):
        batch = tokenizer(list(_TEXTS), return_tensors="pt", padding=True, padding_side=side)
        with torch.no_grad():
            logits_BTV = model(**batch).logits
        for place, shown_T in enumerate(batch["attention_mask"].bool()):
            found[f"with {side} {place}"] = logits_BTV[place, shown_T]
    batch = tokenizer(list(_TEXTS), return_tensors="pt", padding=True, padding_side="left")
    ways: dict[str, dict[str, Any]] = {
        "dynamic": {},
        "static": {"cache_implementation": "static"},
        "chunks": {"prefill_chunk_size": 3},
        "static chunks": {"prefill_chunk_size": 3, "cache_implementation": "static"},
    }
    for way, options in ways.items():
        for place, row_T in enumerate(model.generate(**batch, **given, **options)):
            found[f"with next {way} {place}"] = row_T[-5:]
    lengths = [one["input_ids"].shape[1] for one in alone]
    packed_T = torch.cat([one["input_ids"][0] for one in alone])
    positions_T = torch.cat([torch.arange(length) for length in lengths])
    with torch.no_grad():
        logits_TV = model(packed_T[None], position_ids=positions_T[None]).logits[0]
    for place, rows_TV in enumerate(logits_TV.split(lengths)):
        found[f"with packed {place}"] = rows_TV
    return found


def _trained(model: Any, tokens_BT: Tensor) -> dict[str, Tensor]:
    """Losses and gradients of a batch at once, in parts, and with activations worked out again."""
    labels_BT = tokens_BT.clone()
    labels_BT[0, :9] = -100
    count = (labels_BT[:, 1:] != -100).sum()

    def of(parts: Sequence[slice], **options: Any) -> tuple[Tensor, Tensor]:
        model.zero_grad()
        losses = [model(tokens_BT[part], labels=labels_BT[part], **options).loss for part in parts]
        sum(losses).backward()
        return sum(losses).detach(), torch.cat([item.grad.flatten() for item in model.parameters()])

    model.train()
    found = dict(zip(("alone loss", "alone gradient"), of([slice(None)]), strict=True))
    parts = [slice(0, 1), slice(1, 3)]
    found |= zip(("with parts loss", "with parts gradient"), of(parts, num_items_in_batch=count), strict=True)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    found |= zip(("with checkpoints loss", "with checkpoints gradient"), of([slice(None)]), strict=True)
    model.gradient_checkpointing_disable()
    model.eval()
    return found


def _calls(model: Any, tokens_BT: Tensor) -> dict[str, Tensor]:
    """Other ways to ask for the same."""
    with torch.no_grad():
        plain = model(tokens_BT, output_hidden_states=True)
        found = {"alone logits": plain.logits, "states": torch.stack(plain.hidden_states)}
        found["with embeds logits"] = model(inputs_embeds=model.get_input_embeddings()(tokens_BT)).logits
        causal_TT = torch.ones(tokens_BT.shape[1], tokens_BT.shape[1]).tril()[None, None]
        found["with booleans logits"] = model(tokens_BT, attention_mask=causal_TT.bool()).logits
        scores = torch.zeros_like(causal_TT).masked_fill(causal_TT == 0, -torch.inf)
        found["with scores logits"] = model(tokens_BT, attention_mask=scores).logits
        found["with tuple logits"] = model(tokens_BT, return_dict=False)[0]
        found["with kinds logits"] = model(tokens_BT, token_type_ids=torch.zeros_like(tokens_BT)).logits
    context = model.config.max_position_embeddings
    found["to the end"] = model.generate(tokens_BT[:, :4], max_new_tokens=10 * context, eos_token_id=None)
    return found


def _refusals(model: Any, tokens_BT: Tensor) -> dict[str, str]:
    """What is said of calls that would be answered wrongly."""
    import transformers

    ones_BT, places_T = torch.ones_like(tokens_BT), torch.arange(tokens_BT.shape[1])
    packed = (places_T % 5)[None]
    calls: dict[str, dict[str, Any]] = {
        "output_attentions": {"output_attentions": True},
        "head_mask": {"head_mask": torch.ones(1)},
        "cu_seq_lens_q": {"cu_seq_lens_q": torch.tensor([0, 5])},
        "token_type_ids": {"token_type_ids": ones_BT},
        "labels": {"labels": tokens_BT, "logits_to_keep": 1},
        "attention_mask": {"attention_mask": 2 * ones_BT},
        "shape": {"attention_mask": 0 * ones_BT[:, :3]},
        "position_ids": {"position_ids": places_T[None] + 1},
        "packed": {"position_ids": packed, "use_cache": True},
        "past_key_values": {"past_key_values": ()},
        "cache_position": {"cache_position": places_T + 1},
        "nothing": {"input_ids": None},
    }
    transformers.utils.logging.set_verbosity_error()
    found = {}
    for name, options in calls.items():
        try:
            model(**{"input_ids": tokens_BT, **options})
            found[name] = ""
        except ValueError as error:
            found[name] = str(error)
    try:
        model.generate(torch.cat((tokens_BT, tokens_BT), dim=1), max_new_tokens=1)
    except ValueError as error:
        found["prompt"] = str(error)
    return found


def _labels(tokenizer: Any) -> list[list[int]]:
    from transformers import DataCollatorForLanguageModeling

    rows = [tokenizer(text + tokenizer.eos_token) for text in ("ab", "abcd")]
    labels: list[list[int]] = DataCollatorForLanguageModeling(tokenizer, mlm=False)(rows)["labels"].tolist()
    return labels


def _piped(model: Any, tokenizer: Any) -> list[str]:
    from transformers import pipeline

    write = pipeline("text-generation", model=model, tokenizer=tokenizer)
    written = write(["ab", "hij"], max_new_tokens=1000, do_sample=False, batch_size=2)
    return [item[0]["generated_text"] for item in written]


if __name__ == "__main__":
    main()
