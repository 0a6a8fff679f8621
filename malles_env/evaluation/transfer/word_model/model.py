"""TransferModel: an encoder that reads products' names, and what training learned of who buys them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from malles_env.errors import invalid
from malles_env.evaluation.baselines.set_network import SetNetwork
from malles_env.evaluation.transfer.names import centred
from malles_env.evaluation.transfer.word_model.trends import COLUMNS, Sold, trends_of_names
from malles_env.evaluation.transfer.word_model.word_features import Likeness, WordOccasions, between
from malles_env.evaluation.transfer.word_model.word_fit import FittedWords
from malles_env.evaluation.transfer.word_model.word_map import OWN, centred_states
from malles_env.preference.data.packing import Request
from malles_env.preference.data.text import ProductText, product_text
from malles_env.preference.encoder.backbones import Backbone
from malles_env.preference.encoder.encoder import read_states
from malles_env.type_aliases import Float32Array, FloatArray, IntArray

Product = tuple[str, str]
"""Name, as the encoder reads it, and category."""
LONGEST = 200
"""Characters of a name, at most."""
PURCHASES = 50
"""Earlier purchases that count, at most; the newest."""


class Bought(NamedTuple):
    """An earlier purchase.

    Attributes:
        name: The product's name.
        category: Its category.
        weeks: Weeks ago, 0 or more.
        price: Its list price in GBP; None where it is not known.
    """

    name: str
    category: str
    weeks: float = 0.0
    price: float | None = None


@dataclass(frozen=True)
class Catalogued:
    """What a model keeps of the log's names.

    Attributes:
        means: Mean states of all layers by category [F].
        mean_vectors: Mean taste vector that names say, by category [D].
        adapted_means: Mean reading by the encoder with its adapter, by category [width]; empty without one.
        prices: Mean log list price by category.
        trained: Categories trained on.
        products: Code, name and category of each product that has a taste vector [N].
    """

    means: dict[str, Float32Array]
    mean_vectors: dict[str, Float32Array]
    prices: dict[str, float]
    trained: frozenset[str]
    products: tuple[tuple[str, str, str], ...] = ()
    adapted_means: dict[str, Float32Array] = field(default_factory=dict)


@dataclass
class TransferModel:
    """Reads names into utilities of customers who are known by what they bought.

    Attributes:
        backbone: The encoder, whose reading is the states of all layers.
        fitted: What training learned.
        catalogue: What is kept of the log's names.
        known: For categories whose sales and histories are known; None for a model of cold starts alone.
        known_fitted: What words say to `known`: `fitted`, or what was fitted without the adapter.
        card: How it was made and what it scores.
        weights_hash: Identifies the weights; empty for a model that was never saved.
    """

    backbone: Backbone
    fitted: FittedWords
    catalogue: Catalogued
    known: SetNetwork | None = None
    known_fitted: FittedWords | None = None
    card: dict[str, Any] = field(default_factory=dict)
    weights_hash: str = ""

    @classmethod
    def from_pretrained(cls, name: str | Path = "gifts") -> TransferModel:
        """Load shipped weights by name (``"gifts"``), or a folder made by `malles align --protocol online-retail`.

        Raises:
            MissingResource: No such model, or its encoder is not installed; the message says what to install.
            CorruptFile: A file of it is damaged; the message names the file.
        """
        loaded: TransferModel = _saving().load_model(name)
        return loaded

    def save(self, directory: str | Path) -> str:
        """Write weights, configuration and card into `directory`; return the weights' hash."""
        digest: str = _saving().save_model(self, Path(directory))
        return digest

    def utilities(
        self,
        names: Sequence[str],
        category: str,
        histories: Sequence[Sequence[Bought]],
        prices: ArrayLike | None = None,
        sales: Sequence[Sold] = (),
    ) -> FloatArray:
        """Return the utilities of products of one category, nothing being known of them but names and prices.

        Args:
            names: J names.
            category: Their category; one that the log does not have is centred on the names given.
            histories: What each of C customers bought before in other categories, newest first.
            prices: List prices in GBP [J]; None means all alike.
            sales: Everybody's purchases of products of other categories; none means that they are not known.

        Returns:
            Nats [C, J], each row's mean 0.

        Raises:
            InvalidInput: No names or customers, an empty name or one of more than 200 characters, prices of another
                shape or not above 0, an earlier purchase in the future.
        """
        level = _checked(names, histories, prices)
        options = [(words(name), category) for name in names]
        bought = [[past for past in history if past.category != category][:PURCHASES] for history in histories]
        others = [sold for sold in sales if sold.category != category]
        rows: dict[Product, int] = {}
        for product in (*options, *(key(past) for history in bought for past in history), *map(key, others)):
            rows.setdefault(product, len(rows))
        frozen, named_vectors, own = self._vectors(list(rows), category, options)
        at = np.array([rows[product] for product in options])
        asked = _asked(bought, at, rows, level, self._usual(bought), _trend(frozen, at, rows, others))
        learned = None if self.fitted.word_map is None else between(named_vectors / self.fitted.word_map.scale, own)
        weights = self.fitted.seen if category in self.catalogue.trained else self.fitted.unseen
        adapted = self._adapted(list(rows), category, options)
        found = asked.features(between(frozen, frozen), learned, adapted).astype(np.float64) @ weights
        return np.asarray(found - found.mean(1, keepdims=True))

    def _vectors(
        self, products: Sequence[Product], category: str, options: Sequence[Product]
    ) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Return frozen readings, and taste vectors as options and as purchases, all centred by category."""
        readings = read_names(self.backbone, [name for name, _ in products])
        own_rows = [at for at, product in enumerate(products) if product in set(options)]
        means = dict(self.catalogue.means)
        usual: Any = np.mean(list(means.values()), axis=0)
        if category not in means:
            means[category] = readings[own_rows].mean(0)
        # What was bought in a category that the log does not have is compared with the mean of all.
        states = centred_states(
            readings, np.stack([means.get(kind, usual) for _, kind in products]), self.backbone.parts
        )
        frozen = last_layer(states, self.backbone.parts)
        if self.fitted.word_map is None:
            return frozen, frozen, frozen
        raw = states @ self.fitted.word_map.weights
        centre = dict(self.catalogue.mean_vectors)
        centre.setdefault(category, raw[own_rows].mean(0))
        named_vectors = raw - np.stack([centre.get(kind, np.zeros(raw.shape[1], np.float32)) for _, kind in products])
        own = named_vectors.copy()
        for at, product in enumerate(products):
            if product in self._own:
                own[at] = OWN * self._own[product] + (1 - OWN) * named_vectors[at]
        return frozen, named_vectors, own

    def _adapted(self, products: Sequence[Product], category: str, options: Sequence[Product]) -> Likeness | None:
        """Return cosines of readings by the encoder with its adapter, centred by category; None without one."""
        if self.fitted.adapter is None:
            return None
        readings = read_names(self.fitted.adapter, [name for name, _ in products])
        means = self.catalogue.adapted_means
        usual: Any = np.mean(list(means.values()), axis=0)
        own = readings[[at for at, product in enumerate(products) if product in set(options)]].mean(0)
        new = {category: own} if category not in means else {}
        centre = np.stack([(means | new).get(kind, usual) for _, kind in products])
        cosines = centred(readings.astype(np.float64), centre).astype(np.float32)
        return between(cosines, cosines)

    @cached_property
    def _own(self) -> dict[Product, Float32Array]:
        """Taste vectors by name and category; of two products of one name the last one's."""
        listed = zip(self.catalogue.products, self.fitted.vectors, strict=True)
        return {(name, kind): vector for (_, name, kind), vector in listed}

    def _usual(self, histories: Sequence[Sequence[Bought]]) -> Float32Array:
        """Return how dear each customer buys: mean log price less the category's mean, 0 where unknown [C]."""
        known = self.catalogue.prices
        levels = [
            [np.log(past.price) - known[past.category] if past.price and past.category in known else 0.0
             for past in history] or [0.0]
            for history in histories
        ]  # fmt: skip
        return np.array([np.mean(level) for level in levels], dtype=np.float32)


def words(name: str) -> str:
    """Return a name as the encoder reads it."""
    return product_text(ProductText(brand="", words=name))


def key(product: Bought | Sold) -> Product:
    """Return name and category as a model keeps them."""
    return words(product.name), product.category


def read_names(backbone: Backbone, names: Sequence[str]) -> Float32Array:
    """Return readings of names, each read by itself [N, F]."""
    with torch.no_grad():
        return np.asarray(read_states(backbone, [Request("", tuple(names))]).option.numpy())


def last_layer(states: Float32Array, parts: int) -> Float32Array:
    """Return the mean state of the last layer, of length 1: the sentence encoder's own reading [N, width].

    Args:
        states: Of all layers, see `malles_env.evaluation.transfer.word_model.word_map.centred_states` [N, F].
        parts: Number of layers.
    """
    width = states.shape[1] // parts
    found: Float32Array = states[:, -2 * width : -width] * np.float32(np.sqrt(parts))
    return found


def _checked(names: Sequence[str], histories: Sequence[Sequence[Bought]], prices: ArrayLike | None) -> Float32Array:
    """Return log prices less their mean [J]; refuse what cannot be read."""
    if isinstance(names, str) or not names:
        raise invalid("names", names, "a list of at least one name")
    for name in (*names, *(past.name for history in histories for past in history)):
        if not words(name[:LONGEST]) or len(name) > LONGEST:
            shown = name if len(name) <= LONGEST else f"{len(name)} characters"
            raise invalid("names", shown, f"names of 1 to {LONGEST} characters that can be seen")
    if not histories:
        raise invalid("histories", histories, "what at least one customer bought")
    weeks = min((past.weeks for history in histories for past in history), default=0.0)
    if not weeks >= 0:
        raise invalid("weeks", weeks, "weeks ago, 0 or more")
    if prices is None:
        return np.zeros(len(names), dtype=np.float32)
    values = np.asarray(prices, dtype=np.float64)
    if values.shape != (len(names),) or not (np.isfinite(values) & (values > 0)).all():
        raise invalid("prices", prices, f"{len(names)} finite numbers above 0, one per name")
    level = np.log(values)
    return np.asarray(level - level.mean(), dtype=np.float32)


def _trend(frozen: Float32Array, options: IntArray, rows: dict[Product, int], others: Sequence[Sold]) -> Float32Array:
    """Return what sells by its words [J, columns]; zeros where nothing is known of sales."""
    if not others:
        return np.zeros((len(options), len(COLUMNS)), dtype=np.float32)
    at = np.array([rows[key(sold)] for sold in others])
    kinds = np.unique([sold.category for sold in others], return_inverse=True)[1]
    recent, total = (np.array([getattr(sold, name) for sold in others]) for name in ("recent", "total"))
    return trends_of_names(frozen[options], frozen[at], kinds, recent, total)


def _asked(
    histories: Sequence[Sequence[Bought]],
    options: IntArray,
    rows: dict[Product, int],
    level: Float32Array,
    usual: Float32Array,
    trend: Float32Array,
) -> WordOccasions:
    """Return customers before one and the same shelf."""
    count = len(histories)
    shape = (count, max(1, *map(len, histories)) if histories else 1)
    other, ago = np.full(shape, -1, dtype=np.int64), np.zeros(shape, dtype=np.float32)
    for row, history in enumerate(histories):
        other[row, : len(history)] = [rows[key(past)] for past in history]
        ago[row, : len(history)] = [past.weeks for past in history]
    return WordOccasions(
        product=np.tile(options, (count, 1)),
        mask=np.ones((count, len(options)), dtype=bool),
        other=other,
        ago=ago,
        level=np.tile(level, (count, 1)),
        usual=usual,
        trend=np.tile(trend, (count, 1, 1)),
    )


def _saving() -> Any:
    """Return the module that reads and writes models; by name, since it makes them."""
    return import_module("malles_env.evaluation.transfer.word_model.saving")
