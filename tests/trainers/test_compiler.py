"""Many architectures in one process are all compiled."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo import config
from torch._dynamo.testing import CompileCounter

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.wiring import strided_wiring
from depthweave.trainers.compiler import make_room_for_graphs


@pytest.mark.slow
@config.patch(  # pytest's monkeypatch would hide these settings from later tests: it deletes what has no own value
    recompile_limit=8, accumulated_recompile_limit=256, fail_on_recompile_limit_hit=False
)
def test_a_dozen_architectures_are_all_compiled() -> None:
    torch.compiler.reset()
    make_room_for_graphs()
    tokens_BT = torch.zeros(1, 4, dtype=torch.long)
    counts = []
    for feed_forward in range(8, 20):
        architecture = Architecture(
            fusion="dwa", wiring=strided_wiring(1), width=8, heads=2, feed_forward=feed_forward, vocabulary=5, context=4
        )
        counter = CompileCounter()
        torch.compile(Decoder(architecture).loss, backend=counter)(tokens_BT, tokens_BT)
        counts.append(counter.frame_count)
    torch.compiler.reset()
    assert counts == [1] * 12
