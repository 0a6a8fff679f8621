"""Mixed logit: conditional logit whose price, discount, habit and store-brand tastes differ between shoppers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.special import ndtri

from malles_env.evaluation.baselines.base import Row, in_chunks
from malles_env.evaluation.baselines.fitting import Scale
from malles_env.evaluation.baselines.logit import ConditionalLogit
from malles_env.evaluation.baselines.table import AT, Table, purchases, table
from malles_env.evaluation.sobol import sobol_points
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.prediction import Prediction
from malles_env.type_aliases import FloatArray

RANDOM = ("log price", "discount", "log decayed urn", "store brand")
"""Facts whose coefficients are normal over shoppers."""
DRAWS = 50
"""Sobol draws of the coefficients, the same ones at every occasion."""
SAMPLE = 20_000
"""Purchases of the simulated likelihood."""
STEPS = 60
_START = 0.3


@dataclass(frozen=True)
class MixedLogit(Row):
    """Mixed logit given a purchase; purchase and units as in the conditional logit it starts from.

    Attributes:
        plain: Conditional logit, its coefficients replaced by the means.
        spreads: Standard deviations of the coefficients of `RANDOM` [R].
        draws: Standard normal draws [D, R].
    """

    name = "mixed_logit"
    plain: ConditionalLogit
    spreads: FloatArray
    draws: FloatArray

    @classmethod
    def fit(cls, train: TasteData, validation: TasteData, seed: int = 0, *, identities: bool = True) -> MixedLogit:
        """Maximise the simulated likelihood (Train 2009, ch. 10), from the conditional logit on."""
        plain = ConditionalLogit.fit(train, validation, seed)
        draws = _draws(seed)
        means, spreads = _fit(table(purchases(train, SAMPLE, seed)), plain.weights, draws)
        return cls(replace(plain, weights=means), spreads, draws)

    def predict(self, data: TasteData) -> Prediction:
        """Return predictions averaged over the draws; sensitivities are the means."""
        return in_chunks(data, self._part)

    def _part(self, data: TasteData) -> Prediction:
        rows = table(data)
        random = rows.options[:, [AT[name] for name in RANDOM]] * self.spreads
        base = rows.options @ self.plain.weights
        share = np.zeros(len(base))
        for draw in self.draws:
            share += rows.shares(base + random @ draw)
        return self.plain.whole(data, rows, np.log(share / len(self.draws) + 1e-12), base)


def _draws(seed: int) -> FloatArray:
    """Return standard normal Sobol draws [D, R]."""
    points = sobol_points(len(RANDOM), DRAWS, np.random.default_rng(seed))
    return np.asarray(ndtri(points.clip(1e-6, 1 - 1e-6)), dtype=np.float64)


def _fit(rows: Table, start: FloatArray, draws: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return means [F] and spreads [R] of the coefficients."""
    scale = Scale.of(rows.options).spread
    features = torch.from_numpy((rows.options / scale).astype(np.float32))
    at = [AT[name] for name in RANDOM]
    normal = torch.from_numpy(draws.astype(np.float32))
    row, picked = torch.from_numpy(rows.row), torch.from_numpy(rows.picked)
    size = len(start)
    weights = torch.from_numpy(np.concatenate([start * scale, np.full(len(at), _START)])).float().requires_grad_()
    solver = torch.optim.LBFGS([weights], max_iter=STEPS, tolerance_grad=1e-6, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        solver.zero_grad()
        random = features[:, at] * weights[size:]
        scores = (features @ weights[:size])[:, None] + random @ normal.T
        value = _simulated(scores, row, picked)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(closure)  # type: ignore[no-untyped-call]
    found = weights.detach().double().numpy()
    return found[:size] / scale, np.abs(found[size:]) / scale[at]


def _simulated(scores: torch.Tensor, row: torch.Tensor, picked: torch.Tensor) -> torch.Tensor:
    """Return the mean negative log of the choice probability averaged over draws.

    Args:
        scores: [N, D].
        row: Occasion of each alternative [N].
        picked: Chosen alternative of each occasion [B].
    """
    where = row[:, None].expand_as(scores)
    top = torch.full((len(picked), scores.shape[1]), -torch.inf).scatter_reduce(0, where, scores.detach(), "amax")
    mass = torch.zeros_like(top).index_add(0, row, torch.exp(scores - top[row]))
    log_share = scores[picked] - top - torch.log(mass)
    return -(torch.logsumexp(log_share, dim=1) - np.log(scores.shape[1])).mean()
