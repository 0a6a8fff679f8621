"""Several heads with different starts, whose mean coefficients are the model's; and which heads answer when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import torch
from torch import nn

from malles_env.preference.data.shelves import ProductTable
from malles_env.preference.heads.coefficients import MARKET_TERMS, OptionTastes, PrefixTastes, averaged, of_market
from malles_env.preference.heads.inputs import Codes
from malles_env.preference.heads.taste_heads import Inputs, Sizes, TasteHeads
from malles_env.type_aliases import IntArray

COLD_SIZES = Sizes(text=16, hidden=32, dropout=0.5)
"""Widths for cold starts: small and noisy, chosen on categories left out of the training ones."""


class Ensemble(nn.Module):
    """Members that read the same inputs.

    Utility is linear in the coefficients, so the mean coefficients give the mean utility: the ensemble is still one
    logit with one set of tastes.

    Args:
        width: Size of the backbone's hidden states.
        members: Number of heads, at least 1.
        sizes: Widths of their layers.
        lines: Lines known one by one.
        households: Households known one by one.
        cold: For cold starts.
        trend: Control for what has been selling better than in the long run.
    """

    def __init__(
        self,
        width: int,
        members: int = 1,
        sizes: Sizes | None = None,
        lines: int = 0,
        households: int = 0,
        *,
        cold: bool = False,
        trend: bool = False,
    ) -> None:
        """Make the members, each with a start of its own."""
        super().__init__()
        self.sizes = sizes or Sizes()
        self.members = nn.ModuleList(
            TasteHeads(width, self.sizes, lines, households, cold=cold, trend=trend) for _ in range(members)
        )

    def each(self, inputs: Inputs) -> list[tuple[PrefixTastes, OptionTastes]]:
        """Return every member's tastes."""
        return [member(inputs) for member in self.members]

    def forward(self, inputs: Inputs) -> tuple[PrefixTastes, OptionTastes]:
        """Return the mean tastes."""
        return averaged(self.each(inputs))

    def calibrate(self, inputs: Inputs) -> None:
        """Put readings and facts on one scale, for all members alike."""
        for member in self.members:
            member.calibrate(inputs)  # type: ignore[operator]


class HeadSet(nn.Module):
    """Heads for the four cases a household may stand in, since one set that must serve all learns none well.

    Whether sales and histories of the category are known (warm) or not (cold) decides what says most; and in a market
    that was never trained on (new), readings do not count: what heads make of them was learned for other markets,
    while facts and purchases carry over.

    Args:
        width: Size of the backbone's hidden states.
        members: Heads of each kind.
        sizes: Widths of the layers of those for known categories.
        lines: Names of the lines known one by one, in markets trained on with histories.
        markets: Prefix texts of the markets trained on; None means that readings count everywhere.
        households: Names of the households known one by one, in the same markets as the lines.
        draws: D.

    Attributes:
        market_terms: `MARKET_TERMS` of each market trained on; row 0 is any other, all 0 [1 + markets, terms].
        market_draws: D draws of them from what the households leave open [D, 1 + markets, terms].
    """

    market_terms: torch.Tensor
    market_draws: torch.Tensor

    def __init__(
        self,
        width: int,
        members: int = 1,
        sizes: Sizes | None = None,
        lines: tuple[str, ...] = (),
        markets: tuple[str, ...] | None = None,
        households: tuple[str, ...] = (),
        draws: int = 0,
    ) -> None:
        """Make all four."""
        super().__init__()
        self.lines, self.markets, self.households = lines, markets, households
        self.warm = Ensemble(width, members, sizes, len(lines), len(households))
        self.cold = Ensemble(width, members, COLD_SIZES, cold=True)
        self.new_warm = Ensemble(1, members, replace(sizes or Sizes(), text=4), trend=True)
        self.new_cold = Ensemble(1, members, replace(COLD_SIZES, text=4), cold=True)
        shape = (len(markets or ()) + 1, len(MARKET_TERMS))
        self.register_buffer("market_terms", torch.zeros(shape))
        self.register_buffer("market_draws", torch.zeros(draws, *shape))
        self._known: dict[bool, tuple[ProductTable, tuple[str, ...], Codes]] = {}

    def each(self, inputs: Inputs, terms: torch.Tensor | None = None) -> list[tuple[PrefixTastes, OptionTastes]]:
        """Return every member's tastes, each occasion's by the heads that are meant for it.

        Args:
            inputs: What the heads read.
            terms: In place of `market_terms`, e.g. one of the draws.
        """
        own = self.market_terms if terms is None else terms
        found: list[tuple[PrefixTastes, OptionTastes]] | None = None
        for known, trained, heads in (
            (True, True, self.warm),
            (False, True, self.cold),
            (True, False, self.new_warm),
            (False, False, self.new_cold),
        ):
            here = (inputs.known == known) & ((inputs.trained > 0) == trained)
            if not bool(here.any()):
                continue
            tastes = heads.each(inputs if trained else _without_readings(inputs))
            if known and trained:
                tastes = [of_market(*pair, own[inputs.market_at]) for pair in tastes]
            found = tastes if found is None else [_either(here, *pair) for pair in zip(tastes, found, strict=True)]
        assert found is not None  # a batch holds at least one occasion
        return found

    def forward(self, inputs: Inputs, terms: torch.Tensor | None = None) -> tuple[PrefixTastes, OptionTastes]:
        """Return the mean tastes; `terms` as for `each`."""
        return averaged(self.each(inputs, terms))

    def calibrate(self, warm: Inputs, cold: Inputs) -> None:
        """Put readings and facts on one scale, from the same occasions with and without their category's past."""
        for known, inputs in (("warm", warm), ("cold", cold)):
            getattr(self, known).calibrate(inputs)
            getattr(self, f"new_{known}").calibrate(_without_readings(inputs))

    def codes(self, products: ProductTable, households: tuple[str, ...] = (), *, new: bool = False) -> Codes:
        """Return what the heads know of products and households; `new` treats all markets as never trained on.

        The batches of one data set share products and households, so the last answer is kept.
        """
        last = self._known.get(new)
        if last is None or last[0] is not products or last[1] is not households:
            last = self._known[new] = (products, households, self._coded(products, households, new))
        return last[2]

    def _coded(self, products: ProductTable, households: tuple[str, ...], new: bool) -> Codes:
        market = np.array([0 if new else self._place(text) for text in products.prefixes], dtype=np.int64)
        trained = ((market > 0) | ((self.markets is None) & (not new))).astype(np.float32)
        return Codes(_places(products.names, self.lines), trained, _places(households, self.households), market)

    def _place(self, prefix: str) -> int:
        """Return the 1-based place of a prefix, perhaps with a note behind it, among the markets trained on, or 0."""
        for at, market in enumerate(self.markets or (), start=1):
            if prefix == market or prefix.startswith(f"{market} "):
                return at
        return 0


def _places(names: Sequence[str], known: tuple[str, ...]) -> IntArray:
    """Return the 1-based place of each name among the known ones, 0 where it is not among them."""
    place = {name: at for at, name in enumerate(known, start=1)}
    return np.array([place.get(name, 0) for name in names], dtype=np.int64)


def _without_readings(inputs: Inputs) -> Inputs:
    """Return the inputs with nothing read."""
    market, product = (torch.zeros(len(x), 1, device=x.device) for x in (inputs.market, inputs.product))
    return replace(inputs, market=market, product=product)


def _either(
    known: torch.Tensor, warm: tuple[PrefixTastes, OptionTastes], cold: tuple[PrefixTastes, OptionTastes]
) -> tuple[PrefixTastes, OptionTastes]:
    def chosen(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return torch.where(known.reshape(-1, *[1] * (one.ndim - 1)), one, other)

    prefix = {f.name: chosen(getattr(warm[0], f.name), getattr(cold[0], f.name)) for f in fields(PrefixTastes)}
    option = {f.name: chosen(getattr(warm[1], f.name), getattr(cold[1], f.name)) for f in fields(OptionTastes)}
    return PrefixTastes(**prefix), OptionTastes(**option)
