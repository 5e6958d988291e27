"""Devices: `auto` finds one, a missing one is named, and what a device cannot do is refused."""

from __future__ import annotations

import dataclasses
import shutil
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from depthweave.trainers.machine import allow_tf32, check_can, device_key, hardware, pick_device, with_precision
from depthweave.trainers.recipe import Recipe


def test_pick_device_auto_is_there() -> None:
    assert pick_device() == pick_device("auto")
    torch.zeros(1, device=pick_device())
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", ""])
def test_pick_device_of_one_that_is_not_there_names_it(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^device is '{name}'[^\n]*$"):
        pick_device(name)


def test_check_can_compile_without_a_compiler_says_what_is_missing(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = dataclasses.replace(recipe, compile=True)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=r"recipe\.compile is true, which needs a C\+\+ compiler"):
        check_can(torch.device("cpu"), recipe=compiled)
    check_can(torch.device("cpu"), recipe=dataclasses.replace(recipe, precision="bfloat16"))


def test_check_can_compile_on_mps_is_refused(recipe: Recipe) -> None:
    with pytest.raises(ValueError, match="device mps cannot do"):
        check_can(torch.device("mps"), recipe=dataclasses.replace(recipe, compile=True))


def test_hardware_of_the_cpu_has_a_name() -> None:
    assert hardware(torch.device("cpu"))


@pytest.mark.parametrize(("has_bfloat16", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_precision_auto_is_bfloat16_where_a_gpu_computes_in_it(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, has_bfloat16: bool, precision: str
) -> None:
    asked: list[bool] = []

    def is_supported(*, including_emulation: bool) -> bool:
        asked.append(including_emulation)
        return has_bfloat16

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    auto = dataclasses.replace(recipe, precision="auto")
    assert with_precision(auto, device=torch.device("cuda")) == dataclasses.replace(recipe, precision=precision)
    assert asked == [False], "emulated in software it is slower than float32"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_precision_that_is_named_stays(recipe: Recipe, precision: str) -> None:
    named = Recipe(**{**dataclasses.asdict(recipe), "precision": precision})
    assert with_precision(named, device=torch.device("cpu")) is named


def test_precision_auto_is_float32_on_a_cpu(recipe: Recipe) -> None:
    auto = dataclasses.replace(recipe, precision="auto")
    assert with_precision(auto, device=torch.device("cpu")).precision == "float32"


def test_tf32_is_for_cuda_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    precisions: list[str] = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", precisions.append)
    allow_tf32(torch.device("cpu"))
    assert precisions == []
    allow_tf32(torch.device("cuda"))
    assert precisions == ["high"]


def test_device_key_names_a_gpu_by_what_no_numbering_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1b2c"))
    assert device_key(torch.device("cuda:0")) == device_key(torch.device("cuda:3")) == "cuda-1b2c"
    assert device_key(torch.device("cpu")) == "cpu"
