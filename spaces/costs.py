"""What an architecture costs, in closed form: parameters, forward operations, states kept.

Operations count 2 for a multiply-add of a matrix product, of attention or of a depth average; norms, activations,
rotations and residual sums are left out, as in `torch.utils.flop_counter`. Attention is counted over the whole
square of the context, as that counter does, and not over its causal half.
"""

from __future__ import annotations

from typing import NamedTuple

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.block_style import GPT, BlockStyle
from depthweave.spaces.fusions import fusion_class
from depthweave.spaces.heads.registry import head_class
from depthweave.spaces.hosted import HostedArchitecture
from depthweave.spaces.widths import plain_parameters
from depthweave.spaces.wiring import Wiring

_STATE_ELEMENT_BYTES = 4


class Costs(NamedTuple):
    """Closed-form costs of one architecture."""

    parameters: int
    """Parameters without the token embedding, or those that a head adds to its host: what a budget counts."""
    embedding_parameters: int
    """Parameters of the token embedding, which the head shares; for a head on a host all parameters of the host."""
    forward_flops: int
    """Operations a token of a forward pass over a full context."""
    kept_states: int
    """Most states held at once for later sites, the newest included."""
    kept_bytes_per_token: int
    """Bytes a token of those states, in float32."""


def costs_of(architecture: Architecture) -> Costs:
    """Returns the costs of an architecture without building a model."""
    a = architecture
    if isinstance(a, HostedArchitecture):
        return _costs_of_head(a)
    fusion = fusion_class(a.fusion)
    block_flops = a.block.forward_flops(width=a.width, feed_forward=a.feed_forward, context=a.context)
    # A fusion of values mixes vectors of their width.
    mixed_width = a.block.kv_width(a.width) if fusion.value_source else a.width
    kept = fusion.kept_states(a.wiring)
    return Costs(
        parameters=num_parameters(a),
        embedding_parameters=a.vocabulary * a.width,
        forward_flops=a.depth * block_flops + fusion.forward_flops(a.wiring, mixed_width) + 2 * a.vocabulary * a.width,
        kept_states=kept,
        kept_bytes_per_token=kept * a.width * _STATE_ELEMENT_BYTES,
    )


def num_parameters(architecture: Architecture) -> int:
    """Parameters without the token embedding; of a head on a host those that it adds."""
    a = architecture
    if isinstance(a, HostedArchitecture):
        return head_class(a.head.kind).num_parameters(a.head)
    return parameters_of(
        a.fusion, a.wiring, width=a.width, feed_forward=a.feed_forward, head_width=a.width // a.heads, block=a.block
    )


def parameters_of(
    fusion: str, wiring: Wiring, *, width: int, feed_forward: int, head_width: int, block: BlockStyle = GPT
) -> int:
    """The same of a wiring that is canonical for its fusion, with no architecture made."""
    plain = plain_parameters(
        depth=wiring.depth, width=width, feed_forward=feed_forward, head_width=head_width, block=block
    )
    return plain + fusion_class(fusion).num_parameters(wiring, width)


def _costs_of_head(architecture: HostedArchitecture) -> Costs:
    host, head, tokens = architecture.host, architecture.head, architecture.context
    kept = len(head.sources)
    return Costs(
        parameters=num_parameters(architecture),
        embedding_parameters=host.parameters,
        forward_flops=host.forward_flops(tokens=tokens) + head_class(head.kind).forward_flops(head, tokens=tokens),
        kept_states=kept,
        kept_bytes_per_token=kept * head.width * _STATE_ELEMENT_BYTES,
    )
