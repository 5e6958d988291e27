"""A pretrained host on WNUT-17, where both are there: a head on all layers beats one on the last."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from benchmarks import few_shot
from depthweave.trainers.tagging.host import load_host
from depthweave.trainers.tagging.tag_data import tag_data
from depthweave.trainers.tagging.tagged_text import load_conll


@pytest.mark.slow
def test_head_on_all_layers_beats_one_on_the_last(wnut17: Path, tmp_path: Path) -> None:
    try:
        folder = few_shot.host_folder()
    except ValueError:
        pytest.skip(f"{few_shot.PACKAGE} is not installed")
    host = load_host(folder)
    assert (host.depth, host.width, host.heads, host.causal) == (6, 384, 12, False)
    text = load_conll(wnut17 / "wnut17train.conll", wnut17 / "emerging.dev.conll")
    small = dataclasses.replace(text, train=text.train[:100], valid=text.valid[:300])
    data = tag_data(small, host, max_tokens=128, cache=tmp_path)
    recipe = dataclasses.replace(few_shot.TAG_RECIPES["frozen"], steps=150, context=128, num_evaluations=1)

    def f1(head: str) -> float:
        run = few_shot.train_head(
            head,
            data=data,
            host=host,
            weights="frozen",
            shots=100,
            draw=0,
            rate=1e-3,
            with_test=False,
            recipe=recipe,
        )
        return float(run["valid_f1"])

    # 15 points apart after 300 steps.
    assert f1("dwatt") > f1("last") + 0.03
