"""Converts masks and positions of transformers for the decoder: padded batches and packed documents.

Exports include this file. Axes: B batch, T tokens of this pass, S tokens seen and new, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from depthweave.spaces.decoder import Layout


class TokenLayout:
    """The positions of a pass's tokens and what they attend to. Raises `ValueError` for what the decoder cannot do."""

    def __init__(
        self,
        *,
        shape: tuple[int, int],
        seen: int,
        context: int,
        attention_mask: Tensor | None,
        position_ids: Tensor | None,
    ) -> None:
        """`shape` is [B, T], `seen` the number of tokens in the cache."""
        self._shape, self._seen, self._context = shape, seen, context
        # The compiler cannot trace a branch on values: every mask is then built, and none is checked.
        self._reads_values = not torch.compiler.is_compiling()
        self.packed = False
        """Whether a sequence has several documents."""
        if attention_mask is not None and attention_mask.ndim == 4:
            # A mask of every pair of tokens.
            self.layout = Layout(self._positions(position_ids, None), self._whole_mask(attention_mask))
            return
        shown_BS = None if attention_mask is None else self._shown(attention_mask)
        hiding_BS = None if shown_BS is None or self._hides_nothing(shown_BS) else shown_BS
        positions_BT = self._positions(position_ids, hiding_BS)
        documents_BT = None if position_ids is None else self._documents(positions_BT, shown_BS)
        plain = hiding_BS is None and documents_BT is None
        self.layout = Layout(positions_BT, None if plain else self._visible(hiding_BS, documents_BT))

    def _whole_mask(self, mask: Tensor) -> Tensor:
        """Returns a mask [B, H, T, S] without the unused positions of a cache of fixed size."""
        tokens, end = self._shape[1], self._seen + self._shape[1]
        if mask.shape[-2] != tokens or mask.shape[-1] < end:
            raise ValueError(f"attention_mask has the shape {tuple(mask.shape)}: its end must be [{tokens}, {end}]")
        if not (mask.dtype == torch.bool or mask.is_floating_point()):
            raise ValueError(f"attention_mask of four dimensions is of {mask.dtype}: give booleans or scores")
        return mask[..., :end]

    def _shown(self, mask: Tensor) -> Tensor | None:
        """Returns whether each token [B, S] is shown; `None` if all are."""
        batch, end = self._shape[0], self._seen + self._shape[1]
        if mask.ndim != 2:
            raise ValueError(f"attention_mask has {mask.ndim} dimensions: give [{batch}, {end}] of 0 and 1")
        if self._reads_values:
            if bool(((mask != 0) & (mask != 1)).any()):
                raise ValueError("attention_mask has values other than 0 and 1: give documents by position_ids instead")
            if bool(mask.bool().all()):
                return None
        if tuple(mask.shape) != (batch, end):
            raise ValueError(f"attention_mask has the shape {tuple(mask.shape)}: it must be {(batch, end)}")
        return mask.bool()

    def _hides_nothing(self, shown_BS: Tensor) -> bool:
        """Returns whether all hidden tokens are after the shown ones: causal attention then excludes them anyway."""
        if not self._reads_values:
            return False
        rises = bool((shown_BS[:, 1:] & ~shown_BS[:, :-1]).any())
        return not rises and bool(shown_BS[:, : self._seen].all())

    def _positions(self, position_ids: Tensor | None, shown_BS: Tensor | None) -> Tensor | None:
        batch, tokens = self._shape
        counted_BT = None if shown_BS is None else (shown_BS.long().cumsum(-1) - 1).clamp(min=0)[:, self._seen :]
        if position_ids is None:
            return counted_BT
        if position_ids.ndim != 2 or position_ids.shape[0] not in (1, batch) or position_ids.shape[1] != tokens:
            raise ValueError(f"position_ids has the shape {tuple(position_ids.shape)}: it must be {self._shape}")
        if self._reads_values and position_ids.numel():
            low, high = int(position_ids.min()), int(position_ids.max())
            if low < 0 or high >= self._context:
                raise ValueError(f"position_ids go from {low} to {high}: the context has 0 to {self._context - 1}")
        if self._reads_values and shown_BS is not None:
            # transformers 4 counts hidden tokens in some passes and not in others.
            places_T = torch.arange(self._seen, self._seen + tokens, device=position_ids.device)
            if bool(((position_ids == places_T) | ~shown_BS[:, self._seen :]).all()):
                return counted_BT
        return position_ids.expand(batch, tokens)

    def _documents(self, positions_BT: Tensor | None, shown_BS: Tensor | None) -> Tensor | None:
        """Returns the number of each token's document; `None` if a sequence is one document, with rising positions."""
        if positions_BT is None or self._shape[1] < 2:
            return None
        places_T = torch.arange(self._shape[1], device=positions_BT.device)
        places_BT = places_T.expand_as(positions_BT)
        if shown_BS is None:
            before_BT = (places_BT - 1).clamp(min=0)
            counts_BT = places_BT > 0
        else:
            shown_BT = shown_BS[:, self._seen :].to(positions_BT.device)
            last_BT = torch.where(shown_BT, places_BT, -1).cummax(dim=-1).values.roll(1, dims=-1)
            counts_BT = shown_BT & (last_BT >= 0) & (places_BT > 0)
            before_BT = last_BT.clamp(min=0)
        step_BT = positions_BT - positions_BT.gather(-1, before_BT)
        # Hidden tokens in between may or may not have their own positions.
        begins_BT = counts_BT & (step_BT != 1) & (step_BT != places_BT - before_BT)
        if self._reads_values:
            if not bool(begins_BT.any()):
                return None
            if self._seen:
                raise ValueError("position_ids begin another document after a cache: give the documents in one pass")
            self.packed = True
        return begins_BT.long().cumsum(-1)

    def _visible(self, shown_BS: Tensor | None, documents_BT: Tensor | None) -> Tensor:
        """Returns True [B, 1, T, S] where a token attends to another. Each attends to itself: no row is empty."""
        tokens, end = self._shape[1], self._seen + self._shape[1]
        device = (shown_BS if shown_BS is not None else documents_BT).device  # type: ignore[union-attr]
        mask = torch.ones(tokens, end, dtype=torch.bool, device=device).tril(self._seen)[None, None]
        if shown_BS is not None:
            mask = mask & shown_BS[:, None, None]
        if documents_BT is not None:
            same_BTT = documents_BT[:, None, :, None] == documents_BT[:, None, None, :]
            mask = mask & torch.nn.functional.pad(same_BTT, (self._seen, 0), value=True)
        itself = torch.zeros(tokens, end, dtype=torch.bool, device=device)
        itself.diagonal(self._seen).fill_(True)
        return mask | itself
