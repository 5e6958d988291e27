"""Architecture, seed and noise, taken apart where the answer is known."""

from __future__ import annotations

import pytest

from depthweave.reports.pairing import fit_blocks, seed_effects


def test_seed_effects_of_whole_blocks_are_the_seeds_means_against_the_mean_of_all() -> None:
    losses = [{0: 1.0, 1: 1.4, 2: 1.2}, {0: 2.1, 1: 2.2, 2: 2.0}]
    # Means by seed 1.55, 1.8, 1.6, of all 1.65.
    assert seed_effects(losses) == pytest.approx({0: -0.1, 1: 0.15, 2: -0.05})


def test_fit_of_exact_sums_finds_them_though_cells_are_missing() -> None:
    mu, effect = [1.0, 1.3, 1.1], {0: 0.0, 1: 0.5, 2: -0.2}
    held = [(0, 1, 2), (0, 1), (1, 2)]
    losses = [{seed: mu[row] + effect[seed] for seed in seeds} for row, seeds in enumerate(held)]
    blocks = fit_blocks([*losses, {0: 9.0}])
    assert blocks is not None
    assert (blocks.rows, blocks.seeds, blocks.degrees) == ([0, 1, 2], [0, 1, 2], 7 - 5)
    assert blocks.fitted == pytest.approx([*mu, 0.5, -0.2])
    assert blocks.residual == pytest.approx(0.0, abs=1e-20)


def test_architecture_alone_has_no_seed_effects_but_noise() -> None:
    blocks = fit_blocks([{0: 1.0, 1: 1.2, 2: 1.4}])
    assert blocks is not None
    assert (blocks.seeds, blocks.degrees) == ([0], 2)
    assert blocks.fitted == pytest.approx([1.2])
    assert blocks.residual == pytest.approx(0.08)
    assert seed_effects([{0: 1.0, 1: 1.2, 2: 1.4}]) == {}


def test_seeds_that_nothing_connects_are_noise() -> None:
    assert seed_effects([{0: 1.0, 1: 1.2}, {2: 1.0, 3: 1.1}]) == {}


def test_one_seed_each_has_no_fit() -> None:
    assert fit_blocks([{0: 1.0}, {0: 1.1}]) is None
    assert seed_effects([]) == {}
