"""Taste heads: from a backbone's hidden states to coefficients with the right signs, and their utility.

Training utility of option j on a shelf, ``r`` the regular price and ``d = max(0, 1 - p/r)``:

    u_j = alpha_j + propensity - beta log(p_j/r_j) + gamma d_j + phi promotion_j
          + pi_j log(reference_share_j) + rho (share_j - reference_share_j) + lambda 1[last = j]
    u_0 = log of the rate at which no-purchase visits were sampled (0 at use)

With all head weights at zero only the biases remain: plain conditional logit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

RHO_BOUND = 1.9
"""abs(rho) stays below 2, where a single segment has one mean-field equilibrium."""
SHARE_FLOOR = 1e-3
"""Added to a reference share before its log: a line nobody bought yet is rare, not impossible."""
PREFIX_OUTPUTS = ("propensity", "beta", "gamma", "rho", "lambda_", "delta")
OPTION_OUTPUTS = ("alpha", "popularity", "kappa")
_PREFIX_START = {"propensity": 0.0, "beta": 1.8, "gamma": 0.5, "rho": 0.3, "lambda_": 0.7, "delta": 0.4}
_GAIN = {"beta": 4.0, "gamma": 2.0, "rho": 2.0, "lambda_": 2.0, "delta": 2.0}
"""Outputs the loss is flat in move faster, so that personas and markets come to differ in them."""
_OPTION_START = {"alpha": 0.0, "popularity": 0.8, "kappa": -0.9}


@dataclass(frozen=True)
class PrefixTastes:
    """What the persona alone decides, each [...]."""

    propensity: torch.Tensor
    beta: torch.Tensor
    gamma: torch.Tensor
    rho: torch.Tensor
    lambda_: torch.Tensor
    delta: torch.Tensor

    def take(self, index: torch.Tensor) -> PrefixTastes:
        """Return the entries at `index`."""
        return PrefixTastes(**{name: getattr(self, name)[index] for name in PREFIX_OUTPUTS})


@dataclass(frozen=True)
class OptionTastes:
    """What persona and product decide together, each [...]."""

    alpha: torch.Tensor
    popularity: torch.Tensor
    kappa: torch.Tensor

    def take(self, index: torch.Tensor) -> OptionTastes:
        """Return the entries at `index`."""
        return OptionTastes(**{name: getattr(self, name)[index] for name in OPTION_OUTPUTS})


@dataclass(frozen=True)
class Shelf:
    """The numbers of B shelves of J options; text never sees them. All [B, J] but the last.

    Attributes:
        log_price: log(p/r).
        discount: max(0, 1 - p/r).
        promotion: 1 where displayed or advertised.
        share: Windowed mean field.
        reference_share: Long-run share.
        last: 1 where it was the household's last purchase.
        mask: True where an option exists.
        outside: Utility of buying nothing [B].
    """

    log_price: torch.Tensor
    discount: torch.Tensor
    promotion: torch.Tensor
    share: torch.Tensor
    reference_share: torch.Tensor
    last: torch.Tensor
    mask: torch.Tensor
    outside: torch.Tensor


class TasteHeads(nn.Module):
    """Two small read-outs, one of the persona's end, one of each option's end.

    `support` tells how much display and advertising usually come with a discount (promotion per unit of
    depth, measured in training data). A market's sellers set prices only, so a discount there brings its
    usual support: `discount_worth` adds it to gamma.

    Args:
        width: Size of the backbone's hidden states.
        hidden: Width of each read-out's inner layer.
        words: True when the mean embedding of the persona's words stands beside its state at the end: a tiny
            backbone's last state keeps little of which market it is about.
    """

    support: torch.Tensor

    def __init__(self, width: int, hidden: int = 64, *, words: bool = False) -> None:
        """Start at sensible constants: the weights of the last layers are zero."""
        super().__init__()
        self.words = words
        self.prefix = _read_out(
            2 * width if words else width, hidden, list(_PREFIX_START.values()), ("beta", "gamma", "delta")
        )
        self.option = _read_out(width, hidden, list(_OPTION_START.values()), ("popularity",))
        self.promotion = nn.Parameter(torch.tensor(0.4))
        self.register_buffer("support", torch.tensor(0.0))

    def prefix_tastes(self, states: torch.Tensor) -> PrefixTastes:
        """Read persona ends [..., width]; beta, gamma, delta are positive, |rho| < 1.9."""
        propensity, beta, gamma, rho, lambda_, delta = self.prefix(states).unbind(-1)
        positive = functional.softplus
        bounded = RHO_BOUND * torch.tanh(rho / RHO_BOUND)
        return PrefixTastes(propensity, positive(beta), positive(gamma), bounded, lambda_, positive(delta))

    def option_tastes(self, states: torch.Tensor) -> OptionTastes:
        """Read option ends [..., width]; popularity is positive, kappa at most 4 (about 55 units)."""
        alpha, popularity, kappa = self.option(states).unbind(-1)
        return OptionTastes(alpha, functional.softplus(popularity), kappa.clamp(max=4.0))

    def discount_worth(self, prefix: PrefixTastes) -> torch.Tensor:
        """Return gamma plus the worth of the display and advertising that usually come with a discount."""
        return prefix.gamma + self.promotion.clamp(min=0.0) * self.support

    def calibrate(self, prefix_states: torch.Tensor, option_states: torch.Tensor) -> None:
        """Store mean and spread of frozen readings, so that every dimension counts alike."""
        for read_out, states in ((self.prefix, prefix_states), (self.option, option_states)):
            standardize = read_out[0]
            if isinstance(standardize, _Standardize):
                standardize.fit(states)

    def utilities(self, prefix: PrefixTastes, option: OptionTastes, shelf: Shelf) -> torch.Tensor:
        """Return training utilities [B, J + 1], the outside option first, -inf where no option is.

        Args:
            prefix: Tastes of each shelf's persona [B].
            option: Tastes of each option [B, J].
            shelf: The numbers of the shelf.
        """
        inside = (
            option.alpha
            + prefix.propensity[:, None]
            - prefix.beta[:, None] * shelf.log_price
            + prefix.gamma[:, None] * shelf.discount
            + self.promotion * shelf.promotion
            + option.popularity * torch.log(shelf.reference_share + SHARE_FLOOR)
            + prefix.rho[:, None] * (shelf.share - shelf.reference_share)
            + prefix.lambda_[:, None] * shelf.last
        )
        inside = inside.masked_fill(~shelf.mask, -torch.inf)
        return torch.cat([shelf.outside[:, None], inside], dim=1)


class _Outputs(nn.Linear):
    """A last layer whose outputs answer to their weights with different gains."""

    gain: torch.Tensor

    def __init__(self, width: int, gain: list[float]) -> None:
        super().__init__(width, len(gain))
        self.register_buffer("gain", torch.tensor(gain)[:, None])

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return functional.linear(states, self.weight * self.gain, self.bias)


class _Standardize(nn.Module):
    """Fixed shift and scale per dimension; identity until fitted."""

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def fit(self, states: torch.Tensor) -> None:
        self.shift.copy_(states.float().mean(0))
        self.scale.copy_(1.0 / states.float().std(0, correction=0).clamp(min=1e-4))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return (states.float() - self.shift) * self.scale


def _read_out(width: int, hidden: int, start: list[float], positive: tuple[str, ...]) -> nn.Sequential:
    """Return standardize -> linear -> SiLU -> linear, whose outputs begin at `start`."""
    names = PREFIX_OUTPUTS if len(start) == len(PREFIX_OUTPUTS) else OPTION_OUTPUTS
    last = _Outputs(hidden, [_GAIN.get(name, 1.0) for name in names])
    raw = [_inverse_softplus(v) if name in positive else v for name, v in zip(names, start, strict=True)]
    nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.tensor(raw))
    return nn.Sequential(_Standardize(width), nn.Linear(width, hidden), nn.SiLU(), last)


def _inverse_softplus(value: float) -> float:
    return float(torch.log(torch.expm1(torch.tensor(value, dtype=torch.float64))))
