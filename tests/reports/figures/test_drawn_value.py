"""What figures draw for trials that were stopped early."""

from __future__ import annotations

import math

import pytest

from depthweave.reports.figures.drawn_value import drawn_value
from tests.reports.synthetic import make_record


def test_stopped_trial_has_the_run_s_quality_at_its_last_evaluation_and_no_other() -> None:
    stopped = make_record(1, state="pruned", last_loss=0.75, perplexity=None, bits_per_byte=None)
    assert drawn_value(stopped, "perplexity", quality="perplexity") == pytest.approx(math.exp(0.75))
    assert drawn_value(stopped, "error", quality="perplexity") is None
    assert drawn_value(stopped, "error", quality="error") == 0.75, "the loss of a head is its error"
    assert drawn_value(stopped, "perplexity", quality="error") is None
    assert drawn_value(stopped, "bits_per_byte", quality="perplexity") is None
