"""The strided control: the same fusion, with the dilation and period that make about as many connections."""

from __future__ import annotations

import pytest

from depthweave.spaces.skip_connections import num_skip_connections
from depthweave.spaces.space import Axes, Candidate, SearchSpace, enumerate_space
from depthweave.spaces.strided_control import strided_control


def _space(*wirings: str) -> SearchSpace:
    return enumerate_space(
        Axes(
            fusions=("none", "dwa", "mudd", "hc2"),
            dilations=(),
            periods=(),
            wirings=wirings,
            depths=(6, 12),
            budgets=(300_000,),
            vocabulary=256,
            context=128,
            head_width=16,
        )
    )


def _candidate(space: SearchSpace, fusion: str, rule: str) -> Candidate:
    return next(
        item
        for item in space
        if (item.architecture.fusion, str(item.rule), item.architecture.depth) == (fusion, rule, 12)
    )


@pytest.mark.parametrize(("rule", "control"), [("first:2", "1x4"), ("window:8", "1x1"), ("embed", "4x4")])
def test_control_has_the_fusion_and_about_as_many_connections(rule: str, control: str) -> None:
    # At 12 blocks: 23, 63 and 12 skip connections; strided 78 (1x1), 24 (1x4) and 6 (4x4).
    space = _space("1x1", "1x4", "4x4", "first:2", "window:8", "embed")
    member = _candidate(space, "mudd", rule)
    found = strided_control(space, member)
    assert found is not None
    assert found.architecture.id == _candidate(space, "mudd", control).architecture.id
    distances = {
        it: abs(
            num_skip_connections(_candidate(space, "mudd", it).architecture.wiring)
            - num_skip_connections(member.architecture.wiring)
        )
        for it in ("1x1", "1x4", "4x4")
    }
    assert distances[control] == min(distances.values())


def test_strided_plain_and_single_wirings_have_none() -> None:
    space = _space("1x1", "1x4", "first:2")
    strided = [_candidate(space, "dwa", "1x4"), space.plain()]
    streams = [item for item in space if item.architecture.fusion == "hc2"]
    assert {strided_control(space, item) for item in [*strided, *streams]} == {None}


def test_space_without_strides_has_none() -> None:
    space = _space("first:2", "window:6")
    assert strided_control(space, _candidate(space, "dwa", "first:2")) is None
