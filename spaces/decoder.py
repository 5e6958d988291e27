"""The decoder: a pre-norm transformer language model, with the blocks of one style and the sites of a fusion.

Axes: B batch, T tokens, D width, V vocabulary, S sources of a site.

Source: the baseline of the DenseFormer paper (arXiv 2402.02622): pre-norm, rotary positions (Su et al., arXiv
2104.09864), GELU, no biases, LayerNorm with a gain only, head tied to the embedding.
Differs: the standard deviation 0.02 of the paper's initialisation belongs to width 768; here the gain is kept, so
that narrow models start in the same way (`_INIT_GAIN`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.block import Block, BlockStep
from depthweave.spaces.decoding_cache import TokenCache
from depthweave.spaces.fusions import BlockInputs, Carrier, Observe, Reader, ValueReader, fusion_class
from depthweave.spaces.layers import make_norm
from depthweave.spaces.rotary import RotaryTable

Initialisation = Literal["nested", "by_shape"]
"""How first weights are drawn. `nested`: the hidden units of a narrower feed-forward layer start as the first ones of a
wider layer, so that models of one seed differ less by chance. `by_shape`: the rule of earlier versions, with which the
feed-forward output weights of two widths have nothing in common."""

_INIT_GAIN = 0.02 * math.sqrt(768)


class ConnectionWeight(NamedTuple):
    """How strongly the site after block `site` reads the state of `source`; a mean over tokens if it is dynamic."""

    site: int
    source: int
    value: float


class ParameterGroups(NamedTuple):
    """Every parameter once, grouped by how it is trained."""

    matrices: list[nn.Parameter]
    """With weight decay."""
    vectors: list[nn.Parameter]
    """Gains and biases, without."""
    connections: list[nn.Parameter]
    """Weights of whole states: without decay and with their own learning-rate factor."""


def parameter_groups_of(module: nn.Module, connections: list[nn.Parameter]) -> ParameterGroups:
    """Returns every parameter of a module in exactly one group, given those that weigh whole states."""
    taken = {id(parameter) for parameter in connections}
    others = [parameter for parameter in module.parameters() if id(parameter) not in taken]
    return ParameterGroups(
        matrices=[parameter for parameter in others if parameter.ndim >= 2],
        vectors=[parameter for parameter in others if parameter.ndim < 2],
        connections=connections,
    )


class Layout(NamedTuple):
    """Positions and masks of a pass whose tokens are not in plain order."""

    positions_BT: Tensor | None = None
    """From 0 in each text."""
    mask_BHTS: Tensor | None = None
    """True where a token sees another, or numbers that are added to the scores; replaces the causal mask."""


_PLAIN = Layout()


CallBlock = Callable[..., Any]
"""Calls a block, the first argument, with the others: directly, or so that its activations are recomputed in the
backward pass."""


def _call(block: Block, *given: Any) -> Any:
    return block(*given)


class TokenEmbedding(nn.Embedding):
    """The embedding of tokens, and the head that shares its weights."""

    def forward(self, input: Tensor, as_head: bool = False) -> Tensor:
        """Returns the embedded tokens [..., D]; as the head, the logits [..., V] of states [..., D]."""
        return F.linear(input, self.weight) if as_head else super().forward(input)

    def head(self, x_BTD: Tensor) -> Tensor:
        """Returns logits. Calls `forward`, which offloading wraps to bring the weights, but no other hooks."""
        return self.forward(x_BTD, as_head=True)


class Decoder(nn.Module):
    """A language model of the given architecture, with weights drawn from `seed` only.

    A parameter's start depends on the seed, its name and its shape: two architectures share the start of every
    parameter that both have. The global random state is neither read nor changed.
    """

    def __init__(self, architecture: Architecture, *, seed: int = 0, initialisation: Initialisation = "nested") -> None:
        super().__init__()
        self.architecture = architecture
        a = architecture
        # Without storage, so that torch's own initialisation takes no time and draws nothing.
        with torch.device("meta"):
            self.embedding = TokenEmbedding(a.vocabulary, a.width)
            fusion = fusion_class(a.fusion)
            self.blocks = nn.ModuleList(
                Block(a.width, a.heads, a.feed_forward, own_norms=fusion.own_norms(a.wiring, number), style=a.block)
                for number in range(1, a.depth + 1)
            )
            self.fusion = fusion(a.wiring, a.width)
            self.norm = make_norm(a.width, a.block)
        self.to_empty(device="cpu")
        self.rotary = RotaryTable(a.context, a.width // a.heads)
        self.reset_parameters(seed, initialisation=initialisation)

    @torch.no_grad()
    def reset_parameters(self, seed: int, *, initialisation: Initialisation = "nested") -> None:
        """Draws all weights, the fusion's last, so that nothing overwrites its identity start."""
        a = self.architecture
        for name, parameter in self.named_parameters():
            if name.startswith("fusion."):
                continue
            if parameter.ndim < 2:
                parameter.fill_(1.0)
                continue
            std = _INIT_GAIN / math.sqrt(a.width)
            if name.endswith(("attention.out.weight", "feed_forward.out.weight")):
                std /= math.sqrt(2 * a.depth)
            # A draw fills rows, so the columns of `out`, one for each hidden unit, are drawn as rows.
            by_unit = initialisation == "nested" and name.endswith("feed_forward.out.weight")
            drawn = torch.empty(parameter.shape[::-1] if by_unit else parameter.shape)
            drawn.normal_(std=std, generator=named_generator(seed, name))
            parameter.copy_(drawn.t() if by_unit else drawn)
        self.fusion.reset_parameters(named_generator(seed, "fusion"))

    def forward(self, tokens_BT: Tensor, *, cache: TokenCache | None = None, observe: Observe | None = None) -> Tensor:
        """Returns logits [B, T, V]. With a cache the tokens follow those it has seen, and it is extended.

        Raises `ValueError` if the tokens do not fit into the context.
        """
        return self.embedding.head(self.hidden(tokens_BT, cache=cache, observe=observe))

    def hidden(self, tokens_BT: Tensor, *, cache: TokenCache | None = None, observe: Observe | None = None) -> Tensor:
        """Returns the final norm's output [B, T, D], which the head reads."""
        return self.hidden_of(self.embedding(tokens_BT), cache=cache, observe=observe)

    def hidden_of(
        self,
        x_BTD: Tensor,
        *,
        cache: TokenCache | None = None,
        observe: Observe | None = None,
        layout: Layout = _PLAIN,
        call: CallBlock = _call,
        watch: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        """Returns the same for embedded tokens.

        `call` calls the blocks, `watch` sees the input of each. With given positions there may be more tokens than the
        context; each position must be within it.
        """
        start = 0 if cache is None else cache.num_tokens
        end = start + x_BTD.shape[1]
        if layout.positions_BT is None and end > self.architecture.context:
            raise ValueError(f"{end} tokens do not fit into the context of {self.architecture.context}")
        positions = slice(start, end) if layout.positions_BT is None else layout.positions_BT
        rotary = self.rotary(positions, x_BTD.device)
        reader = self.fusion.open(observe=observe)
        inputs = reader.advance(0, x_BTD)
        # No variable holds a state longer than necessary.
        del x_BTD
        for number, block in enumerate(self.blocks, start=1):
            if watch is not None:
                watch(inputs if isinstance(inputs, Tensor) else inputs.residual_BTD)
            inputs = self._advance(reader, inputs, BlockStep(number, rotary, cache, layout.mask_BHTS), block, call)
        if cache is not None:
            cache.num_tokens = end
        assert isinstance(inputs, Tensor), "the final norm has one input"
        normed_BTD: Tensor = self.norm(inputs)
        return normed_BTD

    def _advance(
        self, reader: Reader, inputs: Tensor | BlockInputs, step: BlockStep, block: nn.Module, call: CallBlock
    ) -> Tensor | BlockInputs:
        """Runs a block and returns the inputs of the next one."""
        # Tensors are arguments of their own: recomputation only follows gradients of those.
        tensors = () if isinstance(inputs, Tensor) else inputs[1:]
        x_BTD = inputs if isinstance(inputs, Tensor) else inputs.residual_BTD
        if self.fusion.carries_residual:
            carrier = cast(Carrier, reader)
            x_BTD = carrier.between(step.number, call(block, x_BTD, step._replace(part="attention"), *tensors))
            return reader.advance(step.number, call(block, x_BTD, step._replace(part="feed_forward")))
        if step.number != self.fusion.value_source:
            return reader.advance(step.number, call(block, x_BTD, step, *tensors))
        state_BTD, value_BHTK = call(block, x_BTD, step._replace(keeps_value=True), *tensors)
        cast(ValueReader, reader).keep_value(value_BHTK)
        return reader.advance(step.number, state_BTD)

    def loss(self, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Returns the mean cross-entropy of the targets, nats a token."""
        return F.cross_entropy(self(tokens_BT).flatten(0, 1), targets_BT.flatten())

    @torch.no_grad()
    def connection_weights(self, tokens_BT: Tensor) -> list[ConnectionWeight]:
        """Returns every site's weights, in order of site and source; dynamic ones as means over tokens."""
        sources = dict(self.architecture.wiring.sites)
        found: list[ConnectionWeight] = []

        def observe(block: int, weights: Tensor) -> None:
            means = weights.float().reshape(-1, weights.shape[-1]).mean(dim=0).tolist()
            found.extend(ConnectionWeight(block, *pair) for pair in zip(sources[block], means, strict=True))

        if sources:
            self.hidden(tokens_BT, observe=observe)
        return found

    def parameter_groups(self) -> ParameterGroups:
        """Returns every parameter in exactly one group."""
        return parameter_groups_of(self, self.fusion.connection_parameters())


def named_generator(seed: int, name: str) -> torch.Generator:
    """Returns a generator for one named parameter, so that a seed gives shared parameters the same start."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
