"""A household's purchases as a sequence: learned forgetting, and attention from each option to what was bought."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

FLOOR = 1e-3


@dataclass(frozen=True)
class Past:
    """Own last purchases of B households, newest first.

    Attributes:
        product: Row of the product's reading [B, H]; any row where `listed` is False.
        listed: True where the product has a reading [B, H].
        known: True where there was a purchase [B, H].
        ago: Periods since [B, H].
        quantity: Packages [B, H].
        depth: Discount depth paid [B, H].
        match: True where it was of the option's own line [B, J, H].
        popularity: Long-run share of each option [B, J].
    """

    product: torch.Tensor
    listed: torch.Tensor
    known: torch.Tensor
    ago: torch.Tensor
    quantity: torch.Tensor
    depth: torch.Tensor
    match: torch.Tensor
    popularity: torch.Tensor


class HistoryEncoder(nn.Module):
    """Turns a purchase sequence into what it says of each option.

    Two readings: an urn (Polya) whose balls are purchases weighed by a learned function of age, rank, units and the
    discount paid, mixed with the market's shares; and attention, in which an option looks for past purchases whose
    products read alike, so that a new product inherits from its kin.

    Args:
        text: Width of a projected reading.
    """

    OUTPUTS = 10
    _KEY = 16

    def __init__(self, text: int) -> None:
        """Start at a forgetting that halves in a few purchases."""
        super().__init__()
        self.kernel = nn.Sequential(nn.Linear(4, 16), nn.SiLU(), nn.Linear(16, 1))
        self.prior = nn.Parameter(torch.tensor(0.0))
        self.query, self.key = nn.Linear(text, self._KEY, bias=False), nn.Linear(text, self._KEY, bias=False)
        self.value = nn.Linear(text + 3, self.OUTPUTS - 2)

    def forward(self, past: Past, bought: torch.Tensor, option: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return [B, J, OUTPUTS]: log urn, log kinship, and a value read by attention.

        Args:
            past: The histories.
            bought: Projected readings of what was bought [B, H, text].
            option: Those of the options [B, J, text].
            mask: True where an option exists [B, J].
        """
        rank = torch.arange(past.known.shape[1], dtype=torch.float32, device=option.device)
        described = torch.stack(
            [torch.log1p(past.ago), torch.log1p(rank).expand_as(past.ago), past.depth, torch.log1p(past.quantity)], -1
        )
        weight = functional.softplus(self.kernel(described).squeeze(-1)) * past.known
        prior = functional.softplus(self.prior)
        whole = weight.sum(1, keepdim=True) + prior
        popularity = past.popularity + FLOOR
        urn = (torch.einsum("bjh,bh->bj", past.match.float(), weight) + prior * popularity) / whole
        bought = bought * past.listed[..., None]
        affinity = torch.einsum("bjd,bhd->bjh", self.query(option), self.key(bought)) / math.sqrt(self._KEY)
        kin = torch.exp(affinity.clamp(-8, 8)) * (weight * past.listed)[:, None]
        near = torch.log((kin.sum(2) + prior * popularity) / whole)
        # A place to look when nothing was bought keeps the attention defined.
        share = kin / (kin.sum(2, keepdim=True) + prior)
        value = self.value(torch.cat([bought, described[..., [0, 2, 3]]], dim=-1))
        read = torch.einsum("bjh,bhv->bjv", share, value)
        return torch.cat([torch.log(urn)[..., None], near[..., None], read], dim=-1) * mask[..., None]
