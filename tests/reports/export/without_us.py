"""Run as a program where Depthweave cannot be imported: what transformers makes of exported folders.

For every folder given, `answers.safetensors` in it holds logits of given tokens, tokens generated after them with and
without a cache and by beams, and the tokens of a text; after saving by transformers and loading again the logits anew.
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


class _Absent:
    """Nothing of Depthweave is installed."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        if name.split(".")[0] == "depthweave":
            raise ModuleNotFoundError(name)
        return None


def main() -> None:
    """Answer for every folder."""
    sys.meta_path.insert(0, _Absent())  # type: ignore[arg-type]
    import torch
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
        try:
            model(tokens_BT[:2, :3], attention_mask=torch.tensor([[1, 1, 1], [0, 1, 1]]))
            refused = ""
        except ValueError as error:
            refused = str(error)
        # The card's second block of Python is for those without us.
        printed = io.StringIO()
        code = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "README.md", "exec"), {})
        told = {
            "decoded": tokenizer.decode(found),
            "end": tokenizer.eos_token_id,
            "refused": refused,
            "card": printed.getvalue(),
        }
        (folder / "told.json").write_text(json.dumps(told), encoding="utf-8")
        save_file({name: tensor.contiguous() for name, tensor in answers.items()}, folder / "answers.safetensors")
    assert not [name for name in sys.modules if name.split(".")[0] == "depthweave"]


if __name__ == "__main__":
    main()
