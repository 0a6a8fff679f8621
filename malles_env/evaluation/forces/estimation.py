"""All forces of one market."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from malles_env.evaluation.forces.choice import inertia, mean_field, promotion, reference_price
from malles_env.evaluation.forces.estimates import ForceEstimate
from malles_env.evaluation.forces.log import MarketLog, read_market
from malles_env.evaluation.forces.pantry import pantry
from malles_env.evaluation.forces.seasons import seasons

if TYPE_CHECKING:
    from malles_env.data.occasions import Occasions

OF_PURCHASES: dict[str, Callable[[MarketLog], ForceEstimate]] = {
    "promotion": promotion,
    "reference_price": reference_price,
    "inertia": inertia,
    "mean_field": mean_field,
}
"""Forces on which product is bought, given that one is."""
OF_VISITS: dict[str, Callable[[MarketLog], ForceEstimate]] = {"seasons": seasons, "pantry": pantry}
"""Forces on whether and how much is bought."""
FORCES = (*OF_PURCHASES, *OF_VISITS)


def estimate_forces(occasions: Occasions, market: str, seed: int = 0) -> list[ForceEstimate]:
    """Estimate every force in one market, on the training and validation weeks; the test weeks are never read.

    Args:
        occasions: Choice occasions.
        market: A name of theirs.
        seed: Seed of the two-fold splits of households.

    Returns:
        One estimate per force, in the order of `FORCES`.

    Raises:
        InvalidInput: No such market, too few purchases or weeks in it, or an estimate that is not finite.
    """
    log = read_market(occasions, market, seed)
    bought = log.purchases()
    return [estimate(bought) for estimate in OF_PURCHASES.values()] + [estimate(log) for estimate in OF_VISITS.values()]
