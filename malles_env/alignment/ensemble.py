"""Several heads with different starts, whose mean coefficients are the model's; and heads for cold starts."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from malles_env.alignment.heads import Inputs, OptionTastes, PrefixTastes, Sizes, TasteHeads, averaged


class Ensemble(nn.Module):
    """Members that read the same inputs.

    Utility is linear in the coefficients, so the mean coefficients give the mean utility: the ensemble is still one
    logit with one set of tastes.

    Args:
        width: Size of the backbone's hidden states.
        members: Number of heads, at least 1.
        sizes: Widths of their layers.
        lines: Lines known one by one.
    """

    def __init__(self, width: int, members: int = 1, sizes: Sizes | None = None, lines: int = 0) -> None:
        """Make the members, each with a start of its own."""
        super().__init__()
        self.sizes = sizes or Sizes()
        self.members = nn.ModuleList(TasteHeads(width, self.sizes, lines) for _ in range(members))

    def each(self, inputs: Inputs) -> list[tuple[PrefixTastes, OptionTastes]]:
        """Return every member's tastes."""
        return [member(inputs) for member in self.members]

    def forward(self, inputs: Inputs) -> tuple[PrefixTastes, OptionTastes]:
        """Return the mean tastes."""
        return averaged(self.each(inputs))

    def discount_worth(self, prefix: PrefixTastes) -> torch.Tensor:
        """Return gamma plus the worth of the promotion that usually comes with a discount [B]."""
        return self._first.discount_worth(prefix)

    def set_support(self, display: float, feature: float) -> None:
        """Tell how much more often a product is displayed and advertised per unit of discount depth."""
        for member in self.members:
            member.support.copy_(torch.tensor([display, feature]))  # type: ignore[union-attr, operator]

    def calibrate(self, inputs: Inputs) -> None:
        """Put readings and facts on one scale, for all members alike."""
        for member in self.members:
            member.calibrate(inputs)  # type: ignore[operator]

    @property
    def support(self) -> torch.Tensor:
        """Display and advertising that come with a unit of discount depth [2]."""
        return self._first.support

    @property
    def _first(self) -> TasteHeads:
        first = self.members[0]
        assert isinstance(first, TasteHeads)
        return first


class HeadPair(nn.Module):
    """Heads for households whose sales and history are shown, and heads for cold starts.

    One set of heads that must serve both learns neither well: what says most in a known category is missing in a new
    one.

    Args:
        width: Size of the backbone's hidden states.
        members: Heads of each kind.
        sizes: Widths of their layers.
        lines: Names of the lines known one by one; a cold start knows none.
    """

    def __init__(self, width: int, members: int = 1, sizes: Sizes | None = None, lines: tuple[str, ...] = ()) -> None:
        """Make both."""
        super().__init__()
        self.lines = lines
        self.warm = Ensemble(width, members, sizes, lines=len(lines))
        self.cold = Ensemble(width, members, sizes)

    def each(self, inputs: Inputs) -> list[tuple[PrefixTastes, OptionTastes]]:
        """Return every member's tastes, each occasion's by the heads that are meant for it."""
        known = inputs.known
        if bool(known.all()):
            return self.warm.each(inputs)
        if not bool(known.any()):
            return self.cold.each(inputs)
        pairs = zip(self.warm.each(inputs), self.cold.each(inputs), strict=True)
        return [_either(known, warm, cold) for warm, cold in pairs]

    def forward(self, inputs: Inputs) -> tuple[PrefixTastes, OptionTastes]:
        """Return the mean tastes."""
        return averaged(self.each(inputs))

    def discount_worth(self, prefix: PrefixTastes) -> torch.Tensor:
        """Return gamma plus the worth of the promotion that usually comes with a discount [B]."""
        return self.warm.discount_worth(prefix)

    def set_support(self, display: float, feature: float) -> None:
        """Tell how much more often a product is displayed and advertised per unit of discount depth."""
        for kind in (self.warm, self.cold):
            kind.set_support(display, feature)

    def codes(self, names: tuple[str, ...]) -> NDArray[np.int64]:
        """Return the code of each line [P]; 0 for one that is not known."""
        place = {name: at for at, name in enumerate(self.lines, start=1)}
        return np.array([place.get(name, 0) for name in names], dtype=np.int64)


def _either(
    known: torch.Tensor, warm: tuple[PrefixTastes, OptionTastes], cold: tuple[PrefixTastes, OptionTastes]
) -> tuple[PrefixTastes, OptionTastes]:
    def chosen(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return torch.where(known.reshape(-1, *[1] * (one.ndim - 1)), one, other)

    prefix = {f.name: chosen(getattr(warm[0], f.name), getattr(cold[0], f.name)) for f in fields(PrefixTastes)}
    option = {f.name: chosen(getattr(warm[1], f.name), getattr(cold[1], f.name)) for f in fields(OptionTastes)}
    return PrefixTastes(**prefix), OptionTastes(**option)
