"""Runs a backbone over texts: packed shelves in, hidden states out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from malles_env.preference.data.packing import PackedBatch, Request, pack, split_requests
from malles_env.preference.data.shelves import ProductTable
from malles_env.preference.encoder.backbones import Backbone
from malles_env.preference.heads.inputs import Readings
from malles_env.type_aliases import IntArray

MAX_OPTIONS = 16
"""Options per packed sequence; longer shelves are cut, which changes no score."""
TOKENS_PER_PASS = 16_384
"""Padded tokens a single backbone pass may hold, so that memory stays small."""


@dataclass(frozen=True)
class States:
    """Hidden states at the read-out points: prefixes [N, width], options [M, width] in request order."""

    prefix: torch.Tensor
    option: torch.Tensor


@dataclass(frozen=True)
class LiveReader:
    """Reads with the backbone as it is now, so that gradients reach it."""

    backbone: Backbone

    def of(self, table: ProductTable, products: IntArray) -> Readings:
        """Return readings of `products`; the rows of others hold some other product's."""
        requests, product_row, prefix_row = table.requests(products)
        return rows_of(read_states(self.backbone, requests), product_row, prefix_row)


def rows_of(states: States, product_row: IntArray, prefix_row: IntArray) -> Readings:
    """Return states by product and prefix; rows of -1 get any state."""
    device = states.option.device
    product = torch.as_tensor(np.maximum(product_row, 0), device=device)
    prefix = torch.as_tensor(np.maximum(prefix_row, 0), device=device)
    return Readings(states.prefix[prefix], states.option[product])


def read_states(backbone: Backbone, requests: Sequence[Request]) -> States:
    """Run the backbone over the requests; order and company of options do not matter."""
    if backbone.pooling in ("alone", "layers"):
        return _read_alone(backbone, requests)
    pieces, first = split_requests(requests, MAX_OPTIONS)
    prefix: list[torch.Tensor] = []
    option: list[torch.Tensor] = []
    for group in _passes(pieces, backbone):
        states = _pass(backbone, group)
        prefix.append(states.prefix)
        option.append(states.option)
    return States(torch.cat(prefix)[torch.tensor(first)], torch.cat(option))


def _pass(backbone: Backbone, pieces: Sequence[Request]) -> States:
    batch = pack(pieces, backbone.encoder)
    weights = next(backbone.model.parameters())
    mask = batch.mask.to(weights.device)
    blocked = torch.zeros(mask.shape, dtype=weights.dtype, device=weights.device)
    blocked = blocked.masked_fill(~mask, torch.finfo(weights.dtype).min)
    output = backbone.model(
        input_ids=batch.ids.to(weights.device),
        attention_mask=blocked,
        position_ids=batch.positions.to(weights.device),
        use_cache=False,
    ).last_hidden_state
    rows = torch.arange(len(pieces))
    prefix = output[rows, batch.prefix_end].float()
    if backbone.pooling == "mean":
        return States(prefix, _mean_states(output, batch))
    return States(prefix, output[batch.option_row, batch.option_end].float())


def _mean_states(output: torch.Tensor, batch: PackedBatch) -> torch.Tensor:
    """Return the mean state of each option's own tokens [M, width]."""
    column = torch.arange(output.shape[1])
    own = (column >= batch.option_start[:, None]) & (column <= batch.option_end[:, None])
    share = (own / own.sum(1, keepdim=True)).to(output.device)
    return torch.einsum("mt,mtw->mw", share, output.float()[batch.option_row.to(output.device)])


def _read_alone(backbone: Backbone, requests: Sequence[Request]) -> States:
    """Read every text by itself: prefixes and options alike."""
    texts = [*(request.persona for request in requests), *(text for request in requests for text in request.options)]
    tokens = [backbone.encoder.alone(text) for text in texts]
    # Texts of one length travel together, so that little is padded.
    order = sorted(range(len(texts)), key=lambda at: len(tokens[at]))
    size = max(1, TOKENS_PER_PASS // max(map(len, tokens), default=1))
    cuts = [order[at : at + size] for at in range(0, len(order), size)]
    found = [mean_pass(backbone, [tokens[row] for row in rows]) for rows in cuts]
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order)] = torch.arange(len(order))
    states = torch.cat(found)[back.to(found[0].device)]
    return States(states[: len(requests)], states[len(requests) :])


def mean_pass(backbone: Backbone, tokens: Sequence[tuple[int, ...]]) -> torch.Tensor:
    """Return readings of texts, each by itself, in one padded pass, with gradients where they are on [N, width].

    Args:
        backbone: The encoder.
        tokens: Of each text.
    """
    device = next(backbone.model.parameters()).device
    width = max(map(len, tokens))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in tokens], device=device)
    there = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in tokens], device=device)
    layers = backbone.pooling == "layers"
    output = backbone.model(input_ids=ids, attention_mask=there, output_hidden_states=layers)
    own = there[:, :, None]

    def mean(states: torch.Tensor) -> torch.Tensor:
        return (states.float() * own).sum(1) / own.sum(1)

    if not layers:
        return mean(output.last_hidden_state)
    last = output.last_hidden_state.float().masked_fill(own == 0, -torch.inf)
    return torch.cat([*(mean(states) for states in output.hidden_states), last.amax(1)], dim=1)


def _passes(pieces: Sequence[Request], backbone: Backbone) -> Iterator[list[Request]]:
    """Yield consecutive groups of sequences whose padded size stays within one pass."""
    group: list[Request] = []
    widest = 0
    for piece in pieces:
        tokens = len(backbone.encoder.persona(piece.persona))
        tokens += sum(len(backbone.encoder.option(text)) for text in piece.options)
        if group and max(widest, tokens) * (len(group) + 1) > TOKENS_PER_PASS:
            yield group
            group, widest = [], 0
        group.append(piece)
        widest = max(widest, tokens)
    if group:
        yield group
