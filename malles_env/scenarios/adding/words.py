"""A new product's name in a scenario with a block `words`: likeness to histories, and what names say of appeal."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np

from malles_env.market.tastes import tastes_of
from malles_env.scenarios.adding.proposal import PredictedTaste, Proposal
from malles_env.scenarios.blocks.entries import LogitEntry
from malles_env.scenarios.schema import Scenario
from malles_env.type_aliases import FloatArray


def read_words(scenario: Scenario, asked: Proposal) -> PredictedTaste:
    """Return what the scenario's encoder and its levels make of a name.

    A segment's taste is the appeal that name and price say, plus what launches beyond it showed, plus likeness to the
    segment's history, plus how much the segment buys at all.

    Args:
        scenario: With a block `words`.
        asked: The product.

    Raises:
        MissingResource: The encoder is not installed; the message names its package.
    """
    from malles_env.evaluation.transfer.level import Level
    from malles_env.evaluation.transfer.names import Likeness, read_names

    words = scenario.words
    tastes = tastes_of(scenario.build_consumers())
    assert words is not None and tastes is not None
    known = [product for product in scenario.products if product.product_id in words.level.known]
    place = np.array([scenario.product_ids.index(product.product_id) for product in known])
    histories = [segment.history for segment in scenario.segments]
    likeness = Likeness.of_names([product.title for product in known], histories, words.model)
    fresh = read_names([asked.name], words.model)
    weights = np.array(words.weights)
    liking = likeness.features(likeness.known) @ weights
    new = (likeness.features(fresh) @ weights)[:, 0]
    appeal = np.array([words.level.known[product.product_id] for product in known])
    sd = np.array([words.level.known_sd[product.product_id] for product in known])
    habit = (tastes.alpha[:, place] - appeal - liking).mean(axis=1)
    log_price = np.log([product.regular_price for product in known])
    level = Level(words.level.variance, words.level.length, words.level.price, words.level.noise)
    readings, own = likeness.meaning(likeness.known), likeness.meaning(fresh)
    price = np.array([np.log(asked.price)]) - log_price.mean()
    said, _ = level.predict(readings, log_price - log_price.mean(), appeal, sd, own, price)
    near = np.exp(-0.5 * np.maximum(2.0 - 2.0 * readings @ own[0], 0.0) / (0.5 * level.length) ** 2)
    extra = tastes.kappa[:, place] @ near / near.sum()
    because = (
        f"the {words.level.launches} launches of the log appealed {words.level.launch_bias:+.2f} utils more than "
        f"their names had said, which is added, with a standard deviation of {words.level.launch_sd:.2f}, which is the "
        "interval"
    )
    return PredictedTaste(said[0] + words.level.launch_bias + new + habit, words.level.launch_sd, extra, because)


def with_tastes(scenario: Scenario, entry: dict[str, Any], reading: PredictedTaste) -> dict[str, Any]:
    """Return the fields of the scenario with a product and the tastes for it in the file."""
    assert isinstance(scenario.consumers, LogitEntry)
    fields = scenario.model_dump()
    fields["products"] = [*fields["products"], entry]
    segments, products = len(scenario.segments), len(scenario.products)
    tastes: dict[str, Any] = fields["consumers"]["tastes"]
    alpha = np.broadcast_to(np.asarray(scenario.consumers.tastes.alpha), (segments, products))
    tastes["alpha"] = np.column_stack([alpha, np.round(reading.taste, 3)]).tolist()
    if tastes["kappa"] is not None:
        kappa = np.broadcast_to(_rows(tastes["kappa"], segments), (segments, products))
        tastes["kappa"] = np.column_stack([kappa, np.round(reading.extra, 2)]).tolist()
    for name in ("beta", "gain", "loss"):
        tastes[name] = _longer(tastes[name], products)
    draws = fields["consumers"]["draws"]
    for draw, step in zip(draws, _steps(len(draws), entry["product_id"]), strict=True):
        draw["beta"] = _longer(draw["beta"], products)
        shift = np.broadcast_to(np.asarray(draw["shift"], dtype=np.float64), (products,))
        draw["shift"] = [*shift.tolist(), round(reading.sd * step, 3)]
    return fields


def _steps(count: int, seed: str) -> FloatArray:
    """Return standard normal quantiles in an order that depends on the product alone."""
    normal = NormalDist()
    steps = np.array([normal.inv_cdf((d + 0.5) / count) for d in range(count)])
    return np.random.default_rng(list(seed.encode())).permutation(steps)


def _rows(value: Any, segments: int) -> FloatArray:
    array = np.asarray(value, dtype=np.float64)
    return array[:, None] if array.ndim == 1 and len(array) == segments else array


def _longer(value: Any, products: int) -> Any:
    """Return a coefficient with a column more where it has one per product: the mean of the others'."""
    array = np.asarray(value, dtype=np.float64)
    if array.ndim < 2 or array.shape[1] != products:
        return value
    return np.column_stack([array, array.mean(axis=1)]).tolist()
