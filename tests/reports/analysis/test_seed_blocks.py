"""Architecture, seed and noise of one size, taken apart where the answer is known."""

from __future__ import annotations

import pytest

from depthweave.reports.analysis.seed_blocks import Blocks, fit_blocks


def test_effects_of_whole_blocks_are_the_seeds_means() -> None:
    blocks = fit_blocks([{0: 1.0, 1: 1.4, 2: 1.2}, {0: 2.1, 1: 2.2, 2: 2.0}])
    # Means by seed 1.55, 1.8, 1.6.
    assert blocks.effects == pytest.approx({0: 0.0, 1: 0.25, 2: 0.05})
    assert blocks.degrees == 2


def test_fit_of_exact_sums_finds_them_though_cells_are_missing() -> None:
    mu, effect = [1.0, 1.3, 1.1], {0: 0.0, 1: 0.5, 2: -0.2}
    held = [(0, 1, 2), (0, 1), (1, 2)]
    losses = [{seed: mu[row] + effect[seed] for seed in seeds} for row, seeds in enumerate(held)]
    blocks = fit_blocks([*losses, {0: 9.0}])
    assert blocks.effects == pytest.approx(effect)
    assert blocks.degrees == 7 - 5
    assert blocks.residual == pytest.approx(0.0, abs=1e-20)


@pytest.mark.parametrize(
    "losses",
    [
        [],
        [{0: 1.0}, {0: 1.1}],
        [{0: 1.0, 1: 1.2, 2: 1.4}],
        [{0: 1.0, 1: 1.2}, {2: 1.0, 3: 1.1}],
    ],
)
def test_seeds_that_nothing_connects_have_no_effects(losses: list[dict[int, float]]) -> None:
    assert fit_blocks(losses) == Blocks({}, 0.0, 0)
