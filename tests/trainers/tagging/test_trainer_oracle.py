"""Full fine-tuning with the head `last` equals transformers' Trainer with its token classifier, weight by weight."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tagging.host import load_host
from depthweave.trainers.tagging.sentence_batches import training_rows
from depthweave.trainers.tagging.sentences import TaggedText
from depthweave.trainers.tagging.tag_data import TagPart, tag_data
from depthweave.trainers.tagging.tag_training import train_tags
from depthweave.trainers.tagging.tagging_state import TaggingState
from depthweave.trainers.tagging.word_pieces import NO_LABEL
from tests.trainers.tagging.tiny_host import shape_of, write_bert


def _items(part: TagPart, recipe: Recipe) -> list[dict[str, list[int]]]:
    """Returns the sentences of all steps in their order."""
    encoded = part.encoded
    rows = [row for step in range(recipe.steps) for row in training_rows(part.trainable_rows, recipe=recipe, step=step)]
    places = [slice(*encoded.starts[row : row + 2]) for row in rows]
    return [{"ids": encoded.ids[place].tolist(), "labels": encoded.labels[place].tolist()} for place in places]


def _collated(items: Sequence[dict[str, list[int]]]) -> dict[str, Tensor]:
    longest = max(len(item["ids"]) for item in items)

    def padded(name: str, fill: int) -> Tensor:
        return torch.tensor([item[name] + [fill] * (longest - len(item[name])) for item in items])

    mask = torch.tensor([[1] * len(item["ids"]) + [0] * (longest - len(item["ids"])) for item in items])
    return {"input_ids": padded("ids", 0), "attention_mask": mask, "labels": padded("labels", NO_LABEL)}


@pytest.mark.filterwarnings("ignore")
def test_full_fine_tuning_equals_the_trainer_of_transformers(tiny: TaggedText, tmp_path: Path) -> None:
    from torch.utils.data import SequentialSampler
    from transformers import BertForTokenClassification, Trainer, TrainingArguments

    class InOrder(Trainer):
        def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
            return SequentialSampler(self.train_dataset)

    host = load_host(write_bert(tmp_path / "host", dropout=0.0))
    recipe = Recipe(
        steps=10,
        batch=4,
        context=32,
        learning_rate=3e-3,
        warmup_frac=0.0,
        min_lr_frac=1.0,
        num_evaluations=1,
        evaluation_tokens=64,
    )
    data = tag_data(tiny, host, max_tokens=32, weights="full")
    state = TaggingState.start(
        shape_of("last", host),
        recipe=recipe,
        host_sha256=host.sha256,
        host=host,
        weights="full",
        host_lr_factor=1.0,
        device="cpu",
    )
    theirs = BertForTokenClassification.from_pretrained(tmp_path / "host", num_labels=7)
    theirs.classifier.load_state_dict(state.head.classifier.state_dict())
    list(train_tags(state, data))
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "out"),
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.batch,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="constant",
        adam_beta1=recipe.betas[0],
        adam_beta2=recipe.betas[1],
        weight_decay=recipe.weight_decay,
        max_grad_norm=1.0,
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    InOrder(model=theirs, args=arguments, train_dataset=_items(data.train, recipe), data_collator=_collated).train()
    assert state.host_model is not None
    ours = {f"bert.{name}": item for name, item in state.host_model.state_dict().items() if "pooler" not in name}
    ours |= {f"classifier.{name}": item for name, item in state.head.classifier.state_dict().items()}
    wanted = theirs.state_dict()
    assert set(ours) == set(wanted)
    # The softmax cancels the bias of keys. Its gradient is nothing but rounding, of which AdamW makes whole steps.
    for name, item in ours.items():
        if name.endswith("key.bias"):
            continue
        # AdamW divides small gradients by their own size, which enlarges differences of the last bit.
        torch.testing.assert_close(item, wanted[name], rtol=0.0, atol=2e-4, msg=name)
