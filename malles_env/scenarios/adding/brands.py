"""A new product in a scenario whose taste model reads products: its name is read as a brand."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from malles_env.market import Offer
from malles_env.market.demand.choice import respond
from malles_env.market.tastes import tastes_of
from malles_env.scenarios.adding.proposal import PredictedTaste, Proposal, new_entry
from malles_env.scenarios.blocks.entries import AlignedEntry
from malles_env.scenarios.consumer_kinds.aligned import reference_shares
from malles_env.scenarios.schema import Scenario
from malles_env.type_aliases import FloatArray


def read_brand(scenario: Scenario, asked: Proposal) -> PredictedTaste:
    """Return what the scenario's taste model makes of a name.

    The model reads the name as a brand, and the package size that most products have. Its level is off for every
    product, by what the calibration to shares adds; a new one gets the mean of that, and the spread is its interval.

    Args:
        scenario: Of kind aligned.
        asked: The product.

    Raises:
        MissingResource: The model is not there; the message says how to get it.
    """
    entry = scenario.consumers
    assert isinstance(entry, AlignedEntry)
    consumers = scenario.build_consumers()
    shift: FloatArray = getattr(consumers, "shift")  # noqa: B009  what aligned consumers add to what was read
    shares = reference_shares(scenario)
    usual = float(shares @ shift / shares.sum()) if shares.sum() > 0 else float(shift.mean())
    sd = float(np.sqrt(np.average((shift - usual) ** 2, weights=shares))) if shares.sum() > 0 else 0.0
    tastes = tastes_of(_with(scenario, _typed(scenario, asked), calibrate="none").build_consumers())
    assert tastes is not None
    because = (
        "the model takes it for as popular as the median product; what it reads of the "
        f"{len(shares)} known ones is off by {sd:.2f} utils (standard deviation), which is the interval: this log "
        "shows no launches"
    )
    return PredictedTaste(tastes.alpha[:, -1] + usual, max(sd, 1e-6), tastes.kappa[:, -1], because)


def with_shares(scenario: Scenario, entry: dict[str, Any], reading: PredictedTaste) -> dict[str, Any]:
    """Return the fields of the scenario with a product and the shares to which its tastes are calibrated."""
    asked = Proposal(entry["title"], entry["regular_price"], entry["seller"], entry["unit_cost"], entry["enters"])
    before = tastes_of(scenario.build_consumers())
    assert before is not None
    made = _with(scenario, _typed(scenario, asked) | entry)
    alpha = np.column_stack([before.alpha, reading.taste])
    made_tastes = tastes_of(_with(scenario, _typed(scenario, asked) | entry, calibrate="none").build_consumers())
    assert made_tastes is not None
    tastes = made_tastes.shifted(alpha - made_tastes.alpha)
    bought = made.population().weights @ _probability(made, tastes)[:, 1:]
    fields = made.model_dump()
    for product, share in zip(fields["products"], bought / bought.sum(), strict=True):
        product["reference_share"] = float(f"{max(float(share), 1e-6):.4g}")
    fields["consumers"]["purchase_rate"] = float(f"{np.clip(bought.sum(), 1e-4, 0.9999):.4g}")
    return fields


def _typed(scenario: Scenario, asked: Proposal) -> dict[str, Any]:
    """Return the fields of the product that the model reads; its popularity is that of the median product."""
    sizes = Counter((product.size_value, product.size_unit) for product in scenario.products)
    value, unit = sizes.most_common(1)[0][0]
    own = [product for product in scenario.products if product.seller == asked.seller]
    quantities = [product.mean_quantity for product in scenario.products]
    below = float(np.mean([(p.average_price or p.regular_price) / p.regular_price for p in own]))
    return new_entry(scenario, asked) | {
        "brand": asked.name,
        "size_value": value,
        "size_unit": unit,
        "reference_share": max(float(np.median(reference_shares(scenario))), 1e-6),
        "average_price": float(f"{below * asked.price:.4g}"),
        "mean_quantity": None if None in quantities else float(np.mean(quantities)),  # type: ignore[arg-type]
    }


def _with(scenario: Scenario, entry: dict[str, Any], **changes: Any) -> Scenario:
    fields = scenario.model_dump()
    fields["products"] = [*fields["products"], entry]
    fields["consumers"] |= changes
    return Scenario.model_validate(fields)


def _probability(made: Scenario, tastes: Any) -> FloatArray:
    """Return choice probabilities at average prices with everything listed [S, J + 1]."""
    population, perceived = made.population(), made.first_mean_field()
    offer = Offer(
        made.average_price()[None], np.ones((1, len(made.products)), dtype=bool), made.catalog().regular_price,
        perceived[None], population.initial_loyalty[None],
        centre=made.mean_field_settings().first_centre(perceived)[None],
    )  # fmt: skip
    return respond(tastes, offer).probability[0]
