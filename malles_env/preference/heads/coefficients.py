"""What heads say of households and options: coefficients, the utility they make, and their means."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch

from malles_env.preference.heads.quantities import QUANTITIES, tilt

MARKET_TERMS = ("log beta multiplier", "level", "rho", "display", "feature")
"""What a market adds to what the heads say; rho is all its own."""
USUAL_DEPTH = 0.25
"""Discount depth at which the response of the units is read, as the market's formula is straight in the log."""


@dataclass(frozen=True)
class PrefixTastes:
    """What the household alone decides, each [B].

    `trend` stands beside rho where a market was never trained on: it predicts what enters and leaves, and is never
    played.
    """

    propensity: torch.Tensor
    beta: torch.Tensor
    gamma: torch.Tensor
    display: torch.Tensor
    feature: torch.Tensor
    rho: torch.Tensor
    lambda_: torch.Tensor
    delta: torch.Tensor
    trend: torch.Tensor


@dataclass(frozen=True)
class OptionTastes:
    """What household and product decide together.

    Attributes:
        alpha: [B, J].
        beta: [B, J], above 0.
        units: Log odds of 1..Q units, given a purchase at the regular price [B, J, Q], or [B, 1, Q] where
            `Inputs.units_of` names one option.
    """

    alpha: torch.Tensor
    beta: torch.Tensor
    units: torch.Tensor


@dataclass(frozen=True)
class Live:
    """What a market changes from period to period; text never sees it. All [B, J] but the last.

    Attributes:
        log_price: log(p/r).
        discount: max(0, 1 - p/r).
        display: 1 where displayed.
        feature: 1 where advertised.
        deviation: Windowed mean field less the long-run share.
        last: 1 where it was the household's last purchase.
        outside: Utility of buying nothing [B].
    """

    log_price: torch.Tensor
    discount: torch.Tensor
    display: torch.Tensor
    feature: torch.Tensor
    deviation: torch.Tensor
    last: torch.Tensor
    outside: torch.Tensor


def utilities(prefix: PrefixTastes, option: OptionTastes, live: Live, mask: torch.Tensor) -> torch.Tensor:
    """Return training utilities [B, J + 1], the outside option first, -inf where no option is."""
    inside = (
        option.alpha
        + prefix.propensity[:, None]
        - option.beta * live.log_price
        + prefix.gamma[:, None] * live.discount
        + prefix.display[:, None] * live.display
        + prefix.feature[:, None] * live.feature
        + (prefix.rho + prefix.trend)[:, None] * live.deviation
        + prefix.lambda_[:, None] * live.last
    )
    return torch.cat([live.outside[:, None], inside.masked_fill(~mask, -torch.inf)], dim=1)


def mean_units(prefix: PrefixTastes, option: OptionTastes, discount: torch.Tensor) -> torch.Tensor:
    """Return expected units per buyer at a discount depth [B, J], at least 1."""
    odds = tilt(option.units, prefix.delta[:, None] * discount)
    units = torch.arange(1, QUANTITIES + 1, dtype=odds.dtype, device=odds.device)
    return (odds.softmax(-1) * units).sum(-1)


def of_market(prefix: PrefixTastes, option: OptionTastes, own: torch.Tensor) -> tuple[PrefixTastes, OptionTastes]:
    """Return the tastes with the market's own terms, see `market_prices`.

    Args:
        prefix: Household tastes [B].
        option: Option tastes [B, J].
        own: `MARKET_TERMS` of each occasion's market [B, terms].
    """
    log_beta, level, rho, display, feature = own.unbind(-1)
    changed = replace(
        prefix,
        propensity=prefix.propensity + level,
        rho=prefix.rho + rho,
        display=prefix.display + display,
        feature=prefix.feature + feature,
    )
    return changed, replace(option, beta=option.beta * log_beta.exp()[:, None])


def extra_units(prefix: PrefixTastes, option: OptionTastes, discount: torch.Tensor) -> torch.Tensor:
    """Return expected units beyond the first at a discount depth [B, J], above 0 so that they have a logarithm."""
    return (mean_units(prefix, option, discount) - 1).clamp(min=1e-6)


def units_response(prefix: PrefixTastes, option: OptionTastes, nothing: torch.Tensor) -> torch.Tensor:
    """Return how the log of `extra_units` answers to discount depth, from none to the usual one [B, J], at least 0.

    Args:
        prefix: What the household decides.
        option: What household and product decide.
        nothing: A discount depth of 0 for every option [B, J].
    """
    plain, deal = (extra_units(prefix, option, nothing + depth) for depth in (0.0, USUAL_DEPTH))
    # Tilting never lowers the mean, but the ratio of two nearly equal means can round to just below 1.
    return (torch.log(deal / plain) / USUAL_DEPTH).clamp(min=0)


def averaged(parts: list[tuple[PrefixTastes, OptionTastes]]) -> tuple[PrefixTastes, OptionTastes]:
    """Return the mean coefficients of several heads: their mean utility, since it is linear in them."""

    def mean(tastes: list[PrefixTastes] | list[OptionTastes]) -> dict[str, torch.Tensor]:
        names = [f.name for f in fields(tastes[0])]
        return {name: torch.stack([getattr(t, name) for t in tastes]).mean(0) for name in names}

    return PrefixTastes(**mean([p for p, _ in parts])), OptionTastes(**mean([o for _, o in parts]))
