"""Competing implementations of depth averages on a GPU, each in the place of a model's own fusion.

Axes: B batch, T tokens, D width, S sources of a site.

`ours` is the package's. `loop` is a list of states and a sum that autograd traces; ours must not need more memory for
the backward pass. `official` is the DenseFormer authors' module, if their package `denseformer` can be imported.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from torch import Tensor, nn

from depthweave.spaces.decoder import Decoder
from depthweave.spaces.fusions import KeptStates, Observe
from depthweave.spaces.fusions.averaging import weighted_sum
from depthweave.spaces.fusions.fusion import Reader

Replace = Callable[[Decoder], None]
"""Puts another implementation in the place of a model's depth averages, with the same weights."""


class _Loop(nn.Module):
    """A weighted sum of listed states a site."""

    carries_residual, value_source = False, 0

    def __init__(self, fusion: nn.Module) -> None:
        super().__init__()
        self.wiring, self.weights = fusion.wiring, fusion.weights

    def open(self, *, observe: Observe | None = None) -> Reader:
        return _LoopReader(self)

    def connection_parameters(self) -> list[nn.Parameter]:
        return list(self.weights.values())


class _LoopReader:
    def __init__(self, loop: _Loop) -> None:
        self._weights, self._states = loop.weights, KeptStates(loop.wiring)

    def advance(self, block: int, state_BTD: Tensor) -> Tensor:
        states = self._states.take(block, state_BTD)
        return weighted_sum(self._weights[str(block)], states) if states else state_BTD


class _Official(nn.Module):
    """The DenseFormer authors' module, which numbers blocks from 0 and takes the embedding apart from them."""

    def __init__(self, model: Decoder, *, dilation: int, period: int) -> None:
        super().__init__()
        from denseformer import DWAModules

        self.module: Any = DWAModules(model.architecture.depth, dilation=dilation, period=period)

    def open(self, *, observe: Observe | None = None) -> Reader:
        return _OfficialReader(self.module)

    def connection_parameters(self) -> list[nn.Parameter]:
        return list(self.module.parameters())


class _OfficialReader:
    def __init__(self, module: Any) -> None:
        self._module = module

    def advance(self, block: int, state_BTD: Tensor) -> Tensor:
        if block == 0:
            self._module.init_accumulators(state_BTD)
            return state_BTD
        mixed_BTD: Tensor = self._module(state_BTD, block_idx=block - 1)
        return mixed_BTD


def has_official() -> bool:
    """Whether the authors' package can be imported."""
    return find_spec("denseformer") is not None


def loop(model: Decoder) -> None:
    """The loop in the place of the model's own."""
    model.fusion = _Loop(model.fusion)  # type: ignore[assignment]


def official(dilation: int, period: int) -> Replace:
    """The authors' module in the place of the model's own."""

    def replace(model: Decoder) -> None:
        model.fusion = _Official(model, dilation=dilation, period=period)  # type: ignore[assignment]

    return replace
