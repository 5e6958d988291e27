"""The code of `docs/own-models.md` runs as it is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.import_reader import ROOT
from tests.spaces.hosts.tiny_hosts import PlainBlock, tiny_host, tokens

_PAGE = (ROOT / "docs" / "own-models.md").read_text(encoding="utf-8")
_OWN, _LIST, _TRANSFORMERS, _ADAPTERS = re.findall(r"```python\n(.*?)```", _PAGE, re.DOTALL)


class _Existing(nn.Module):
    """A model with a list of layers under an unusual name."""

    def __init__(self, vocabulary: int, width: int, depth: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.stack = nn.ModuleList(PlainBlock(width) for _ in range(depth))


def _run(code: str, **names: Any) -> dict[str, Any]:
    exec(compile(code, "own-models.md", "exec"), names)
    return names


@torch.no_grad()
def test_fusion_in_a_model_of_ones_own_takes_five_lines_and_starts_as_the_identity() -> None:
    assert len(re.findall(r"# \d", _OWN)) == 5
    model = _run(_OWN)["Model"](vocabulary=50, width=32, depth=12).eval()
    x_BTD = model.embedding(tokens())
    for block in model.blocks:
        x_BTD = block(x_BTD)
    torch.testing.assert_close(model(tokens()), model.norm(x_BTD))
    model.fusion.get_parameter("weights.5").copy_(torch.tensor([2.0, 1.0]))
    assert not torch.allclose(model(tokens()), model.norm(x_BTD))


def test_list_of_layers_of_ones_own_is_given_by_its_path() -> None:
    fusion = _run(_LIST, Existing=_Existing)["fusion"]
    assert [site.block for site in fusion.wiring] == [5]


@pytest.fixture
def host_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved host of twelve layers, and a working folder in which it is `models/host`."""
    monkeypatch.chdir(tmp_path)
    tiny_host("llama", num_hidden_layers=12).save_pretrained(tmp_path / "models" / "host")
    return tmp_path / "models"


def test_model_of_transformers_is_trained_saved_restored_and_plain_again(host_folder: Path) -> None:
    batch = {"input_ids": tokens(), "attention_mask": torch.ones_like(tokens())}
    names = _run(_TRANSFORMERS, batches=[batch, batch], prompt=batch)
    assert names["text"].shape == (2, 27)
    assert (host_folder / "tuned" / "config.json").exists()
    assert not any("depthweave" in key for key in names["model"].state_dict())


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.* is deprecated:FutureWarning")
def test_adapter_and_fusion_are_saved_and_loaded_together(host_folder: Path) -> None:
    pytest.importorskip("peft", reason="pip install depthweave[dev]")
    model = _run(_ADAPTERS)["model"]
    with torch.no_grad():
        assert model(tokens()).logits.shape == (2, 7, 31)
    assert any("depthweave.modules_to_save" in key for key in model.state_dict())
