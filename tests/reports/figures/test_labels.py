"""Labels find room or stay away."""

from __future__ import annotations

from depthweave.reports.figures.labels import Label, place_labels

UNIT = {"x_range": (0.0, 1.0), "y_range": (0.0, 1.0), "width_px": 400.0, "height_px": 300.0}


def _place(points: list[tuple[float, float]], **lines: object) -> list[Label]:
    return place_labels(points, ["label"] * len(points), **UNIT, **lines)  # type: ignore[arg-type]


def test_place_labels_alone_is_up_and_right() -> None:
    (label,) = _place([(0.5, 0.5)])
    assert label.x_shift_px > 0
    assert label.y_shift_px > 0


def test_place_labels_near_the_right_edge_turns_left() -> None:
    (label,) = _place([(0.99, 0.5)])
    assert label.x_shift_px < 0


def test_place_labels_avoids_a_line() -> None:
    (label,) = _place([(0.5, 0.5)], lines=[((0.5, 0.53), (1.0, 0.53))])
    assert not (label.x_shift_px > 0 and 0 < label.y_shift_px < 20)


def test_place_labels_without_room_leaves_out() -> None:
    crowd = [(0.5 + 0.01 * i, 0.5 + 0.01 * j) for i in range(-6, 7) for j in range(-6, 7)]
    assert len(_place(crowd)) < len(crowd)
    assert _place([(0.5, 0.5)], others=[(x / 50, y / 50) for x in range(51) for y in range(51)]) == []
