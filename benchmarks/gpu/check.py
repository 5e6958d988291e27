"""Checks that everything in a search is correct on this device. The part `check`; also the tests marked `gpu`.

Each check raises `AssertionError` with its finding, or returns its figures. References are computed in float32 on the
CPU, on inputs and weights drawn for the check.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.gpu.ledger import Ledger, Values
from benchmarks.gpu.sizes import Shape, Sizes
from benchmarks.gpu.triton_panels import agrees, has_triton
from benchmarks.gpu.work import random_tokens
from depthweave.spaces import Architecture, strided_wiring
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.decoding_cache import DecodingCache
from depthweave.spaces.fusions import FUSIONS
from depthweave.trainers import Recipe, TrainingState, measure_in_turn, train
from depthweave.trainers.batches import draw_batch
from depthweave.trainers.device_lock import DeviceLock
from depthweave.trainers.machine import free_memory, synchronize, with_precision
from depthweave.trainers.memory import counted_peak, peak_memory
from depthweave.trainers.optimisation import TrainingStep, make_optimizer

MAX_BFLOAT16_ERROR = 0.03
"""Largest error of logits and gradients, relative to the reference's norm: bfloat16 has 8 bits."""
MAX_TF32_ERROR = 3e-3
"""TF32 has 11."""
_PLAIN_AT_START = [name for name, made in FUSIONS.items() if made.starts_as_identity]
_ONE_OF_EACH_FILE = tuple({made.__module__: name for name, made in FUSIONS.items()}.values())
"""Fusions of one file share their code, and compiling takes seconds."""

_COMPILED_S, _COMPILED_DEPTH = 15.0, 4

Check = Callable[[Shape, torch.device], Values]


def run(ledger: Ledger, *, sizes: Sizes, device: torch.device, out: Path) -> None:
    """All checks, one after the other."""
    for name, check in CHECKS.items():
        needs_s = _COMPILED_S if name.endswith(", compiled") else 0.0
        ledger.measure(name, partial(check, sizes.check, device), needs_s=needs_s)


def _agrees(fusion: str, *, compiled: bool) -> Check:
    """Logits and gradients against float32 on the CPU, in the precision that the device trains in."""

    def check(shape: Shape, device: torch.device) -> Values:
        recipe = with_precision(_recipe(shape), device=device)
        if compiled:
            # Each block takes the compiler seconds.
            shape = dataclasses.replace(shape, depth=min(shape.depth, _COMPILED_DEPTH))
        logits, gradients = {}, {}
        for name, place in (("expected", torch.device("cpu")), ("found", device)):
            model = _away_from_start(Decoder(_architecture(fusion, shape), seed=1)).to(place)
            own = recipe if name == "found" else dataclasses.replace(recipe, precision="float32")
            step = TrainingStep(model, optimizer=make_optimizer(model, recipe=own), recipe=own)
            call = torch.compile(model) if compiled and name == "found" else model
            tokens_BT = _tokens(shape).to(place)
            with step.autocast():
                logits_BTV = call(tokens_BT[:, :-1])
            loss = torch.nn.functional.cross_entropy(logits_BTV.float().flatten(0, 1), tokens_BT[:, 1:].flatten())
            loss.backward()
            logits[name] = logits_BTV.detach().float().cpu()
            gradients[name] = torch.cat([item.grad.float().flatten().cpu() for item in model.parameters()])
        worst = MAX_BFLOAT16_ERROR if recipe.precision == "bfloat16" else MAX_TF32_ERROR
        found = {
            "logits": _distance(logits["found"], logits["expected"]),
            "gradients": _distance(gradients["found"], gradients["expected"]),
        }
        assert all(error <= worst for error in found.values()), f"{found} of at most {worst}"
        return {**found, "precision": recipe.precision}

    return check


def traced_panels(shape: Shape, device: torch.device) -> Values:
    """The panels that the compiler gets from 400 connections on, at few blocks, against sums by hand on the CPU."""
    with patch("depthweave.spaces.fusions.dwa.MIN_CONNECTIONS", 0), patch(f"{__name__}._COMPILED_DEPTH", shape.depth):
        return _agrees("dwa", compiled=True)(shape, device)


def fresh_models_are_plain(shape: Shape, device: torch.device) -> Values:
    """Fresh models compute what the plain transformer does bit for bit, in float32 with TF32 and under autocast."""
    recipe = _recipe(shape)
    tokens_BT = _tokens(shape).to(device)[:, :-1]
    for precision in ("float32", "bfloat16"):
        outputs = {}
        for fusion in _PLAIN_AT_START:
            model = Decoder(_architecture(fusion, shape), seed=1).to(device)
            own = dataclasses.replace(recipe, precision=precision)
            step = TrainingStep(model, optimizer=make_optimizer(model, recipe=own), recipe=own)
            with torch.no_grad(), step.autocast():
                outputs[fusion] = model(tokens_BT)
        different = [name for name, logits in outputs.items() if not torch.equal(logits, outputs["none"])]
        assert not different, f"{precision}: {', '.join(different)} differ from plain"
    return {"fusions": len(_PLAIN_AT_START)}


def cached_decoding(shape: Shape, device: torch.device) -> Values:
    """Token by token from a cache as all at once, of every fusion, in float32."""
    worst = 0.0
    tokens_BT = _tokens(shape).to(device)[:, :-1]
    for fusion in FUSIONS:
        model = _away_from_start(Decoder(_architecture(fusion, shape), seed=1)).to(device).eval()
        half = tokens_BT.shape[1] // 2
        with torch.no_grad():
            whole_BTV, cache = model(tokens_BT), DecodingCache()
            parts = [model(tokens_BT[:, :half], cache=cache)]
            parts += [model(tokens_BT[:, place : place + 1], cache=cache) for place in range(half, tokens_BT.shape[1])]
        worst = max(worst, _distance(torch.cat(parts, dim=1).cpu(), whole_BTV.cpu()))
    assert worst <= MAX_TF32_ERROR, f"logits differ by {worst}"
    return {"logits": worst}


def resumed_training(shape: Shape, device: torch.device) -> Values:
    """A training that was saved and loaded comes to the loss of one that was not."""
    recipe, tokens = (
        dataclasses.replace(_recipe(shape), steps=8, num_evaluations=2),
        random_tokens(shape, count=200_000),
    )
    architecture = _architecture("dwa", shape)
    whole = list(train(TrainingState.start(architecture, recipe=recipe, device=device), tokens))
    with tempfile.TemporaryDirectory() as folder:
        broken = TrainingState.start(architecture, recipe=recipe, device=device)
        list(train(broken, tokens, until_step=3))
        broken.save(Path(folder) / "state.pt")
        resumed = TrainingState.load(Path(folder) / "state.pt", device=str(device))
    again = list(train(resumed, tokens))
    apart = abs(again[-1].loss - whole[-1].loss)
    # Sums of gradients on a GPU have a different order every time.
    assert apart <= 1e-3, f"losses {whole[-1].loss} and {again[-1].loss}"
    return {"apart_nats": apart, "loss": whole[-1].loss}


def steps_wait_for_nothing(shape: Shape, device: torch.device) -> Values:
    """A training step never waits for the device: the next one is prepared while it computes."""
    recipe, tokens = _recipe(shape), random_tokens(shape, count=200_000)
    model = Decoder(_architecture("dwa", shape)).to(device)
    step = TrainingStep(model, optimizer=make_optimizer(model, recipe=recipe), recipe=recipe)
    step(*draw_batch(tokens.train, recipe=recipe, step=0, device=device), learning_rate=1e-3)
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        for number in range(1, 5):
            step(*draw_batch(tokens.train, recipe=recipe, step=number, device=device), learning_rate=1e-3)
    finally:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    synchronize(device)
    return {"steps": 4}


def out_of_memory(shape: Shape, device: torch.device) -> Values:
    """A model that does not fit fails with its cause in one line, and what it took is free for the next."""
    if device.type != "cuda":
        return {"skipped": "a CPU has no memory of its own to run out of"}
    # Before the count: the first products of a process leave their workspaces behind.
    resumed_training(shape, device)
    free_memory(device)
    before_bytes, room_bytes = torch.cuda.memory_allocated(device), torch.cuda.mem_get_info(device)[0]
    recipe = dataclasses.replace(_recipe(shape), batch=_too_many_sequences(shape, room_bytes=room_bytes))
    state = TrainingState.start(_architecture("dwa", shape), recipe=recipe, device=device)
    cause = ""
    try:
        list(train(state, random_tokens(shape, count=2 * recipe.tokens_per_step)))
    except torch.OutOfMemoryError as error:
        cause = str(error).splitlines()[0]
    del state
    free_memory(device)
    assert "out of memory" in cause, f"the cause is {cause!r}"
    left_bytes = torch.cuda.memory_allocated(device) - before_bytes
    assert left_bytes <= 0, f"{left_bytes} bytes stay"
    resumed_training(shape, device)
    return {"cause": cause}


def _too_many_sequences(shape: Shape, *, room_bytes: int) -> int:
    """One state of so many takes a quarter of the room, and the first block makes more than three before it attends:
    attention over so many sequences has other limits."""
    return room_bytes // (4 * 4 * shape.width * shape.context)


def measured_alone(shape: Shape, device: torch.device) -> Values:
    """While an architecture is measured, a training in another process that shares the device takes no step."""
    with tempfile.TemporaryDirectory() as folder:
        other = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu.neighbour", folder, str(device)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert other.stdout is not None
        steps: list[float] = []
        reader = threading.Thread(target=lambda: steps.extend(float(line) for line in other.stdout or ()))
        try:
            # The first line says that it trains.
            assert other.stdout.readline(), "the neighbour ended before its first step"
            reader.start()
            lock = _NotedLock(folder, device=device)
            (found,) = measure_in_turn(
                [_architecture("dwa", shape)],
                reference=_architecture("none", shape),
                recipe=_recipe(shape),
                device=device,
                time_limit_s=1.0,
                lock=lock,
            )
            time.sleep(0.5)
        finally:
            other.terminate()
            other.wait()
            if reader.ident is not None:
                reader.join()
    ((begin_s, end_s),) = lock.alone_from_to
    during = sum(begin_s < step < end_s for step in steps)
    after = sum(step > end_s for step in steps)
    if device.type != "cpu":
        assert not during, f"{during} steps of the neighbour during {end_s - begin_s:.2f} s of measurement"
    assert after, "the neighbour did not go on"
    return {"alone_s": end_s - begin_s, "waited_s": found.waited_s, "latency": found.latency, "steps_after": after}


class _NotedLock(DeviceLock):
    """Remembers from when to when it was held alone, by the wall's clock."""

    def __init__(self, folder: str, *, device: torch.device) -> None:
        super().__init__(folder, device=device)
        self.alone_from_to: list[tuple[float, float]] = []

    @contextmanager
    def exclusive(self) -> Iterator[float]:
        with super().exclusive() as waited_s:
            began_s = time.time()
            yield waited_s
            self.alone_from_to.append((began_s, time.time()))


def memory_is_the_processes_own(shape: Shape, device: torch.device) -> Values:
    """Peak memory as allocated beside the bytes that are counted: the figures belong together."""
    recipe = with_precision(_recipe(shape), device=device)
    architecture = _architecture("dwa", shape)
    counted, allocated = (
        counted_peak(architecture, recipe=recipe),
        peak_memory(architecture, recipe=recipe, device=device),
    )
    ratio = allocated.training_step_bytes / counted.training_step_bytes
    assert 0.5 <= ratio <= 2.0, f"allocated {allocated}, counted {counted}"
    return {"allocated_over_counted": ratio}


def triton_products(shape: Shape, device: torch.device) -> Values:
    """The kernel that competes with the panels' products computes them."""
    if device.type != "cuda" or not has_triton():
        return {"skipped": "Triton needs a GPU"}
    apart = agrees(device)
    assert apart <= 1e-5, f"sums differ by {apart}"
    return {"sums": apart}


CHECKS: dict[str, Check] = {
    **{f"{name}, eager": _agrees(name, compiled=False) for name in FUSIONS},
    "fresh models are plain": fresh_models_are_plain,
    "cached decoding": cached_decoding,
    "resumed training": resumed_training,
    "steps wait for nothing": steps_wait_for_nothing,
    "out of memory": out_of_memory,
    "triton products": triton_products,
    "memory": memory_is_the_processes_own,
    "measured alone": measured_alone,
    **{f"{name}, compiled": _agrees(name, compiled=True) for name in _ONE_OF_EACH_FILE},
    "dwa in panels, compiled": traced_panels,
}
"""By name, the quick ones first."""


def _architecture(fusion: str, shape: Shape) -> Architecture:
    period = 1 if fusion == "dwa" else shape.depth
    return shape.architecture(fusion, None if fusion == "none" else strided_wiring(shape.depth, period=period))


def _recipe(shape: Shape) -> Recipe:
    return Recipe(
        steps=40, batch=shape.batch, context=shape.context, num_evaluations=1, evaluation_tokens=4 * shape.context
    )


def _tokens(shape: Shape) -> Tensor:
    return torch.randint(shape.vocabulary, (shape.batch, shape.context + 1), generator=torch.Generator().manual_seed(0))


def _away_from_start(model: Decoder) -> Decoder:
    """Fusions as after a training, not at their identity start."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.fusion.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return model


def _distance(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference relative to the expected one's; a NaN never passes."""
    return float((found - expected).norm() / expected.norm())
