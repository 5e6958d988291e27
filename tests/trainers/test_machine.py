"""Devices: `auto` finds one, one that is not there is named, and what it cannot do is refused."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
import torch

from depthweave.trainers.machine import check_can, hardware, pick_device
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
