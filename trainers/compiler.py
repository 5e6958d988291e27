"""What `torch.compile` must be told where one process meets many architectures."""

from __future__ import annotations

_MAX_GRAPHS = 1024


def make_room_for_graphs() -> None:
    """After the call the compiler keeps graphs of many models, and raises where it would stop compiling instead.

    By default it gives up after eight graphs of one function and goes on uncompiled, in silence: a measurement of a
    ninth architecture in one process would then compare interpreted with compiled code.
    """
    from torch._dynamo import config

    config.recompile_limit = max(config.recompile_limit, _MAX_GRAPHS)
    config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, 4 * _MAX_GRAPHS)
    config.fail_on_recompile_limit_hit = True
