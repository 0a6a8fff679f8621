"""TasteModel: a language model's body plus taste heads; reads personas and products into tastes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from malles_env.errors import InvalidInput, invalid
from malles_env.preference.data.asked import asked_shelf
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.text import Persona, ProductText
from malles_env.preference.encoder.adapters import trainable
from malles_env.preference.encoder.backbones import Backbone
from malles_env.preference.encoder.encoder import LiveReader
from malles_env.preference.heads.coefficients import extra_units, units_response
from malles_env.preference.heads.ensemble import HeadSet
from malles_env.preference.heads.inputs import Reader
from malles_env.preference.heads.objective import Scored, score
from malles_env.preference.heads.taste_heads import Sizes
from malles_env.preference.persona_coefficients import TasteReading
from malles_env.preference.promotion_worth import promotion_worth
from malles_env.preference.store.checkpoint import Stored, load_model, save_model
from malles_env.type_aliases import FloatArray


@dataclass
class TasteModel(Stored):
    """A post-trained consumer: texts and purchases in, coefficients of the market's utility out.

    Attributes:
        backbone: Language model body and tokenizer.
        heads: The taste heads.
        card: How it was made and what it scores; kept beside the weights.
        weights_hash: Identifies weights and wording; empty for a model that was never saved.
    """

    @classmethod
    def untrained(
        cls, backbone: Backbone, *, members: int = 1, sizes: Sizes | None = None, seed: int = 0
    ) -> TasteModel:
        """Return a model whose heads start at sensible constants (a plain conditional logit)."""
        return cls(backbone, new_heads(backbone.width, members=members, sizes=sizes, seed=seed))

    @classmethod
    def load(cls, name: str | Path = "embedded") -> TasteModel:
        """Load shipped weights by name (``"embedded"``, ``"smollm2"``) or a directory made by `save`.

        Raises:
            MissingResource: No such model, or its backbone is not installed.
            CorruptFile: A file of it is damaged; the message names the file.
        """
        return load_model(cls, name)

    def save(self, directory: str | Path) -> str:
        """Write weights, tokenizer, configuration and card into `directory`; return the weights' hash."""
        return save_model(self, Path(directory))

    @property
    def reader(self) -> Reader:
        """The backbone as it is now."""
        return LiveReader(self.backbone)

    def trained_modules(self, *, heads_only: bool = False) -> nn.ModuleDict:
        """Return what training changes: the heads, and the backbone's own weights or its adapter."""
        parts: dict[str, nn.Module] = {"heads": self.heads}
        body = self.backbone.model
        if not heads_only and self.backbone.owned:
            parts["backbone"] = body
        elif not heads_only and any(p.requires_grad for p in body.parameters()):
            parts["backbone"] = trainable(body)
        return nn.ModuleDict(parts)

    @torch.no_grad()
    def read(
        self,
        personas: Sequence[Persona],
        products: Sequence[ProductText],
        bought: ArrayLike,
        reference_share: ArrayLike,
        *,
        regular_price: ArrayLike | None = None,
        mean_quantity: ArrayLike | None = None,
    ) -> TasteReading:
        """Read tastes for the market's formula.

        Args:
            personas: S households (or segments) of one market.
            products: J products on its shelf.
            bought: Own earlier purchases of each product [S, J], 0 or more.
            reference_share: Long-run purchase shares among the market's buyers [J], in [0, 1].
            regular_price: Money [J], above 0; None means all alike.
            mean_quantity: Units per purchase in the market's past [J], 1 or more; None means not known.

        Returns:
            Coefficients with which the market's utility is the training utility: alpha at the long-run shares, price
            and discount net of display and advertising, and rho the market's own number, 0 where never trained on.

        Raises:
            InvalidInput: A wrong shape, a negative count, a share outside [0, 1], a price not above 0.
        """
        return self.read_shelves(asked_shelf(personas, products, bought, reference_share, regular_price, mean_quantity))

    def read_draws(
        self,
        personas: Sequence[Persona],
        products: Sequence[ProductText],
        bought: ArrayLike,
        reference_share: ArrayLike,
        *,
        regular_price: ArrayLike | None = None,
        mean_quantity: ArrayLike | None = None,
    ) -> TasteReading:
        """Read D tastes that the households of the training data leave possible; arguments as for `read`.

        The heads are as in `read`; what differs is the market's own terms
        (`malles_env.preference.training.market_terms`): sensitivity to the price, level, rho, display and
        advertising. In a market never trained on all D are alike.

        Returns:
            Coefficients as `read` gives them, each array with a leading axis of D draws.

        Raises:
            InvalidInput: As for `read`, or a model without draws.
        """
        data = asked_shelf(personas, products, bought, reference_share, regular_price, mean_quantity)
        return self.draw_shelves(data)

    def draw_shelves(self, data: TasteData, reader: Reader | None = None) -> TasteReading:
        """Read the drawn tastes of households before one and the same shelf; see `read_draws`, `read_shelves`."""
        draws = self.heads.market_draws
        if not len(draws):
            raise invalid("model.heads.market_draws", 0, "a model whose market terms were drawn by `malles align`")
        parts = self._read(data, reader, list(draws))
        names = [part.name for part in fields(TasteReading)]
        return TasteReading(**{name: np.stack([getattr(part, name) for part in parts]) for name in names})

    def read_shelves(self, data: TasteData, reader: Reader | None = None) -> TasteReading:
        """Read the tastes of households before one and the same shelf.

        Args:
            data: S occasions, one per household, each with the same J products in the same order.
            reader: Gives readings; by default the backbone.

        Raises:
            InvalidInput: The shelves differ.
        """
        (reading,) = self._read(data, reader, [self.heads.market_terms])
        return reading

    @torch.no_grad()
    def _read(self, data: TasteData, reader: Reader | None, terms: Sequence[torch.Tensor]) -> list[TasteReading]:
        """Return a reading with each of some terms of the markets."""
        if not data.mask.all():
            raise InvalidInput("data.mask: got padded shelves; allowed: the same products for every household")
        self.trained_modules().eval()
        known = np.unique(np.append(data.product, data.past[data.past >= 0]))
        readings = (reader or self.reader).of(data.products, known)
        found = []
        worth = promotion_worth(data, self.heads, readings)
        cuts = np.split(np.arange(len(data)), range(512, len(data), 512))
        for own in terms:
            parts = [_tastes(score(data.take(rows), self.heads, readings, terms=own), worth[rows]) for rows in cuts]
            found.append(TasteReading(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]}))
        return found


def _tastes(scored: Scored, promoted: torch.Tensor) -> dict[str, FloatArray]:
    """Return the coefficients; `promoted` is what layers add to the worth of display and advertising [S, 2]."""
    prefix, option = scored.prefix, scored.option
    nothing = torch.zeros_like(option.alpha)
    tensors = {
        "alpha": option.alpha + prefix.propensity[:, None],
        "beta": option.beta,
        "gamma": prefix.gamma,
        "display": prefix.display + promoted[:, 0],
        "feature": prefix.feature + promoted[:, 1],
        "rho": prefix.rho,
        "lambda_": prefix.lambda_,
        "kappa": torch.log(extra_units(prefix, option, nothing)),
        "delta": units_response(prefix, option, nothing).mean(1),
    }
    return {name: tensor.detach().double().cpu().numpy() for name, tensor in tensors.items()}


def new_heads(
    width: int,
    *,
    members: int = 1,
    sizes: Sizes | None = None,
    lines: tuple[str, ...] = (),
    markets: tuple[str, ...] | None = None,
    households: tuple[str, ...] = (),
    seed: int = 0,
) -> HeadSet:
    """Return untrained heads without touching the global random state.

    Args:
        width: Size of the backbone's hidden states.
        members: Heads whose coefficients are averaged, for known categories and for cold starts each.
        sizes: Widths of their layers.
        lines: Names of the lines known one by one.
        markets: Prefix texts of the markets trained on; None means that readings count everywhere.
        households: Names of the households known one by one.
        seed: Seed of the start.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return HeadSet(width, members, sizes, lines, markets, households).eval()
