"""How property tests of this folder run: few examples, and no verdict on how long a busy machine takes."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

unhurried = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
