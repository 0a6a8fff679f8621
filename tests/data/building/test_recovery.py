"""From a log with known tastes to occasions and back: a logit fitted on them finds the tastes again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.optimize import minimize

from malles_env.data.building.build import build_occasions
from malles_env.data.settings import BuildSettings
from malles_env.data.sources.synthetic import synthetic_transactions


def _fit(arrays: dict[str, np.ndarray], num_products: int, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return maximum-likelihood (price, promotion, last, constants) and their standard errors."""
    mask, chosen = arrays["mask"], arrays["chosen"].astype(int)
    ratio = np.where(mask, arrays["price"] / arrays["regular_price"], 1.0)
    dummies = np.eye(num_products)[np.maximum(arrays["product"], 0)]
    features = np.concatenate([np.stack([-np.log(ratio), arrays["promotion"], arrays["last"]], -1), dummies], -1)
    features = np.where(mask[..., None], features, 0.0)

    def parts(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        utility = np.where(mask, features @ theta, -np.inf)
        utility = np.concatenate([offset[:, None], utility], axis=1)
        utility -= utility.max(axis=1, keepdims=True)
        share = np.exp(utility) / np.exp(utility).sum(axis=1, keepdims=True)
        picked = np.zeros_like(share)
        picked[np.arange(len(chosen)), chosen] = 1.0
        return share, np.einsum("nj,njf->nf", (picked - share)[:, 1:], features)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        share, scores = parts(theta)
        return -np.log(share[np.arange(len(chosen)), chosen]).sum(), -scores.sum(axis=0)

    theta = minimize(loss, np.zeros(features.shape[-1]), jac=True, method="BFGS").x
    scores = parts(theta)[1]
    return theta, np.sqrt(np.diag(np.linalg.inv(scores.T @ scores)))


@pytest.mark.parametrize("with_offers", [True, False], ids=["offers", "imputed prices"])
def test_known_tastes_are_found_again(settings: BuildSettings, with_offers: bool) -> None:
    tables, truth = synthetic_transactions(
        seed=11, num_households=250, num_markets=1, num_classes=1, with_offers=with_offers
    )
    built = build_occasions(tables, dataclasses.replace(settings, outside_ratio=0.4))
    arrays = built.arrays()
    theta, error = _fit(arrays, len(built.products), arrays["log_sampling"])
    known = np.concatenate([[truth.beta[0], truth.promotion, truth.loyalty[0]], truth.alpha[0, 0]])
    # `last` is unknown before the first purchase and some prices are imputed, hence the little on top.
    assert np.abs(theta - known).max() < 0.25
    assert (np.abs(theta - known) < 4 * error + 0.02).all()
    without = _fit(arrays, len(built.products), np.zeros(len(built)))[0]
    assert np.abs(without - known)[3:].max() > 0.4
