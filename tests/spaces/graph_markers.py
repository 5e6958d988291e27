"""Marks in autograd's graph that are alive as long as the graph is."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor


class _Mark:
    """An object that may have weak references."""


class _Marked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, mark: _Mark) -> Tensor:
        ctx.mark = mark
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class GraphMarkers:
    """Puts a mark behind tensors, and counts the marks whose graphs are still alive."""

    def __init__(self) -> None:
        self._marks: list[weakref.ref[_Mark]] = []

    def behind(self, tensor: Tensor) -> Tensor:
        """Returns the same values, whose graph holds a new mark."""
        mark = _Mark()
        self._marks.append(weakref.ref(mark))
        marked: Tensor = _Marked.apply(tensor, mark)
        return marked

    def __len__(self) -> int:
        """Returns the number of all marks."""
        return len(self._marks)

    @property
    def num_alive(self) -> int:
        """How many of them have a graph that was not freed."""
        return sum(mark() is not None for mark in self._marks)
