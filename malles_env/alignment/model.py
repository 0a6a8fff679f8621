"""TasteModel: a language model's body plus taste heads; reads personas and products into tastes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from malles_env.alignment.adapters import trainable
from malles_env.alignment.backbones import Backbone
from malles_env.alignment.coefficients import extra_units, units_response
from malles_env.alignment.dataset import TasteData
from malles_env.alignment.ensemble import HeadSet
from malles_env.alignment.heads import Sizes
from malles_env.alignment.inputs import Reader
from malles_env.alignment.mean_field_slope import mean_field_slope
from malles_env.alignment.objective import Scored, score
from malles_env.alignment.personas import as_occasions
from malles_env.alignment.reader import LiveReader
from malles_env.alignment.reading import TasteReading
from malles_env.alignment.text import Persona, ProductText
from malles_env.errors import InvalidInput, invalid


@dataclass
class TasteModel:
    """A post-trained consumer: texts and purchases in, coefficients of the market's utility out.

    Attributes:
        backbone: Language model body and tokenizer.
        heads: The taste heads.
        card: How it was made and what it scores; kept beside the weights.
        weights_hash: Identifies weights and wording; empty for a model that was never saved.
    """

    backbone: Backbone
    heads: HeadSet
    card: dict[str, Any] = field(default_factory=dict)
    weights_hash: str = ""

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
        from malles_env.alignment.checkpoint import load_model

        return load_model(name)

    def save(self, directory: str | Path) -> str:
        """Write weights, tokenizer, configuration and card into `directory`; return the weights' hash."""
        from malles_env.alignment.checkpoint import save_model

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
            Coefficients such that the market's utility (mean field centred at 1/J) equals the training
            utility at the long-run mean field and moves with it as the training utility does on average over
            products (see `mean_field_slope`); each discount with its usual promotion and none without.

        Raises:
            InvalidInput: A wrong shape, a negative count, a share outside [0, 1], a price not above 0.
        """
        counts, shares = _checked(personas, products, bought, reference_share)
        price = _positive("regular_price", regular_price, 0.0, len(products), 1.0)
        quantity = _positive("mean_quantity", mean_quantity, 1.0 - 1e-9, len(products), np.nan)
        data = as_occasions(personas, products, counts, shares, price, quantity)
        return self.read_shelves(data)

    @torch.no_grad()
    def read_shelves(self, data: TasteData, reader: Reader | None = None) -> TasteReading:
        """Read the tastes of households before one and the same shelf.

        Args:
            data: S occasions, one per household, each with the same J products in the same order.
            reader: Gives readings; by default the backbone.

        Raises:
            InvalidInput: The shelves differ.
        """
        if not data.mask.all():
            raise InvalidInput("data.mask: got padded shelves; allowed: the same products for every household")
        self.trained_modules().eval()
        readings = (reader or self.reader).of(data.goods, np.unique(np.append(data.product, data.past[data.past >= 0])))
        parts = []
        for rows in np.split(np.arange(len(data)), range(512, len(data), 512)):
            some = data.take(rows)
            slope = mean_field_slope(some, self.heads, readings)
            parts.append(self._tastes(score(some, self.heads, readings), slope))
        return TasteReading(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})

    def _tastes(self, scored: Scored, rho: torch.Tensor) -> dict[str, NDArray[np.float64]]:
        prefix, option = scored.prefix, scored.option
        known = scored.batch.inputs.past.popularity
        centre = 1.0 / known.shape[1] - known
        nothing = torch.zeros_like(known)
        tensors = {
            "alpha": option.alpha + prefix.propensity[:, None] + rho[:, None] * centre,
            "beta": option.beta,
            "gamma": self.heads.discount_worth(prefix),
            "rho": rho,
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


def _checked(
    personas: Sequence[Persona],
    products: Sequence[ProductText],
    bought: ArrayLike,
    reference_share: ArrayLike,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    if not personas:
        raise invalid("personas", list(personas), "at least one")
    if not products:
        raise invalid("products", list(products), "at least one")
    counts = np.asarray(bought)
    shape = (len(personas), len(products))
    if counts.shape != shape or not np.issubdtype(counts.dtype, np.integer) or (counts < 0).any():
        raise invalid("bought", counts, f"integers of 0 or more, shape {shape} (personas, products)")
    shares = np.asarray(reference_share, dtype=np.float64)
    if shares.shape != shape[1:] or not ((shares >= 0) & (shares <= 1)).all():
        raise invalid("reference_share", shares, f"numbers in [0, 1], shape {shape[1:]} (products)")
    return counts.astype(np.int64), shares


def _positive(name: str, values: ArrayLike | None, low: float, size: int, unknown: float) -> NDArray[np.float64]:
    if values is None:
        return np.full(size, unknown)
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (size,) or not (numbers > low).all():
        raise invalid(name, numbers, f"numbers above {max(low, 0):.0f}, shape ({size},) (products)")
    return numbers
