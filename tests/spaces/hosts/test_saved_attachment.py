"""Attached fusions in folders: written with the host or alone, attached again, and refused where they do not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from depthweave.spaces import attach, detach, restore, save_fusion
from tests.spaces.hosts.tiny_hosts import (
    FAMILIES,
    FUSION_NAMES,
    LAYER_PATHS,
    PlainBlock,
    PlainModel,
    draw,
    tiny_host,
    tokens,
)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_saved_model_computes_the_same_once_its_fusion_is_restored(family: str, tmp_path: Path) -> None:
    model = tiny_host(family)
    for number, name in enumerate(FUSION_NAMES):
        fusion = attach(model, name, "2x2")
        draw(fusion)
        # Shards of a few kilobytes: the fusion's weights are in several files, or in one of many.
        size = "3KB" if number % 2 else "1GB"
        model.save_pretrained(tmp_path / name, max_shard_size=size)
        assert (tmp_path / name / "model.safetensors.index.json").exists() == (size == "3KB")
        again = type(model).from_pretrained(tmp_path / name).eval()
        assert not any("depthweave" in key for key in again.state_dict())
        restored = restore(again, tmp_path / name)
        assert torch.equal(again(tokens()).logits, model(tokens()).logits)
        assert restored.wiring == fusion.wiring
        assert again.config.depthweave == model.config.depthweave
        assert again.config.depthweave["rule"] == "2x2"
        detach(model)


@torch.no_grad()
def test_fusion_of_a_model_with_a_head_is_restored_below_another_head(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = tiny_host("llama")
    draw(attach(model, "dwa", "1x1"))
    model.save_pretrained(tmp_path)
    base = transformers.AutoModel.from_pretrained(tmp_path).eval()
    restore(base, tmp_path)
    expected = model.model(tokens()).last_hidden_state
    assert torch.equal(base(tokens()).last_hidden_state, expected)
    # Attached to the inner model, the names in the file begin with its name.
    detach(model)
    draw(attach(model.model, "dwa", "1x1"))
    model.save_pretrained(tmp_path / "inner")
    assert "model.depthweave.weights.4" in load_file(tmp_path / "inner" / "model.safetensors")
    whole = type(model).from_pretrained(tmp_path / "inner").eval()
    restore(whole, tmp_path / "inner")
    assert torch.equal(whole(tokens()).logits, model(tokens()).logits)


@torch.no_grad()
def test_bfloat16_host_is_saved_with_a_float32_fusion(tmp_path: Path) -> None:
    # A host without rotary positions: `bfloat16()` rounds their table, which loading does not.
    model = tiny_host("gpt2").bfloat16()
    draw(attach(model, "dwa", "1x1"))
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    assert again.dtype == torch.bfloat16
    assert {weight.dtype for weight in restore(again, tmp_path).parameters()} == {torch.float32}
    assert torch.equal(again(tokens()).logits, model(tokens()).logits)


@pytest.mark.parametrize("name", FUSION_NAMES)
@torch.no_grad()
def test_fusion_alone_is_one_small_file(name: str, tmp_path: Path) -> None:
    model = PlainModel()
    fusion = attach(model, name, "first:2", layers="blocks")
    draw(fusion)
    path = save_fusion(model, tmp_path / "new" / "folder")
    assert path.name == "depthweave.safetensors"
    assert {item.name for item in path.parent.iterdir()} == {path.name}
    held = sum(weight.numel() * weight.element_size() for weight in fusion.state_dict().values())
    assert path.stat().st_size < held + 16_000
    again = PlainModel()
    restore(again, path.parent)
    assert torch.equal(again(tokens()), model(tokens()))


@torch.no_grad()
def test_single_layers_and_a_given_width_are_found_again(tmp_path: Path) -> None:
    model, again = PlainModel(), PlainModel()
    for host in (model, again):
        for block in host.blocks:
            block.norm = nn.Identity()
    given = [model.blocks[0], model.blocks[2], model.blocks[3]]
    # Layer 2 runs outside of the list: its output is what layer 3 is given.
    draw(attach(model, "concat", "1x1", layers=given, width=16))
    save_fusion(model, tmp_path)
    restore(again, tmp_path)
    assert torch.equal(again(tokens()), model(tokens()))
    del again.depthweave
    other = PlainModel()
    other.blocks = nn.ModuleList(PlainBlock() for _ in range(3))
    with pytest.raises(ValueError, match=r"is attached to blocks\.3, which the PlainModel lacks$"):
        restore(other, tmp_path)


def _saved(folder: Path) -> Any:
    model = tiny_host("llama")
    draw(attach(model, "dwa", "1x1"))
    model.save_pretrained(folder)
    return detach(model) or model


def _edit_config(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "config.json"
        values = json.loads(path.read_text(encoding="utf-8"))
        values["depthweave"] = {**values["depthweave"], **changes}
        path.write_text(json.dumps(values), encoding="utf-8")

    return edit


def _edit_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return edit


_SITE = "depthweave.weights.2"
_FAULTS: list[tuple[Callable[[Path], object], str]] = [
    (_edit_config(version=2), r"config\.json: depthweave: version is 2: this Depthweave reads version 1"),
    (_edit_config(fusion="dwaa"), r"config\.json: depthweave: fusion 'dwaa' is not known: did you mean 'dwa'"),
    (_edit_config(fusion="hc2", sites=[[b, [b]] for b in range(1, 5)]), "fusion 'hc2' cannot be attached"),
    (_edit_config(depth=0), "depth is 0: it must be a whole number of at least 1"),
    (_edit_config(depth=6), "holds a fusion of 6 layers, and the LlamaForCausalLM has 4"),
    (_edit_config(width=8), "holds a fusion of width 8, and the LlamaForCausalLM has 16"),
    (_edit_config(sites=[[2, [0, 3]]]), r"the site after block 2 reads \[0, 3\]"),
    (_edit_config(sites=[[2, "all"]]), r"sites has \[2, 'all'\]: each is \[block, \[sources\]\]"),
    (_edit_config(sites=[[2, [2]]]), "has sites that change nothing for dwa"),
    (_edit_config(sites=[[2, [0, 2]]]), r"dwa of 4 layers: depthweave\.weights\.1 is too many"),
    (_edit_config(layers="model.stack"), "layers is 'model.stack', which is no part of the LlamaForCausalLM"),
    (_edit_weights(lambda held: held.pop(_SITE)), r"depthweave\.weights\.2 is missing"),
    (_edit_weights(lambda held: held.update({_SITE: torch.ones(2)})), r"has the shape \[2\], and dwa of 4 layers has"),
    (lambda folder: (folder / "model.safetensors").write_bytes(b"1234567"), r"model\.safetensors: cannot be read"),
    (lambda folder: (folder / "model.safetensors").unlink(), r"has no model\.safetensors"),
    (lambda folder: (folder / "config.json").write_text("{", encoding="utf-8"), "cannot be read as JSON"),
    (lambda folder: (folder / "config.json").write_text("{}", encoding="utf-8"), "describes no attached fusion"),
    (lambda folder: (folder / "config.json").unlink(), r"has no depthweave\.safetensors; give a folder that save_pre"),
]


def test_folder_that_does_not_fit_is_one_line_and_attaches_nothing(tmp_path: Path) -> None:
    model = _saved(tmp_path / "good")
    for number, (damage, message) in enumerate(_FAULTS):
        folder = tmp_path / str(number)
        folder.mkdir()
        for file in ("config.json", "model.safetensors"):
            (folder / file).write_bytes((tmp_path / "good" / file).read_bytes())
        damage(folder)
        with pytest.raises(ValueError, match=message) as caught:
            restore(model, folder)
        assert str(caught.value).startswith((str(folder), "layers is"))
        assert "\n" not in str(caught.value)
        assert not any("depthweave" in key for key in model.state_dict())
    restore(model, tmp_path / "good")
    with pytest.raises(ValueError, match="has an attached fusion: detach it first"):
        restore(model, tmp_path / "good")


def test_index_that_leads_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    model = _saved(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path.parent / "other.safetensors")
    index = {"weight_map": {f"depthweave.weights.{number}": "../other.safetensors" for number in range(1, 5)}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(ValueError, match=r"names the file '\.\./other\.safetensors': the files are beside it"):
        restore(model, tmp_path)
    for values, message in (
        ({}, "has no weight_map"),
        ({"weight_map": {_SITE: "gone"}}, "no such file, and the index"),
    ):
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(values), encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            restore(model, tmp_path)


def test_folder_that_is_missing_or_an_adapters_is_one_line(tmp_path: Path) -> None:
    model = PlainModel()
    with pytest.raises(ValueError, match="gone: no such folder; give a folder that save_pretrained"):
        restore(model, tmp_path / "gone")
    with pytest.raises(ValueError, match=r"^folder is empty: give a name"):
        restore(model, "")
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="holds an adapter: attach the fusion as before it was trained"):
        restore(model, tmp_path)
    with pytest.raises(ValueError, match=r"^the PlainModel has no attached fusion: attach one first$"):
        save_fusion(model, tmp_path)
    (tmp_path / "depthweave.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ")
    with pytest.raises(ValueError, match=r"depthweave\.safetensors: depthweave: is None: it has fusion"):
        restore(model, tmp_path)


def test_every_family_has_its_list_in_the_saved_names(tmp_path: Path) -> None:
    model = tiny_host("bert")
    attach(model, "dwa", "1x1", layers=LAYER_PATHS["bert"])
    assert model.config.depthweave["layers"] == "bert.encoder.layer"
    model.save_pretrained(tmp_path)
    restore(type(model).from_pretrained(tmp_path), tmp_path)
