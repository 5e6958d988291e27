"""The family of a wiring: the kind of rule that made it, for filters and counts."""

from __future__ import annotations

import re

from depthweave.reports.store.records import Record

STRIDED = "k×p"
"""The family of dilation and period."""
OTHER = "other"
"""The family of wirings that no rule made, or whose rule is not recorded."""


def family_of(record: Record) -> str:
    """Returns "k×p", the first word of the wiring's rule ("first", "mirror") or "other"; empty without a fusion.

    The rule is text such as `4x5`, `first:2` or `mirror+embed@2`. Records without one have dilation and period.
    """
    if record.fusion == "none":
        return ""
    rule = getattr(record, "rule", None)
    if rule and not re.match(r"\d+x\w+", rule):
        word = re.match(r"[A-Za-z][\w-]*", rule)
        return word.group() if word else OTHER
    return STRIDED if rule or (record.dilation is not None and record.period is not None) else OTHER
