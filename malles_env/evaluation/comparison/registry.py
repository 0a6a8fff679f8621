"""The rows by name: those of numbers, and those that language models plug in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from malles_env.errors import invalid
from malles_env.evaluation.baselines.base import Row
from malles_env.evaluation.baselines.boosted import Boosted
from malles_env.evaluation.baselines.logit import ConditionalLogit
from malles_env.evaluation.baselines.mixed import MixedLogit
from malles_env.evaluation.baselines.set_network import SetNetwork
from malles_env.evaluation.baselines.shares import LastPurchase, Popularity, TrailingPopularity, Uniform, Urn
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.encoder.embeddings import make_readings
from malles_env.preference.heads.quantities import QUANTITIES
from malles_env.preference.model import TasteModel
from malles_env.preference.prediction import Prediction, predict
from malles_env.type_aliases import OnProgress

if TYPE_CHECKING:
    from malles_env.preference.prompted.model import PromptedModel


@dataclass(frozen=True)
class AlwaysOne(Row):
    """One unit, whatever is bought: a row for quantities alone."""

    name = "always_one"
    chooses = False

    @classmethod
    def fit(cls, train: TasteData, validation: TasteData, seed: int = 0, *, identities: bool = True) -> AlwaysOne:
        """Return the row; nothing is learned."""
        return cls()

    def predict(self, data: TasteData) -> Prediction:
        """Return even choices and one unit for sure."""
        inside = np.where(data.mask, 0.0, -np.inf)
        utilities = np.concatenate([data.log_sampling[:, None].astype(np.float64), inside], axis=1)
        quantity = np.full((len(data), QUANTITIES), -np.inf)
        quantity[:, 0] = 0.0
        return Prediction(utilities, np.ones(data.mask.shape), quantity)


NUMBER_ROWS: dict[str, type[Row]] = {
    kind.name: kind
    for kind in (
        Uniform,
        Popularity,
        TrailingPopularity,
        LastPurchase,
        Urn,
        ConditionalLogit,
        MixedLogit,
        Boosted,
        SetNetwork,
        AlwaysOne,
    )
}
"""Rows that are fitted here, in the order of the tables."""
LANGUAGE_ROWS = ("unaligned", "aligned_embedded", "aligned_frozen", "prompted", "aligned")
"""Rows of language models, in the order of the tables."""
SLOW_ROWS = ("unaligned", "prompted")
"""Those that read a whole prompt per decision."""
ROW_NAMES = (*(name for name in NUMBER_ROWS if name != "always_one"), *LANGUAGE_ROWS, "always_one")


class Predictor(Protocol):
    """Anything that predicts."""

    def predict(self, data: TasteData) -> Prediction:
        """Return what it says about occasions."""
        ...


@dataclass(frozen=True)
class TasteRow:
    """A taste model as a row: its backbone reads each text once, frozen, and the readings stay on disk.

    Attributes:
        model: The model.
        progress: Called with (markets read, markets in all).
    """

    model: TasteModel
    progress: OnProgress | None = None

    def predict(self, data: TasteData) -> Prediction:
        """Return what the taste model says about occasions."""
        readings = make_readings(self.model.backbone, data.products, progress=self.progress)
        return predict(self.model, data, reader=readings)


@dataclass(frozen=True)
class PromptedRow:
    """A prompted model as a row.

    Attributes:
        model: The model.
        orders: Cyclic orders of the shelf that are averaged.
    """

    model: PromptedModel
    orders: int = 1

    def predict(self, data: TasteData) -> Prediction:
        """Return what the prompted model says about occasions."""
        return self.seeded(data, 0)

    def seeded(self, data: TasteData, seed: int) -> Prediction:
        """Return the same with shelves in orders drawn by `seed`."""
        return self.model.predict(data, orders=self.orders, seed=seed)


def seeded(predictor: Predictor) -> Callable[[TasteData, int], Prediction]:
    """Return how a predictor answers under a seed; most have nothing random and answer alike."""
    if isinstance(predictor, PromptedRow):
        return predictor.seeded
    return lambda data, seed: predictor.predict(data)


Factory = Callable[[str], Predictor]
"""Gives the predictor for a split: one trained without what the split holds out."""


def chosen_rows(names: str | None, language: dict[str, Factory]) -> list[str]:
    """Return the rows asked for, in the order of the tables.

    Args:
        names: Comma-separated names; None or ``all`` means all there are.
        language: The language models that can be asked.

    Raises:
        InvalidInput: A name that is no row, or a language model that is not there.
    """
    return rows_among(names, [name for name in ROW_NAMES if name in NUMBER_ROWS or name in language])


def rows_among(names: str | None, there: list[str]) -> list[str]:
    """Return the rows asked for among those there are, in the order of the tables.

    Args:
        names: Comma-separated names; None or ``all`` means all there are.
        there: The rows there are.

    Raises:
        InvalidInput: A name that is no row.
    """
    if names is None or names.strip() == "all":
        return there
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in there:
            raise invalid("rows", name, f"all, or a comma-separated list of {', '.join(there)}")
    return [name for name in there if name in wanted]
