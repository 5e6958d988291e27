"""Adapters of PEFT beside an attached fusion: trained together, saved together, in either order."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from depthweave.spaces import attach, detach, restore, save_fusion
from tests.spaces.hosts.tiny_hosts import draw, tiny_host, tokens

peft = pytest.importorskip("peft", reason="pip install depthweave[dev]")

# PEFT asks for it by the name that is deprecated by now.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.* is deprecated:FutureWarning")


def _step(model: Any) -> None:
    optimizer = torch.optim.SGD([item for item in model.parameters() if item.requires_grad], lr=0.5)
    model(tokens(), labels=tokens()).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def _logits(model: Any) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(tokens()).logits
    return logits


def _adapted(model: Any) -> Any:
    config = peft.LoraConfig(target_modules=["q_proj", "v_proj"], modules_to_save=["depthweave"], r=2)
    return peft.get_peft_model(model, config).eval()


@pytest.mark.parametrize("name", ["dwa", "dwatt"])
def test_adapter_trains_and_saves_the_fusion_with_it(name: str, tmp_path: Path) -> None:
    base = tiny_host("llama")
    plain = _logits(base)
    attach(base, name, "1x2")
    fresh = copy.deepcopy(base)
    model = _adapted(base)
    assert torch.equal(_logits(model), plain)
    trained = [key for key, item in model.named_parameters() if item.requires_grad]
    assert any("depthweave.modules_to_save" in key for key in trained)
    assert not any("original_module" in key for key in trained)
    _step(model)
    expected = _logits(model)
    moved = {key: item for key, item in model.named_parameters() if "depthweave.modules_to_save" in key}
    assert any(not torch.equal(item, dict(base.named_parameters())[_original(key)]) for key, item in moved.items())
    with model.disable_adapter():
        assert torch.equal(_logits(model), plain)
    model.save_pretrained(tmp_path / "adapter")
    again = peft.PeftModel.from_pretrained(fresh, tmp_path / "adapter").eval()
    torch.testing.assert_close(_logits(again), expected)

    save_fusion(model, tmp_path / "alone")
    merged = again.merge_and_unload()
    torch.testing.assert_close(_logits(merged), expected, rtol=1e-4, atol=1e-4)
    merged.save_pretrained(tmp_path / "merged")
    for folder in ("merged", "alone"):
        loaded = type(base).from_pretrained(tmp_path / "merged").eval()
        restore(loaded, tmp_path / folder)
        torch.testing.assert_close(_logits(loaded), expected, rtol=1e-4, atol=1e-4)


def _original(key: str) -> str:
    return key.removeprefix("base_model.model.").replace("modules_to_save.default", "original_module")


def test_fusion_attached_to_an_adapted_model_is_a_part_of_its_base(tmp_path: Path) -> None:
    base = tiny_host("llama")
    model = peft.get_peft_model(base, peft.LoraConfig(target_modules=["q_proj"], r=2)).eval()
    plain = _logits(model)
    fusion = attach(model, "dwa", "1x1")
    assert base.depthweave is fusion
    assert torch.equal(_logits(model), plain)
    before = {key: item.clone() for key, item in fusion.state_dict().items()}
    _step(model)
    assert any(not torch.equal(item, before[key]) for key, item in fusion.state_dict().items())
    expected = _logits(model)
    merged = model.merge_and_unload()
    merged.save_pretrained(tmp_path)
    loaded = type(base).from_pretrained(tmp_path).eval()
    restore(loaded, tmp_path)
    torch.testing.assert_close(_logits(loaded), expected, rtol=1e-4, atol=1e-4)
    detach(merged)


@torch.no_grad()
def test_adapted_model_with_a_fusion_generates_with_its_cache() -> None:
    base = tiny_host("qwen3")
    draw(attach(base, "mudd", "1x1"))
    model = _adapted(base)
    options = {"max_new_tokens": 5, "do_sample": False, "attention_mask": torch.ones_like(tokens())}
    cached = model.generate(input_ids=tokens(), use_cache=True, **options)
    assert torch.equal(cached, model.generate(input_ids=tokens(), use_cache=False, **options))
