"""Taste heads: from readings and facts to coefficients with the right signs, and their utility.

Training utility of option j on a shelf, ``r`` the regular price and ``d = max(0, 1 - p/r)``:

    u_j = alpha_j + propensity - beta_j log(p_j/r_j) + gamma d_j + display_j phi + feature_j psi
          + rho (share_j - long_share_j) + lambda 1[last = j]
    u_0 = log of the rate at which no-purchase visits were sampled (0 at use)

alpha is a linear form in the facts (a plain conditional logit) plus what the readings, the history and the rest of
the assortment add. With these additions at zero and the sensitivities constant, it *is* conditional logit. rho is a
market's own number (`market_prices`): heads know none, so it is 0 in a market that was never trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from malles_env.preference.data.features import OPTION_FEATURES, QUANTITY_FEATURES, SHELF_FEATURES
from malles_env.preference.heads.bounds import RHO_BOUND
from malles_env.preference.heads.coefficients import OptionTastes, PrefixTastes
from malles_env.preference.heads.history import HistoryEncoder, Past
from malles_env.preference.heads.layers import Curve, Named, Outputs, Standardize, inverse_softplus
from malles_env.preference.heads.quantities import QUANTITIES

READINGS_DROPOUT = 0.3
"""Share of the training occasions without readings, so that facts and purchases alone suffice in a new market."""
COLD_READINGS_DROPOUT = 0.5
"""The same for cold starts."""
LINE_UNKNOWN, HOUSEHOLD_UNKNOWN = 0.15, 0.3
"""Shares of lines and of households treated as never seen in training."""
HOUSEHOLD = 16
"""Width of a household's vector."""
SEEN_LIVE = ("display", "feature ad")
"""Live facts that the inner layers see too, since promotions mean more to some than to others. They see no price, so
that demand obeys its law, and no windowed share, so that rho alone says how others' purchases count."""
TREND_LIVE = ("share deviation", "log trend")
"""What heads for markets never trained on see besides, as a control: no rho is known there, but lines enter and leave.
Both are 0 at the long-run shares, where tastes are read, so they predict and are never played."""
_PREFIX_START = {
    "propensity": 0.0,
    "beta": 1.8,
    "gamma": 0.5,
    "display": 0.4,
    "feature": 0.3,
    "lambda_": 0.3,
    "delta": 0.4,
}
_GAIN = {"beta": 4.0, "gamma": 2.0, "lambda_": 2.0, "delta": 2.0}
"""Outputs the loss is flat in move faster, so that personas and markets come to differ in them."""
_POSITIVE = ("beta", "gamma", "delta")
_TREND_START = {"trend": 0.5}


@dataclass(frozen=True)
class Sizes:
    """Widths of the heads.

    Attributes:
        text: Of a projected reading.
        hidden: Of the inner layers.
        dropout: Share of inner units dropped in training.
    """

    text: int = 32
    hidden: int = 64
    dropout: float = 0.1


@dataclass(frozen=True)
class Inputs:
    """What the heads read, B occasions with J options and H past purchases.

    Attributes:
        market: Readings of the prefixes [M, width].
        product: Readings of the products [P, width].
        prefix_at: Row of `market` [B].
        product_at: Row of `product` [B, J].
        line_at: Code of the line, 0 where it is not known [B, J].
        household_at: Code of the household, 0 where it is not known [B].
        option: Facts of the options [B, J, F].
        live: What of the period inner layers see, `SEEN_LIVE`, then `TREND_LIVE` [B, J, 4].
        shelf: Facts of the household [B, G].
        quantity: Facts for units [B, J, K].
        past: The purchase history.
        mask: True where an option exists [B, J].
        known: False where sales and history of the category are withheld [B].
        trained: 1 where readings count, 0 in a market that was never trained on [B].
        market_at: Code of the market, 0 where it was never trained on [B].
        units_of: Place of the only option whose units are wanted [B], which saves work in training; None wants all.
    """

    market: torch.Tensor
    product: torch.Tensor
    prefix_at: torch.Tensor
    product_at: torch.Tensor
    line_at: torch.Tensor
    household_at: torch.Tensor
    option: torch.Tensor
    live: torch.Tensor
    shelf: torch.Tensor
    quantity: torch.Tensor
    past: Past
    mask: torch.Tensor
    known: torch.Tensor
    trained: torch.Tensor
    market_at: torch.Tensor
    units_of: torch.Tensor | None = None


class TasteHeads(nn.Module):
    """Read-outs of a household before a shelf.

    Args:
        width: Size of the backbone's hidden states.
        sizes: Widths of the layers.
        lines: Lines known one by one, 0 for none: what a text does not say of a product is learned beside it.
        households: Households known one by one, 0 for none: what their purchases in a market do not show.
        cold: For cold starts: an additive form in bent facts carries over to new categories where layers do not.
        trend: Control for what has been selling better than in the long run, see `TREND_LIVE`.
    """

    def __init__(
        self,
        width: int,
        sizes: Sizes | None = None,
        lines: int = 0,
        households: int = 0,
        *,
        cold: bool = False,
        trend: bool = False,
    ) -> None:
        """Start at a conditional logit with sensible constants: last layers' weights are zero."""
        super().__init__()
        self.sizes = sizes or Sizes()
        text, hidden = self.sizes.text, self.sizes.hidden
        self.market = nn.Sequential(Standardize(width), nn.Linear(width, text))
        self.product = nn.Sequential(Standardize(width), nn.Linear(width, text))
        self.readings_dropout = COLD_READINGS_DROPOUT if cold else READINGS_DROPOUT
        self.line = Named(lines, text, LINE_UNKNOWN) if lines else None
        self.household = Named(households, HOUSEHOLD, HOUSEHOLD_UNKNOWN) if households else None
        shelf = len(SHELF_FEATURES) + text + (HOUSEHOLD if households else 0)
        self.history = HistoryEncoder(text)
        self.option_facts, self.shelf_facts = Standardize(len(OPTION_FEATURES)), Standardize(len(SHELF_FEATURES))
        self.quantity_facts = Standardize(len(QUANTITY_FEATURES))
        features = len(OPTION_FEATURES) + HistoryEncoder.OUTPUTS
        self.linear = nn.Linear(features, 1, bias=False)
        self.curve = Curve(features) if cold else None
        self.shelf_linear = nn.Linear(len(SHELF_FEATURES), 1, bias=False)
        # What is alike for all options of a shelf is mapped once per shelf and added.
        self.trend, self.seen = trend, len(SEEN_LIVE) + (len(TREND_LIVE) if trend else 0)
        self.first, self.first_shelf = nn.Linear(features + self.seen + text, hidden), nn.Linear(shelf, hidden)
        self.deeper = nn.Linear(hidden, hidden)
        self.second, self.second_shelf = nn.Linear(hidden, hidden), nn.Linear(2 * hidden, hidden)
        self.third = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(self.sizes.dropout)
        self.option_out = Outputs(hidden, {"alpha": 0.0, "beta": 0.0})
        self.prefix_in = nn.Sequential(nn.Linear(2 * hidden + shelf, hidden), nn.SiLU())
        usual = _PREFIX_START | (_TREND_START if trend else {})
        start = {n: inverse_softplus(v) if n in _POSITIVE else v for n, v in usual.items()}
        self.prefix_out = Outputs(hidden, start, _GAIN)
        self.units_in = nn.Linear(hidden + len(QUANTITY_FEATURES) + len(SHELF_FEATURES), hidden)
        self.units_out = nn.Linear(hidden, QUANTITIES)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.shelf_linear.weight)
        nn.init.zeros_(self.units_out.weight)

    def forward(self, inputs: Inputs) -> tuple[PrefixTastes, OptionTastes]:
        """Read the tastes of B households before their shelves."""
        trained = self._with_readings(inputs.trained)
        product, market = self.product(inputs.product), self.market(inputs.market)[inputs.prefix_at] * trained
        option_text = product[inputs.product_at]
        if self.line is not None:
            option_text = option_text + self.line(inputs.line_at)
        option_text = option_text * trained[:, None]
        history = self.history(inputs.past, product[inputs.past.product] * trained[:, None], option_text, inputs.mask)
        numbers = torch.cat([self.option_facts(inputs.option), history], dim=-1)
        shelf = self.shelf_facts(inputs.shelf)
        about = [shelf, market]
        if self.household is not None:
            about.append(self.household(inputs.household_at))
        whole = torch.cat(about, dim=-1)
        inner, pooled = self._shared(
            torch.cat([numbers, inputs.live[..., : self.seen], option_text], dim=-1), whole, inputs.mask
        )
        alpha, lean = self.option_out(inner).unbind(-1)
        alpha = alpha + self.linear(numbers).squeeze(-1)
        if self.curve is not None:
            alpha = alpha + self.curve(numbers)
        prefix = self._prefix(pooled, whole, shelf)
        beta = functional.softplus(prefix.beta[:, None] + lean)
        return prefix, OptionTastes(alpha, beta, self._units(inner, shelf, inputs))

    def _with_readings(self, trained: torch.Tensor) -> torch.Tensor:
        """Return where readings count [B, 1]; in training a share of the occasions must do without them."""
        if self.training:
            trained = trained * (torch.rand(trained.shape, device=trained.device) >= self.readings_dropout)
        return trained[:, None]

    def _shared(
        self, options: torch.Tensor, shelf: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each option's inner state [B, J, hidden] and the shelf's, two ways pooled [B, 2 hidden]."""
        first = functional.silu(self.first(options) + self.first_shelf(shelf)[:, None])
        first = functional.silu(self.deeper(first))
        there = mask[:, :, None]
        mean = (first * there).sum(1) / there.sum(1).clamp(min=1)
        most = first.masked_fill(~there, -10.0).amax(1)
        pooled = torch.cat([mean, most], dim=-1)
        inner = self.dropout(functional.silu(self.second(first) + self.second_shelf(pooled)[:, None]))
        return first + functional.silu(self.third(inner)), pooled

    def _units(self, inner: torch.Tensor, shelf: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        """Return log odds of 1..Q units of every option, or of the one that is asked for."""
        quantity = self.quantity_facts(inputs.quantity)
        if inputs.units_of is not None:
            rows = torch.arange(len(inner), device=inner.device)
            inner, quantity = inner[rows, inputs.units_of][:, None], quantity[rows, inputs.units_of][:, None]
        wide = shelf[:, None].expand(-1, inner.shape[1], -1)
        return self.units_out(functional.silu(self.units_in(torch.cat([inner, quantity, wide], dim=-1))))

    def _prefix(self, pooled: torch.Tensor, whole: torch.Tensor, shelf: torch.Tensor) -> PrefixTastes:
        """Return the household's tastes; beta is still without the products' part and the softplus."""
        raw = self.prefix_out(self.prefix_in(torch.cat([pooled, whole], dim=-1)))
        propensity, beta, gamma, display, feature, lambda_, delta, *control = raw.unbind(-1)
        propensity = propensity + self.shelf_linear(shelf).squeeze(-1)
        positive, rho = functional.softplus, torch.zeros_like(beta)
        trend = RHO_BOUND * torch.tanh(control[0] / RHO_BOUND) if self.trend else rho
        return PrefixTastes(propensity, beta, positive(gamma), display, feature, rho, lambda_, positive(delta), trend)

    def calibrate(self, inputs: Inputs) -> None:
        """Store mean and spread of the readings and facts of some occasions, so that every dimension counts alike."""
        there = inputs.mask
        parts = (
            (self.market[0], inputs.market),
            (self.product[0], inputs.product),
            (self.option_facts, inputs.option[there]),
            (self.quantity_facts, inputs.quantity[there]),
            (self.shelf_facts, inputs.shelf),
        )
        for layer, states in parts:
            layer.fit(states)  # type: ignore[operator]
