"""Consumers whose tastes a post-trained language model read from personas and products.

The model runs once per persona and product, not once per period: its readings are kept on disk under the hash of
weights and texts, and from then on these consumers are as fast as any `LogitConsumers`.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from malles_env._moved import old_names
from malles_env.consumers.calibration import shift_to_shares
from malles_env.consumers.logit import LogitConsumers
from malles_env.errors import invalid
from malles_env.files import cache_dir, json_hash, keeping, replacing
from malles_env.market import Population, Tastes
from malles_env.preference.data.text import Persona, ProductText
from malles_env.preference.persona_coefficients import TasteReading
from malles_env.preference.store.locate import recorded_hash
from malles_env.type_aliases import FloatArray, IntArray

if TYPE_CHECKING:
    from typing_extensions import Self

    from malles_env.market import Consumers

logger = logging.getLogger(__name__)
COEFFICIENTS = tuple(part.name for part in fields(TasteReading))


DRAW_MODELS = ("embedded", "smollm2")
"""Shipped models whose bootstraps make the draws together, so that what the models disagree on is drawn too."""


class Readable(Protocol):
    """A scenario whose personas and products a model can read."""

    def with_model(self, model: str) -> Readable:
        """Return a copy whose tastes `model` reads."""
        ...

    def build_consumers(self, model: str | None = None, *, draws: bool = False) -> Consumers:
        """Return who buys."""
        ...


@dataclass(frozen=True)
class AlignedConsumers(LogitConsumers):
    """Logit consumers that know which language model they come from.

    Attributes:
        tastes: Coefficients as read, with the calibration's shift added to alpha.
        model: Name or directory of the taste model.
        weights_hash: Identifies its weights and wording.
        shift: Utils added to each product so that demand has the market's observed level, shape ``(J,)``; zero when
            the tastes were left as read.
        draws: Plausible tastes beside the mean ones, each calibrated to the same level; empty unless asked for.
        draw_models: The taste model of each draw.
    """

    model: str
    weights_hash: str
    shift: FloatArray
    draws: tuple[Tastes, ...] = ()
    draw_models: tuple[str, ...] = ()

    @classmethod
    def from_pretrained(cls, model: str | os.PathLike[str], scenario: Readable, *, draws: bool = False) -> Self:
        """Let a taste model read a scenario's personas and products.

        >>> from malles_env import AlignedConsumers, load_scenario
        >>> consumers = AlignedConsumers.from_pretrained("embedded", load_scenario("ice-cream"))
        >>> consumers.model
        'embedded'

        Args:
            model: ``embedded``, ``smollm2``, a folder or a hub id.
            scenario: A `Scenario` with aligned consumers.
            draws: Whether they carry draws of their tastes too.

        Raises:
            InvalidInput: No scenario, or one without personas for a model to read.
            MissingResource: The model is not there; the message says how to get it.
        """
        if not hasattr(scenario, "build_consumers"):
            raise invalid("scenario", scenario, "a Scenario, e.g. load_scenario('soft-drinks')")
        found = scenario.build_consumers(os.fspath(model), draws=draws)
        if not isinstance(found, cls):
            raise invalid("scenario", scenario, "one with consumers.kind: aligned, whose personas a taste model reads")
        return found


@dataclass(frozen=True)
class Level:
    """The observed level of demand that tastes are fitted to.

    Attributes:
        target: Observed shares of consumers, shape ``(J + 1,)``, index 0 buying nothing; None leaves the tastes as
            read.
        population: Gives segment weights and initial loyalty.
        regular_price: Money, shape ``(J,)``.
        prices: Prices at which these shares were observed, shape ``(J,)``.
        mean_field: Shares that consumers perceived then, shape ``(J,)``.
        centre: Shares at which those have no effect, shape ``(J,)``.
    """

    target: FloatArray | None
    population: Population
    regular_price: FloatArray
    prices: FloatArray
    mean_field: FloatArray
    centre: FloatArray

    def shift(self, tastes: Tastes) -> FloatArray:
        """Return the utils per product that bring `tastes` to this level, shape ``(J,)``.

        Raises:
            InvalidInput: The shares cannot be reached.
        """
        if self.target is None:
            return np.zeros(tastes.num_products)
        return shift_to_shares(
            tastes, self.population, self.regular_price, self.target, self.prices, self.mean_field, self.centre
        )


def aligned_consumers(
    asked: TasteQuestion,
    model: str,
    level: Level,
    *,
    forces: Callable[[Tastes], Tastes] = lambda tastes: tastes,
    draws: bool = False,
) -> AlignedConsumers:
    """Read tastes (or take them from the cache) and fit their level to observed market shares.

    Args:
        asked: Personas, products and what is known of them.
        model: Shipped name or directory of a taste model.
        level: What demand is fitted to.
        forces: Applied to tastes as read before their level is fitted.
        draws: Whether to read draws too: those of all shipped models (`DRAW_MODELS`) where `model` is one of them,
            else its own.

    Raises:
        MissingResource: The model or its backbone is not there; the message says how to get it.
        CorruptFile: The model's files are damaged.
        InvalidInput: A shape does not fit, the shares cannot be reached, or the model has no draws.
    """
    weights_hash = recorded_hash(model)
    tastes = forces(_tastes(_cached_reading(model, weights_hash, asked)))
    shift = level.shift(tastes)
    found: list[Tastes] = []
    names: list[str] = []
    for name in (DRAW_MODELS if model in DRAW_MODELS else (model,)) if draws else ():
        readings = _cached_reading(name, recorded_hash(name), asked, draws=True)
        for d in range(len(readings.alpha)):
            draw = forces(_tastes(TasteReading(**{part: getattr(readings, part)[d] for part in COEFFICIENTS})))
            found.append(draw.shifted(level.shift(draw)))
            names.append(name)
    return AlignedConsumers(tastes.shifted(shift), model, weights_hash, shift, tuple(found), tuple(names))


def _tastes(reading: TasteReading) -> Tastes:
    return Tastes(**{name: getattr(reading, name) for name in COEFFICIENTS})


@dataclass(frozen=True)
class TasteQuestion:
    """All that a reading depends on besides the weights; see `TasteModel.read`.

    Attributes:
        personas: S segments in the model's terms.
        products: J products in the model's terms.
        bought: Past purchases of each product by each persona, shape ``(S, J)``.
        reference_share: Long-run shares among buyers, shape ``(J,)``.
        regular_price: Money, shape ``(J,)``.
        mean_quantity: Units per purchase in the market's past, shape ``(J,)``; None where not known.
    """

    personas: Sequence[Persona]
    products: Sequence[ProductText]
    bought: IntArray
    reference_share: FloatArray
    regular_price: FloatArray
    mean_quantity: FloatArray | None = None

    def key(self, weights_hash: str) -> str:
        """Return a hash of everything."""
        described = [*map(asdict, self.personas), *map(asdict, self.products)]
        arrays = (self.bought, self.reference_share, self.regular_price, self.mean_quantity)
        numbers = [None if array is None else np.asarray(array).tolist() for array in arrays]
        return json_hash([weights_hash, COEFFICIENTS, described, numbers])


def _cached_reading(model: str, weights_hash: str, asked: TasteQuestion, *, draws: bool = False) -> TasteReading:
    """Return a reading, or with `draws` all of a model's, along a leading axis."""
    kind = "-draws" if draws else ""
    path = cache_dir() / "readings" / f"{asked.key(weights_hash)}{kind}.safetensors"
    shape = (len(asked.personas), len(asked.products))
    found = _load(path, shape)
    if found is None:
        from malles_env.preference.model import TasteModel

        logger.info("%s reads %d personas and %d products", model, *shape)
        loaded = TasteModel.load(model)
        read = loaded.read_draws if draws else loaded.read
        found = read(
            asked.personas,
            asked.products,
            asked.bought,
            asked.reference_share,
            regular_price=asked.regular_price,
            mean_quantity=asked.mean_quantity,
        )
        _store(path, found, json.dumps({"model": str(model), "weights_hash": weights_hash}))
    return found


def _load(path: Path, shape: tuple[int, int]) -> TasteReading | None:
    """Return the cached reading; a damaged file is reported and treated as absent, so that it is read anew."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not os.path.isfile(path):  # unlike `Path.is_file` it takes a folder that may not be read for one without it
        return None
    try:
        arrays = load_file(path)
        reading = TasteReading(**{name: arrays[name] for name in COEFFICIENTS})
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        logger.warning("%s is damaged (%s); reading the tastes again", path, error)
        return None
    if reading.alpha.shape[-2:] != shape or any(not np.isfinite(arrays[name]).all() for name in COEFFICIENTS):
        logger.warning("%s holds other tastes than its name says; reading them again", path)
        return None
    return reading


def _store(path: Path, reading: TasteReading, source: str) -> None:
    """Write the reading so that no reader ever sees half of it; where the disk does not let us, say so and go on."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(getattr(reading, name)) for name in COEFFICIENTS}
    with keeping(path), replacing(path) as temporary:
        temporary.write_bytes(save(arrays, {"source": source}))


__getattr__ = old_names(__name__)
