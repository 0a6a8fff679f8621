"""A linear model of values: ridge regression of what an action earned, backwards in time (fitted Q evaluation).

The model is linear in features of situation and action, so the value of a situation under a policy needs only the
features' mean over the policy's actions (Duan, Jia and Wang 2020 analyse it).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from malles_agents.logged.estimators import Estimate, Values, bootstrap_counts, terms
from malles_agents.seller_view import SellerView
from malles_env.type_aliases import FloatArray

RIDGE = 1.0
"""Penalty, in episodes: features have variance one."""
FOLDS = 2
Features = Callable[[np.ndarray, np.ndarray], FloatArray]
"""Observations ``(m, D)`` and actions ``(m, A)`` -> features ``(m, K)``."""


def market_features(view: SellerView) -> Features:
    """Return the features of a pricing market: what is seen, and of each own product the listing, price and its square.

    Prices are places in the price box from -1 to 1 and count where a product is listed. Promotion, discounts and orders
    stand as they are.
    """
    own, parts, slots = len(view.products), view.action_parts, view.slots

    def features(observations: np.ndarray, actions: np.ndarray) -> FloatArray:
        first = np.asarray(actions[:, :own], dtype=np.float64)
        if "listed" in parts:
            listed = (actions[:, parts["listed"] : parts["listed"] + own] > 0.0).astype(np.float64)
            price = first
        else:
            listed = (first > 0).astype(np.float64)
            price = 2.0 * (first - 1.0) / (view.price_levels - 1) - 1.0
        rest = [
            np.asarray(actions[:, start : start + own], dtype=np.float64)
            for name, start in parts.items()
            if name not in ("price", "listed")
        ]
        assert all(part.shape[1] <= slots for part in rest)
        return np.concatenate([observations, listed, listed * price, listed * price**2, *rest], axis=1)

    return features


@dataclass(frozen=True)
class Table:
    """Features of logged play, standardised, with a constant in front.

    Attributes:
        taken: Of the logged actions, shape ``(n, T, K)``.
        expected: Their mean over the policy's actions in the same situations, likewise.
        rewards: Shape ``(n, T)``.
    """

    taken: FloatArray
    expected: FloatArray
    rewards: FloatArray

    @classmethod
    def of(cls, taken: FloatArray, expected: FloatArray, rewards: FloatArray) -> Table:
        """Standardise features by those of the logged actions; what never varies there is left out."""
        flat = taken.reshape(-1, taken.shape[-1])
        mean, sd = flat.mean(axis=0), flat.std(axis=0)
        moves = sd > 1e-9
        shape = (*rewards.shape, 1)

        def ready(found: FloatArray) -> FloatArray:
            return np.concatenate([np.ones(shape), (found[..., moves] - mean[moves]) / sd[moves]], axis=2)

        return cls(ready(taken), ready(expected), rewards)


def fit(table: Table, form: str, counts: FloatArray, ridge: float = RIDGE) -> FloatArray:
    """Return the coefficients of each period, shape ``(T, K)``.

    Args:
        table: Logged play.
        form: ``"episode"``: of a reward and all that follows under the policy, backwards from the last period;
            ``"bandit"``: of the reward alone, the same in all periods.
        counts: How often each episode counts, shape ``(n,)``.
        ridge: Penalty on all coefficients but the constant.
    """
    periods, width = table.rewards.shape[1], table.taken.shape[2]
    penalty = ridge * np.diag([0.0, *np.ones(width - 1)])
    if form == "bandit":
        square = np.einsum("n,ntk,ntl->kl", counts, table.taken, table.taken, optimize=True)
        moment = np.einsum("n,ntk,nt->k", counts, table.taken, table.rewards, optimize=True)
        return np.tile(np.linalg.lstsq(square + penalty, moment, rcond=None)[0], (periods, 1))
    found, later = np.empty((periods, width)), np.zeros(len(table.rewards))
    for t in reversed(range(periods)):
        weighted = table.taken[:, t] * counts[:, None]
        moment = weighted.T @ (table.rewards[:, t] + later)
        found[t] = np.linalg.lstsq(weighted.T @ table.taken[:, t] + penalty, moment, rcond=None)[0]
        later = table.expected[:, t] @ found[t]
    return found


def said(table: Table, coefficients: FloatArray) -> Values:
    """Return what fitted coefficients say of logged play."""
    return Values(
        np.einsum("ntk,tk->nt", table.taken, coefficients), np.einsum("ntk,tk->nt", table.expected, coefficients)
    )


def crossed(table: Table, form: str, ridge: float = RIDGE) -> Values:
    """Return what models say of logged play that were fitted to other episodes than the one they speak of.

    Episodes are dealt to two halves in turn, and each half's values come from the model of the other.
    """
    count = len(table.rewards)
    if count < FOLDS:
        return said(table, fit(table, form, np.ones(count), ridge))
    fold = np.arange(count) % FOLDS
    parts = [said(table, fit(table, form, (fold != k).astype(np.float64), ridge)) for k in range(FOLDS)]
    pick = fold[:, None] == 0
    return Values(
        np.where(pick, parts[0].taken, parts[1].taken), np.where(pick, parts[0].expected, parts[1].expected)
    )  # fmt: skip


def direct(
    table: Table, form: str, *, refits: int = 50, seed: int = 0, z: float = 1.96, ridge: float = RIDGE
) -> Estimate:
    """Return the direct method's estimate; with z bootstrap standard errors to either side.

    Args:
        table: Logged play.
        form: ``"episode"`` or ``"bandit"``.
        refits: Resamples of the episodes, each with a model of its own.
        seed: Of the resamples.
        z: Standard errors to either side.
        ridge: See `fit`.
    """
    count, nothing = len(table.rewards), np.zeros_like(table.rewards)

    def value(counts: FloatArray) -> float:
        each = terms("dm", form, nothing, table.rewards, said(table, fit(table, form, counts, ridge)))
        return float(counts @ each / counts.sum())

    estimate = value(np.ones(count))
    again = [value(counts) for counts in bootstrap_counts(count, refits, seed)]
    error = z * float(np.std(again, ddof=1)) if refits > 1 else float("nan")
    return Estimate("dm", form, estimate, estimate - error, estimate + error, float("nan"))
