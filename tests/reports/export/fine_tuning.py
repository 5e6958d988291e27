"""Run as a program: what transformers' Trainer, accelerate and PEFT make of an exported folder, as JSON.

Gradients are accumulated in several ways, the card's own lines are run, weights are offloaded and adapted.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

_TEXTS = [word * count for word, count in (("ab ", 1), ("c", 3), ("de", 2), ("f ", 4)) for _ in range(2)]


def main() -> None:
    """Answer for the folder given."""
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    results = {"steps": _accumulated(folder), "smoothed": _smoothed(folder)}
    results["offloaded"] = _offloaded(folder)
    results["adapted"] = _adapted(folder)
    card = (folder / "README.md").read_text(encoding="utf-8")
    _, load, tune = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    exec(compile(load + tune, "README.md", "exec"), {})
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")


def _parts(folder: Path) -> tuple[Any, Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForLanguageModeling

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
    return model, tokenizer, DataCollatorForLanguageModeling(tokenizer, mlm=False)


def _losses(folder: Path, batch: int, steps: int, **options: Any) -> list[float]:
    from transformers import Trainer, TrainingArguments

    model, tokenizer, collator = _parts(folder)
    arguments = TrainingArguments(
        tempfile.mkdtemp(dir=folder),
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=steps,
        max_steps=2,
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        learning_rate=1e-3,
        max_grad_norm=1e9,
        **options,
    )
    data = [tokenizer(text + tokenizer.eos_token) for text in _TEXTS]
    trainer = Trainer(model, arguments, collator, data)
    trainer.train()
    logged = [item for item in trainer.state.log_history if "loss" in item]
    return [item[name] for item in logged for name in ("loss", "grad_norm")]


def _accumulated(folder: Path) -> list[list[float]]:
    ways = [(8, 1), (2, 4), (1, 8)]
    return [_losses(folder, *way) for way in ways] + [_losses(folder, 2, 4, gradient_checkpointing=True)]


def _smoothed(folder: Path) -> list[float]:
    """The loss with smoothed labels, as Trainer has it and by hand."""
    model, tokenizer, collator = _parts(folder)
    batch = collator([tokenizer(text + tokenizer.eos_token) for text in _TEXTS])
    labels = batch.pop("labels")[:, 1:]
    with torch.no_grad():
        logs = model(**batch).logits[:, :-1].log_softmax(-1)
    shown = labels != -100
    own = -logs.gather(-1, labels.clamp(min=0)[..., None])[..., 0][shown].mean()
    return [_losses(folder, 8, 1, label_smoothing_factor=0.1)[0], float(0.9 * own - 0.1 * logs.mean(-1)[shown].mean())]


def _offloaded(folder: Path) -> list[bool]:
    from transformers import AutoModelForCausalLM

    names = ("embedding", "blocks", "fusion", "norm")
    tokens_BT = torch.arange(12)[None] * 5
    plain = _parts(folder)[0]
    found = []
    for elsewhere in (*names, "all"):
        places = {f"decoder.{name}": "disk" if elsewhere in (name, "all") else "cpu" for name in names}
        model = AutoModelForCausalLM.from_pretrained(
            folder, trust_remote_code=True, device_map=places, offload_folder=tempfile.mkdtemp(dir=folder)
        )
        with torch.no_grad():
            found.append(torch.equal(model(tokens_BT).logits, plain(tokens_BT).logits))
    return found


def _adapted(folder: Path) -> str:
    """Trains an adapter a step, puts it into the weights and saves; what is said of one on the embedding."""
    from peft import LoraConfig, get_peft_model

    tokens_BT = torch.arange(12)[None] * 5
    model = get_peft_model(_parts(folder)[0], LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear"))
    model.train()
    model(input_ids=tokens_BT, labels=tokens_BT).loss.backward()
    model.eval()
    model.generate(input_ids=tokens_BT[:, :3], max_new_tokens=3)
    model.merge_and_unload().save_pretrained(folder / "merged")
    model = get_peft_model(_parts(folder)[0], LoraConfig(task_type="CAUSAL_LM", target_modules=["embedding"]))
    try:
        model(input_ids=tokens_BT)
    except ValueError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main()
