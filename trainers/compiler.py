"""Settings of `torch.compile` for processes that compile many architectures."""

from __future__ import annotations

_MAX_GRAPHS = 1024


def make_room_for_graphs() -> None:
    """Lets the compiler keep graphs of many models, and makes it raise where it would stop compiling.

    By default it silently runs uncompiled after eight graphs of one function. A measurement of a ninth architecture in
    one process would then compare interpreted with compiled code.
    """
    from torch._dynamo import config

    config.recompile_limit = max(config.recompile_limit, _MAX_GRAPHS)
    config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, 4 * _MAX_GRAPHS)
    config.fail_on_recompile_limit_hit = True
