"""Places labels beside points so that no label covers another label, a point or a line.

Pixels count from the lower left corner of the plot. The placement is greedy: in the given order, each label takes the
first of eight places around its point that is free. A label without a free place is left out; the hover text has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_CHARACTER_PX = 6.6
_LINE_PX = 15.0
_POINT_PX = 7.0
"""Half the side of the square around a point that labels must not cover."""
_GAP_PX = 9.0
_LINE_HALF_PX = 2.0
_PLACES = ((1, 1), (-1, -1), (1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, 1))
"""Directions from the point as (right, up), the most readable first."""


class Label(NamedTuple):
    """A label. The centre of its box is shifted by pixels from the point at (`x`, `y`) in data units."""

    x: float
    y: float
    text: str
    x_shift_px: float
    y_shift_px: float


class _Box(NamedTuple):
    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: _Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top
        )


def place_labels(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    *,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    width_px: float,
    height_px: float,
    others: Sequence[tuple[float, float]] = (),
    lines: Sequence[tuple[tuple[float, float], tuple[float, float]]] = (),
) -> list[Label]:
    """Returns labels for as many points as have room. `others` are points without labels that must stay visible.

    `lines` are vertical or horizontal segments that no label may cross.
    """

    def pixels(point: tuple[float, float]) -> tuple[float, float]:
        return (
            (point[0] - x_range[0]) / ((x_range[1] - x_range[0]) or 1.0) * width_px,
            (point[1] - y_range[0]) / ((y_range[1] - y_range[0]) or 1.0) * height_px,
        )

    taken = [_around(pixels(point), _POINT_PX, _POINT_PX) for point in (*points, *others)]
    line_boxes = [_along(pixels(begin), pixels(end)) for begin, end in lines]
    placed = []
    for own, (point, text) in enumerate(zip(points, texts, strict=True)):
        half_width, half_height = len(text) * _CHARACTER_PX / 2, _LINE_PX / 2
        x, y = pixels(point)
        for right, up in _PLACES:
            x_shift = right * (half_width + _GAP_PX)
            # A label at a corner can be nearer to the point than one directly above it.
            y_shift = up * (half_height + (_GAP_PX if right == 0 else 2.0))
            box = _around((x + x_shift, y + y_shift), half_width, half_height)
            inside = box.left >= 0 and box.right <= width_px and box.bottom >= 0 and box.top <= height_px
            free = not any(box.overlaps(it) for index, it in enumerate(taken) if index != own)
            if inside and free and not any(box.overlaps(it) for it in line_boxes):
                taken.append(box)
                placed.append(Label(point[0], point[1], text, x_shift, y_shift))
                break
    return placed


def _around(centre: tuple[float, float], half_width: float, half_height: float) -> _Box:
    x, y = centre
    return _Box(x - half_width, y - half_height, x + half_width, y + half_height)


def _along(begin: tuple[float, float], end: tuple[float, float]) -> _Box:
    xs, ys = sorted((begin[0], end[0])), sorted((begin[1], end[1]))
    return _Box(xs[0] - _LINE_HALF_PX, ys[0] - _LINE_HALF_PX, xs[1] + _LINE_HALF_PX, ys[1] + _LINE_HALF_PX)
