"""The strided control of an architecture: what a wiring beyond dilation and period has to beat."""

from __future__ import annotations

from depthweave.spaces.single_wirings import has_one_wiring
from depthweave.spaces.skip_connections import num_skip_connections
from depthweave.spaces.space import Candidate, SearchSpace


def strided_control(space: SearchSpace, candidate: Candidate) -> Candidate | None:
    """Returns the same fusion at the same depth and budget with the dilation and period that make the most similar
    number of skip connections, the larger of two.

    `None` for a candidate with dilation and period itself, for one whose fusion has a single wiring, and where the
    space has no such architecture.
    """
    own = candidate.architecture
    if not own.wiring.sites or has_one_wiring(own.fusion) or _is_strided(candidate):
        return None
    wanted = num_skip_connections(own.wiring)

    def distance(item: Candidate) -> tuple[int, int, str]:
        number = num_skip_connections(item.architecture.wiring)
        return abs(number - wanted), -number, str(item.rule)

    strided = (
        item
        for item in space
        if (item.architecture.fusion, item.architecture.depth, item.budget) == (own.fusion, own.depth, candidate.budget)
        and _is_strided(item)
    )
    return min(strided, key=distance, default=None)


def _is_strided(candidate: Candidate) -> bool:
    return any(rule.is_plain_stride for rule in candidate.spellings)
