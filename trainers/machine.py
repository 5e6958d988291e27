"""Which device to train on, what it supports, and the name of the hardware."""

from __future__ import annotations

import dataclasses
import gc
import os
import platform
import shutil
import warnings
from pathlib import Path

import torch

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.costs import costs_of
from depthweave.trainers.recipe import Recipe

_COMPILERS = ("g++", "c++", "clang++", "cl")


def pick_device(name: str = "auto") -> torch.device:
    """Returns the named device. `auto` is CUDA where it is available, else MPS, else the CPU.

    Raises a one-line `ValueError` for a device that this machine lacks.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device is {name!r}; it can be auto, cpu, cuda, cuda:N or mps") from None
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(device.type, False):
        raise ValueError(f"device is {name!r}, which this machine does not have; use auto or cpu")
    return device


def check_can(device: torch.device, *, recipe: Recipe) -> None:
    """Raises a one-line `ValueError` where the device cannot do what the recipe asks. There is no silent fallback."""
    if recipe.precision == "bfloat16" and device.type == "cuda" and not _has_bfloat16(device):
        raise ValueError(f"recipe.precision is bfloat16, which {hardware(device)} cannot do; use float32 or auto")
    if recipe.compile and device.type == "mps":
        raise ValueError("recipe.compile is true, which device mps cannot do; use false")
    if recipe.compile and device.type == "cpu" and not _has_compiler():
        raise ValueError(
            "recipe.compile is true, which needs a C++ compiler on a CPU; install g++ or clang++, or use false"
        )


def check_room_for(architecture: Architecture) -> None:
    """Raises a one-line `ValueError` where the weights alone, in float32, exceed the memory of the machine."""
    if not hasattr(os, "sysconf"):
        return
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    costs = costs_of(architecture)
    wanted_bytes = 4 * (costs.parameters + costs.embedding_parameters)
    if memory_bytes > 0 and wanted_bytes > memory_bytes:
        raise ValueError(
            f"the weights of architecture {architecture.id} take {wanted_bytes / 1e9:,.0f} GB, this machine has "
            f"{memory_bytes / 1e9:,.0f} GB of memory: take a smaller width, depth or vocabulary"
        )


def with_precision(recipe: Recipe, *, device: torch.device) -> Recipe:
    """Returns the recipe with `auto` resolved: bfloat16 on CUDA devices that compute in it, else float32."""
    if recipe.precision != "auto":
        return recipe
    return dataclasses.replace(recipe, precision="bfloat16" if _has_bfloat16(device) else "float32")


def allow_tf32(device: torch.device) -> None:
    """Lets float32 matrix products use the tensor cores of a CUDA device: 10 bits of mantissa, the range of float32.

    Torch applies it to the whole process. On other devices nothing changes.
    """
    if device.type == "cuda":
        with warnings.catch_warnings():
            # Torch 2.9 to 2.12 recommend another API, but their compiler fails to read the precision once it is used.
            warnings.filterwarnings("ignore", message="Please use the new API settings to control TF32")
            torch.set_float32_matmul_precision("high")


def device_key(device: torch.device) -> str:
    """Returns a name of the device for all processes of the machine: its number depends on `CUDA_VISIBLE_DEVICES`."""
    if device.type == "cuda":
        return f"cuda-{torch.cuda.get_device_properties(device).uuid}"
    return device.type


def hardware(device: torch.device) -> str:
    """Returns the model name of the accelerator or the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _processor()


def synchronize(device: torch.device) -> None:
    """Waits until the device has finished its queued work; returns at once on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def free_memory(device: torch.device) -> None:
    """Frees unused cached memory of a CUDA device for other processes. On other devices nothing changes."""
    if device.type == "cuda":
        # Compiled models hold reference cycles.
        gc.collect()
        torch.cuda.empty_cache()


def _has_bfloat16(device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in (os.environ.get("CXX"), *_COMPILERS) if name)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
