"""Run as a program: what transformers alone makes of exported taggers. Folders are given; answers are put into each."""

from __future__ import annotations

import json
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

TEXT = "Ada Lovelace lives in London . Kurt and Alan Turing met in Budapest"


def main() -> None:
    """Answers for each folder, and runs the code of the first one's card."""
    warnings.simplefilter("ignore")
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    folders = [Path(name) for name in sys.argv[1:]]
    for folder in folders:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
        model = AutoModelForTokenClassification.from_pretrained(folder, trust_remote_code=True).eval()
        given = load_file(folder / "batch.safetensors")
        batch = {"input_ids": given["ids"], "attention_mask": given["mask"].long()}
        with torch.no_grad():
            answers = {"logits": model(**batch).logits}
            model.save_pretrained(folder / "again")
            again = AutoModelForTokenClassification.from_pretrained(folder / "again", trust_remote_code=True).eval()
            answers["again"] = again(**batch).logits
        save_file(answers, folder / "answers.safetensors")
        results = {
            "class": type(model).__name__,
            "module": type(model).__module__.partition(".")[0],
            "simple": _piped(folder, model, tokenizer, strategy="simple"),
            "first": _piped(folder, model, tokenizer, strategy="first"),
            "whole": _tags_of_words(model, tokenizer, TEXT.split()),
            "spaced": [tokenizer.tokenize(word)[:1] == ["Ġ"] for word in TEXT.split()],
        }
        (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    _run_card(folders[0])
    assert not [name for name in sys.modules if name.split(".")[0] == "depthweave"]


def _piped(folder: Path, model: Any, tokenizer: Any, *, strategy: str) -> list[dict[str, Any]]:
    from transformers import pipeline

    # A folder by name, and what was loaded from it.
    tag = pipeline("token-classification", str(folder), trust_remote_code=True, aggregation_strategy=strategy)
    same = pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy=strategy)
    found = [{**item, "score": float(item["score"])} for item in tag(TEXT)]
    assert [item["word"] for item in same(TEXT)] == [item["word"] for item in found]
    return found


@torch.no_grad()
def _tags_of_words(model: Any, tokenizer: Any, words: list[str]) -> list[str]:
    batch = tokenizer([words], is_split_into_words=True, return_tensors="pt")
    numbers = model(**batch).logits[0].argmax(-1).tolist()
    found = ["O"] * len(words)
    for place, word in reversed(list(enumerate(batch.word_ids(0)))):
        if word is not None:
            found[word] = model.config.id2label[numbers[place]]
    return found


def _run_card(folder: Path) -> None:
    """Runs the card's lines: pipeline, words, and a training by Trainer."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(blocks) == 3
    exec(compile("\n".join(blocks), "README.md", "exec"), {})


if __name__ == "__main__":
    main()
