"""Shapes of heads: what they refuse, their plain form and their id."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from depthweave.spaces.heads import HeadShape, make_head
from tests.spaces.small_heads import SHAPES


@pytest.mark.parametrize("name", SHAPES)
def test_plain_form_survives_json(name: str) -> None:
    shape = SHAPES[name]
    again = HeadShape.from_dict(json.loads(json.dumps(shape.to_dict())))
    assert again == shape
    assert again.id == shape.id


def test_every_field_counts_for_the_id() -> None:
    shape = SHAPES["deeper encoder"]
    changes: dict[str, Any] = {
        "kind": "last",
        "depth": 6,
        "sources": (5, 6),
        "width": 32,
        "classes": 6,
        "inner": 25,
        "blocks": 3,
        "heads": 2,
        "causal": True,
        "scaled": False,
    }
    assert changes.keys() == shape.to_dict().keys()
    others = [replace(shape, **{name: value}) for name, value in changes.items() if name != "depth"]
    assert len({shape.id, replace(shape, depth=7, sources=(7,)).id, *(other.id for other in others)}) == 11


def test_id_is_the_same_in_every_process_and_version() -> None:
    shape = HeadShape(kind="dwatt", depth=6, sources=(0, 2, 4, 6), width=384, classes=13, inner=192)
    assert shape.id == "66b7a686fafe"


def test_fields_without_a_size_may_be_missing_in_the_plain_form() -> None:
    plain = {"kind": "last", "depth": 6, "sources": [6], "width": 16, "classes": 5}
    assert HeadShape.from_dict(plain) == SHAPES["last"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"depth": 0, "sources": (0,)}, "head.depth is 0: it must be at least 1"),
        ({"width": 0}, "head.width is 0: it must be at least 1"),
        ({"classes": -1}, "head.classes is -1: it must be at least 1"),
        ({"heads": 0}, "head.heads is 0: it must be at least 1"),
        ({"inner": -1}, "head.inner is -1: it must be at least 0"),
        ({"blocks": -1}, "head.blocks is -1: it must be at least 0"),
        ({"sources": ()}, "head.sources are \\[\\]: list states from 0 to 6 once each, ascending, ending with 6"),
        ({"sources": (0, 5)}, "head.sources are \\[0, 5\\]: list states from 0 to 6"),
        ({"sources": (2, 0, 6)}, "head.sources are \\[2, 0, 6\\]: list states from 0 to 6"),
        ({"sources": (-1, 6)}, "head.sources are \\[-1, 6\\]: list states from 0 to 6"),
    ],
)
def test_shape_that_cannot_be_is_refused_in_one_line(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}[^\n]*$"):
        replace(SHAPES["mix all"], **changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"width": None}, "head.width is None: it must be a whole number"),
        ({"width": True}, "head.width is True: it must be a whole number"),
        ({"sources": 6}, "head.sources is 6: it must be a list of whole numbers"),
        ({"sources": [0.5, 6]}, "head.sources is \\[0.5, 6\\]: it must be a list of whole numbers"),
        ({"causal": 1}, "head.causal is 1: it must be true or false"),
        ({"widht": 16}, "field 'head.widht' is not known: did you mean 'head.width'\\? Known: kind, depth"),
    ],
)
def test_faulty_plain_form_is_refused_in_one_line(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}[^\n]*$"):
        HeadShape.from_dict({**SHAPES["mix all"].to_dict(), **changed})


def test_missing_field_is_named() -> None:
    plain = SHAPES["mix all"].to_dict()
    del plain["sources"]
    with pytest.raises(ValueError, match=r"^head\.sources is missing: the fields are kind, depth, sources, width"):
        HeadShape.from_dict(plain)


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("dwatt all", {"sources": (6,)}, "head 'dwatt' reads state 6 alone: give at least two states"),
        ("mix all", {"sources": (6,)}, "head 'mix' reads state 6 alone: give at least two states"),
        ("last", {"sources": (0, 6)}, "head.sources are \\[0, 6\\]: the head 'last' reads state 6 alone"),
        ("concat all", {"inner": 0}, "head.inner is 0: it must be at least 1 for the head 'concat'"),
        ("deeper encoder", {"blocks": 0}, "head.blocks is 0: it must be at least 1 for the head 'deeper'"),
        ("deeper encoder", {"heads": 3}, "head.width is 16 with 3 heads: it must be a multiple of that"),
        ("last", {"kind": "lats"}, "head 'lats' is not known: did you mean 'last'\\?"),
    ],
)
def test_head_that_cannot_be_is_refused_in_one_line(name: str, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}[^\n]*$"):
        make_head(replace(SHAPES[name], **changed), seed=1)
