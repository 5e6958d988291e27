"""`depthweave measure`: what configurations cost on this machine, relative to the first of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.table import Table

from depthweave.search.console import Terminal, print_json
from depthweave.search.scratch import private_folder
from depthweave.spaces import Architecture, Wiring, costs_of, parse_rule, read_architecture
from depthweave.spaces.files import architecture_file
from depthweave.spaces.fusions import fusion_class
from depthweave.spaces.single_wirings import has_one_wiring
from depthweave.trainers import Kind, Measurement, Recipe, hardware, measure_in_turn, pick_device
from depthweave.trainers.device_lock import DeviceLock
from depthweave.trainers.machine import with_precision

_FUSION = re.compile(r"(?P<fusion>[a-z_0-9]+)(:(?P<rule>.+))?")
_LOCK_LIMIT_S = 600.0
"""Longest wait for other measurements on the device."""
_KINDS: tuple[Kind, ...] = ("forward", "step", "decode")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The sizes of configurations that are given as `none` or `FUSION:WIRING`."""

    depth: int
    width: int
    heads: int
    context: int


def measure_configurations(
    configurations: Sequence[str],
    *,
    sizes: Sizes,
    batch: int,
    precision: str,
    device: str,
    threads: int,
    time_limit_s: float,
    as_json: bool,
) -> None:
    """Measures the configurations in turn in one process, and prints a table; the first is the reference."""
    architectures = [_architecture(text, sizes=sizes) for text in configurations]
    torch_device = pick_device(device)
    if torch_device.type == "cpu":
        torch.set_num_threads(threads)
    contexts = {item.context for item in architectures}
    if len(contexts) > 1:
        raise ValueError(
            f"the contexts are {', '.join(map(str, sorted(contexts)))}: give configurations with one context"
        )
    recipe = Recipe(batch=batch, context=contexts.pop(), precision=precision)  # type: ignore[arg-type]
    measurements = measure_in_turn(
        architectures,
        reference=architectures[0],
        recipe=recipe,
        device=torch_device,
        time_limit_s=time_limit_s,
        lock=DeviceLock(private_folder() / "locks", device=torch_device, limit_s=_LOCK_LIMIT_S),
        kinds=_KINDS,
    )
    facts = {
        "hardware": hardware(torch_device),
        "device": torch_device.type,
        "threads": torch.get_num_threads() if torch_device.type == "cpu" else None,
        "batch": batch,
        "context": recipe.context,
        "precision": with_precision(recipe, device=torch_device).precision,
    }
    if as_json:
        rows = [
            {
                "configuration": text,
                "architecture_id": architecture.id,
                "parameters": costs_of(architecture).parameters,
                **asdict(item),
            }
            for text, architecture, item in zip(configurations, architectures, measurements, strict=True)
        ]
        print_json({**facts, "configurations": rows})
        return
    console = Terminal()
    console.show(_table(configurations, architectures, measurements))
    first = measurements[0]
    times = ", ".join(map(_milliseconds, (first.latency_s, first.step_latency_s, first.decode_latency_s)))
    conditions = ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)
    console.say(
        f"Times relative to {configurations[0]} ({times}), 95 % intervals, {first.rounds} rounds in turn; its own "
        f"forward times spread by {first.noise_frac:.0%} (interquartile range). MB: of a training step. {conditions}"
    )


def _table(
    configurations: Sequence[str], architectures: Sequence[Architecture], measurements: Sequence[Measurement]
) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("configuration", overflow="fold")
    for head in ("parameters", "MB", "forward", "training step", "token"):
        table.add_column(head, justify="right", no_wrap=True)
    for text, architecture, item in zip(configurations, architectures, measurements, strict=True):
        table.add_row(
            text,
            f"{costs_of(architecture).parameters:,}",
            f"{item.memory_bytes / 1e6:.1f}",
            _speed(item.latency, item.latency_low, item.latency_high),
            _speed(item.step_latency, item.step_latency_low, item.step_latency_high),
            _speed(item.decode_latency, item.decode_latency_low, item.decode_latency_high),
        )
    return table


def _speed(ratio: float | None, low: float | None, high: float | None) -> str:
    return f"{ratio:.3f} [{low:.2f}, {high:.2f}]"


def _milliseconds(seconds: float | None) -> str:
    assert seconds is not None
    return f"{1e3 * seconds:.3g} ms"


def _architecture(text: str, *, sizes: Sizes) -> Architecture:
    path = Path(text)
    if path.is_dir():
        return read_architecture(architecture_file(path))
    if path.suffix in (".yaml", ".yml") or path.exists():
        return read_architecture(path)
    matched = _FUSION.fullmatch(text)
    if text != "none" and has_one_wiring(text):
        # Any rule gives the same graph.
        matched = _FUSION.fullmatch(f"{text}:1x1")
    if matched is None or (matched["fusion"] != "none") != (matched["rule"] is not None):
        raise ValueError(
            f"{text}: give an export, its architecture.yaml, none, or FUSION:WIRING such as dwa:4x5 or dwa:first:2"
        )
    fusion_class(matched["fusion"])
    wiring = Wiring(sizes.depth) if matched["rule"] is None else parse_rule(matched["rule"]).wiring(sizes.depth)
    return Architecture(
        fusion=matched["fusion"],
        wiring=wiring,
        width=sizes.width,
        heads=sizes.heads,
        feed_forward=4 * sizes.width,
        vocabulary=256,
        context=sizes.context,
    )
