"""Small layers the heads are built of."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

CLIP = 6.0
"""Spreads; what lies beyond is rare and would pull hard."""


class Outputs(nn.Linear):
    """A last layer that starts at given constants and whose outputs answer to their weights with given gains."""

    gain: torch.Tensor

    def __init__(self, width: int, start: dict[str, float], gain: dict[str, float] | None = None) -> None:
        """Make one output per entry of `start`, in its order."""
        super().__init__(width, len(start))
        nn.init.zeros_(self.weight)
        with torch.no_grad():
            self.bias.copy_(torch.tensor(list(start.values())))
        gains = [(gain or {}).get(name, 1.0) for name in start]
        self.register_buffer("gain", torch.tensor(gains)[:, None])

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return [..., outputs]."""
        return functional.linear(states, self.weight * self.gain, self.bias)


class Curve(nn.Module):
    """An additive form: each fact through a curve of its own, a few bends each.

    Args:
        features: Number of facts.
    """

    def __init__(self, features: int) -> None:
        """Start flat."""
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 4 * features))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the sum over facts [..., F] -> [...]."""
        bent = (
            features * features / 3,
            torch.relu(features - 0.7),
            torch.relu(-features - 0.7),
            torch.tanh(2 * features),
        )
        return functional.linear(torch.cat(bent, dim=-1), self.weight).squeeze(-1)


class Named(nn.Module):
    """A learned vector for each line (or household) known by name, nothing for others.

    In training a share of them is left unknown, so that text and facts keep their say.

    Args:
        names: How many are known.
        width: Width of the vectors.
        unknown: Share left unknown in training.
    """

    def __init__(self, names: int, width: int, unknown: float) -> None:
        """Start at nothing for all."""
        super().__init__()
        self.unknown = unknown
        self.vectors = nn.Embedding(names + 1, width, padding_idx=0)
        nn.init.zeros_(self.vectors.weight)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the vectors of codes [...]; 0 is not known."""
        if self.training:
            codes = codes * (torch.rand(codes.shape, device=codes.device) >= self.unknown)
        return self.vectors(codes)


class Standardize(nn.Module):
    """Fixed shift and scale per dimension; identity until fitted. What is not known (NaN) counts as the mean."""

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self, width: int) -> None:
        """Start as the identity."""
        super().__init__()
        self.register_buffer("shift", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def fit(self, states: torch.Tensor) -> None:
        """Store the mean and spread of `states` [..., width]."""
        rows = states.float().reshape(-1, states.shape[-1])
        rows = rows[torch.isfinite(rows).all(1)]
        self.shift.copy_(rows.mean(0))
        self.scale.copy_(1.0 / rows.std(0, correction=0).clamp(min=1e-2))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return the states on one scale."""
        return torch.nan_to_num((states.float() - self.shift) * self.scale).clamp(-CLIP, CLIP)


def inverse_softplus(value: float) -> float:
    """Return x with softplus(x) = value."""
    return float(torch.log(torch.expm1(torch.tensor(value, dtype=torch.float64))))
