"""A set network (DeepSets): each option sees itself and a mean and a maximum over the shelf."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

IDENTITY = 16
"""Width of a learned household or line."""


@dataclass(frozen=True)
class Flat:
    """N alternatives of B occasions, in tensors.

    Attributes:
        options: Scaled facts [N, F].
        quantity: Scaled facts for units [N, K].
        shelf: Scaled facts of the households [B, G].
        row: Occasion of each alternative [N].
        household: Code, 0 for one never seen [B].
        line: Code, 0 for one never seen [N].
        outside: Utility of buying nothing [B].
        picked: Row of the chosen alternative, -1 for no purchase [B].
    """

    options: torch.Tensor
    quantity: torch.Tensor
    shelf: torch.Tensor
    row: torch.Tensor
    household: torch.Tensor
    line: torch.Tensor
    outside: torch.Tensor
    picked: torch.Tensor


class Network(nn.Module):
    """Scores of options, of buying at all, and of units.

    Attributes:
        sizes: The arguments it was made with, dropout left out.

    Args:
        options: Facts of an option.
        quantity: Facts for units.
        shelf: Facts of a household.
        households: Households known by name, 0 for none.
        lines: Lines known by name, 0 for none.
        units: Classes of units.
        hidden: Width of the inner layers.
        dropout: Share of inner units dropped in training.
    """

    def __init__(
        self,
        options: int,
        quantity: int,
        shelf: int,
        households: int,
        lines: int,
        units: int,
        hidden: int = 64,
        dropout: float = 0.1,
    ) -> None:
        """Start the identities at zero, so that an unknown one is an average one."""
        super().__init__()
        self.sizes = (options, quantity, shelf, households, lines, units, hidden)
        identity = IDENTITY if households else 0
        self.household = nn.Embedding(households + 1, IDENTITY) if identity else None
        self.line = nn.Embedding(lines + 1, IDENTITY) if identity else None
        self.first = nn.Sequential(
            nn.Linear(options + shelf + 2 * identity, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()
        )
        self.second = nn.Sequential(
            nn.Linear(3 * hidden, hidden), nn.SiLU(), nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.SiLU()
        )
        self.score = nn.Linear(hidden, 1)
        self.linear = nn.Linear(options, 1, bias=False)
        self.buy = nn.Sequential(nn.Linear(2 * hidden + shelf, hidden), nn.SiLU(), nn.Linear(hidden, 1))
        self.units = nn.Sequential(nn.Linear(hidden + quantity + shelf, hidden), nn.SiLU(), nn.Linear(hidden, units))
        for embedding in (self.household, self.line):
            if embedding is not None:
                nn.init.normal_(embedding.weight, std=0.01)

    def forward(self, flat: Flat) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return scores [N], utility of buying at all [B] and the inner states [N, hidden]."""
        parts = [flat.options, flat.shelf[flat.row]]
        if self.household is not None and self.line is not None:
            parts += [self.household(flat.household)[flat.row], self.line(flat.line)]
        first = self.first(torch.cat(parts, dim=1))
        pooled = _pooled(first, flat.row, len(flat.shelf))
        inner = first + self.second(torch.cat([first, pooled[flat.row]], dim=1))
        scores = (self.score(inner) + self.linear(flat.options)).squeeze(1)
        return scores, self.buy(torch.cat([pooled, flat.shelf], dim=1)).squeeze(1), inner

    def known(self, flat: Flat) -> Flat:
        """Return the occasions with code 0, an average one, for households and lines that came after training."""
        if self.household is None or self.line is None:
            return flat
        household = flat.household.where(flat.household < self.household.num_embeddings, 0)
        return replace(flat, household=household, line=flat.line.where(flat.line < self.line.num_embeddings, 0))

    def unit_odds(self, inner: torch.Tensor, flat: Flat, at: torch.Tensor) -> torch.Tensor:
        """Return log odds of units at the alternatives `at` [n, units]."""
        return self.units(torch.cat([inner[at], flat.quantity[at], flat.shelf[flat.row[at]]], dim=1))


def _pooled(values: torch.Tensor, row: torch.Tensor, count: int) -> torch.Tensor:
    """Return mean and maximum over each shelf [B, 2 hidden]."""
    where = row[:, None].expand_as(values)
    empty = torch.zeros(count, values.shape[1], dtype=values.dtype)
    mean = empty.scatter_reduce(0, where, values, "mean", include_self=False)
    most = empty.scatter_reduce(0, where, values, "amax", include_self=False)
    return torch.cat([mean, most], dim=1)


def losses(net: Network, flat: Flat, units: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return summed losses: choice given a purchase, purchase or not, and units, in nats.

    Args:
        net: The network.
        flat: B occasions.
        units: Class of units bought, from 0 [B].
    """
    scores, buy, inner = net(flat)
    worth = logsumexp(scores, flat.row, len(flat.shelf))
    bought = flat.picked >= 0
    at = flat.picked[bought]
    choice = (worth[bought] - scores[at]).sum()
    logit = worth + buy - flat.outside
    purchase = nn.functional.binary_cross_entropy_with_logits(logit, bought.to(logit.dtype), reduction="sum")
    odds = net.unit_odds(inner, flat, at)
    return choice, purchase, nn.functional.cross_entropy(odds, units[bought], reduction="sum")


def logsumexp(scores: torch.Tensor, row: torch.Tensor, count: int) -> torch.Tensor:
    """Return the log of the summed exponentials of each shelf [B]."""
    top = torch.full((count,), -torch.inf).scatter_reduce(0, row, scores.detach(), "amax")
    mass = torch.zeros(count).index_add(0, row, torch.exp(scores - top[row]))
    return top + torch.log(mass)
