"""Architectures: canonical identity, stable ids, and their plain form."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from depthweave.spaces.architecture import ID_LENGTH, Architecture
from depthweave.spaces.wiring import Site, Wiring, strided_wiring


def _architecture(fusion: str = "dwa", wiring: Wiring | None = None, **sizes: int) -> Architecture:
    given = {"width": 64, "heads": 2, "feed_forward": 256, "vocabulary": 256, "context": 128, **sizes}
    return Architecture(fusion=fusion, wiring=wiring or strided_wiring(4), **given)


# Ids written down on the day of the first release: a change of any of them orphans every record there is.
_GOLDEN_IDS = {
    "none": "15920758a0bd",
    "dwa": "43cfb5536c93",
    "dwatt": "17989781a50e",
    "concat": "14cd239d1c37",
}


@pytest.mark.parametrize(("fusion", "golden"), _GOLDEN_IDS.items())
def test_id_is_the_golden_one(fusion: str, golden: str) -> None:
    assert _architecture(fusion).id == golden


def test_id_of_a_strided_wiring_is_the_golden_one() -> None:
    assert _architecture("dwa", strided_wiring(12, dilation=4, period=5), width=96, heads=3).id == "e68fd784f224"


def test_id_is_the_hash_of_the_plain_form() -> None:
    for architecture in (_architecture(), _architecture("none"), _architecture("concat", strided_wiring(48))):
        text = json.dumps(architecture.to_dict(), sort_keys=True, separators=(",", ":"))
        assert architecture.id == hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


def test_id_is_the_same_in_another_process_with_another_hash_seed() -> None:
    architecture = _architecture("dwa", strided_wiring(7, dilation=3, period=2))
    program = (
        "import json, sys; from depthweave.spaces.architecture import Architecture;"
        "print(Architecture.from_dict(json.loads(sys.argv[1])).id)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, json.dumps(architecture.to_dict())],
        env={**os.environ, "PYTHONHASHSEED": "4242"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == architecture.id


def test_id_has_its_length_and_differs_with_every_field() -> None:
    start = _architecture()
    others = [
        start,
        _architecture("concat"),
        _architecture(wiring=strided_wiring(4, period=2)),
        _architecture(wiring=strided_wiring(5)),
        replace(start, width=128),
        replace(start, heads=4),
        replace(start, feed_forward=255),
        replace(start, vocabulary=257),
        replace(start, context=127),
    ]
    assert all(len(item.id) == ID_LENGTH and int(item.id, 16) >= 0 for item in others)
    assert len({item.id for item in others}) == len(others)
    assert len(set(others)) == len(others)


# Canonical identity: the same graph is the same architecture.


def test_same_graph_of_other_spelling_is_equal() -> None:
    # 4 blocks: every dilation from 4 on reads only its own block, except 4 at block 4.
    one = _architecture("dwa", strided_wiring(4, dilation=4, period=1))
    other = _architecture("dwa", strided_wiring(4, dilation=4, period=2))
    by_hand = _architecture("dwa", Wiring(4, (Site(4, (0, 4)),)))
    assert one == other == by_hand
    assert one.id == other.id == by_hand.id
    assert hash(one) == hash(other) == hash(by_hand)


def test_same_wiring_of_other_fusion_differs() -> None:
    assert _architecture("dwa") != _architecture("concat")
    assert _architecture("dwa").id != _architecture("concat").id


@pytest.mark.parametrize("fusion", ["dwa", "dwatt"])
def test_fusion_that_loses_all_sites_is_none(fusion: str) -> None:
    lone = _architecture(fusion, strided_wiring(4, dilation=5))
    assert lone == _architecture("none")
    assert (lone.fusion, lone.wiring, lone.id) == ("none", Wiring(4), _architecture("none").id)


def test_none_ignores_its_wiring() -> None:
    assert _architecture("none", strided_wiring(4)) == _architecture("none", Wiring(4))


def test_concat_keeps_lone_sites_because_a_map_of_the_own_block_is_not_a_scale() -> None:
    lone = _architecture("concat", strided_wiring(4, dilation=5))
    assert [site.sources for site in lone.wiring] == [(1,), (2,), (3,), (4,)]


def test_architecture_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        _architecture().width = 32  # type: ignore[misc]  # what is tested


# Plain form.


@pytest.mark.parametrize("fusion", _GOLDEN_IDS)
@pytest.mark.parametrize("wiring", [strided_wiring(6), strided_wiring(6, dilation=4), Wiring(6, (Site(3, (0, 2, 3)),))])
def test_from_dict_reads_what_to_dict_wrote_through_json(fusion: str, wiring: Wiring) -> None:
    architecture = _architecture(fusion, wiring)
    again = Architecture.from_dict(json.loads(json.dumps(architecture.to_dict())))
    assert again == architecture
    assert again.id == architecture.id
    assert again.to_dict() == architecture.to_dict()


@pytest.mark.parametrize("name", list(_architecture().to_dict()))
def test_from_dict_names_a_missing_field(name: str) -> None:
    values = _architecture().to_dict()
    del values[name]
    with pytest.raises(ValueError, match=rf"^architecture\.{name} is missing"):
        Architecture.from_dict(values)


def test_from_dict_names_an_unknown_field() -> None:
    with pytest.raises(
        ValueError,
        match=r"^field 'architecture\.widht' is not known: did you mean 'architecture\.width'\? Known: .*width",
    ):
        Architecture.from_dict({**_architecture().to_dict(), "widht": 64})


@pytest.mark.parametrize("name", ["depth", "width", "heads", "feed_forward", "vocabulary", "context"])
@pytest.mark.parametrize("value", ["64", 64.0, True, None, [64]])
def test_from_dict_refuses_what_is_no_whole_number(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^architecture\.{name} is .*: it must be a whole number$"):
        Architecture.from_dict({**_architecture().to_dict(), name: value})


@pytest.mark.parametrize(
    "sites", ["ab", None, 3, {}, [3], [[1]], [[1, 1]], ["ab"], [[1, ["x", 1]]], [[1, [0.5, 1]]], [[True, [0, 1]]]]
)
def test_from_dict_refuses_sites_that_are_no_sites(sites: Any) -> None:
    with pytest.raises(ValueError, match=r"^architecture\.sites is .*must be a list of \[block, \[sources\]\]"):
        Architecture.from_dict({**_architecture().to_dict(), "sites": sites})


def test_from_dict_names_the_nearest_fusion() -> None:
    with pytest.raises(ValueError, match=r"^fusion 'dwat' is not known: did you mean 'dwatt'\? Known: none, dwa"):
        Architecture.from_dict({**_architecture().to_dict(), "fusion": "dwat"})


@pytest.mark.parametrize("name", ["width", "heads", "feed_forward", "vocabulary", "context"])
@pytest.mark.parametrize("value", [0, -1])
def test_architecture_refuses_sizes_below_1(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"^architecture\.{name} is {value}: it must be at least 1$"):
        Architecture.from_dict({**_architecture().to_dict(), name: value})


@pytest.mark.parametrize(("width", "heads"), [(64, 3), (63, 1), (66, 22), (2, 2)])
def test_architecture_refuses_heads_of_odd_width(width: int, heads: int) -> None:
    # 66 by 22 heads is 3 a head: a head's features turn in pairs.
    with pytest.raises(ValueError, match=rf"^architecture\.width is {width} with {heads} heads: .* {2 * heads}, twice"):
        _architecture(width=width, heads=heads)
