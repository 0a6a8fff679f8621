"""Predictions on choice occasions, whoever makes them: taste model or baseline, in one form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from malles_env.alignment.dataset import TasteData
from malles_env.alignment.model import TasteModel
from malles_env.alignment.objective import StateSource, score

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """What a model says about B occasions with J options.

    Attributes:
        utilities: [B, J + 1], outside option first with the sampling offset, -inf where no option is.
        log_rate: Log of the mean units beyond the first, given a purchase [B, J].
        beta: Sensitivity to log(p/r) [B]; None for a model without prices.
        gamma: Worth of discount depth [B], its usual promotion included.
        delta: Response of `log_rate` to discount depth [B].
    """

    utilities: FloatArray
    log_rate: FloatArray
    beta: FloatArray | None = None
    gamma: FloatArray | None = None
    delta: FloatArray | None = None

    def log_probability(self) -> FloatArray:
        """Return log choice probabilities in the sample, outside option first [B, J + 1]."""
        return log_softmax(self.utilities)

    def inside(self) -> FloatArray:
        """Return log choice probabilities given a purchase [B, J]."""
        return log_softmax(self.utilities[:, 1:])


def log_softmax(values: FloatArray) -> FloatArray:
    """Return values minus the log of the sum of their exponentials, by row."""
    top = values.max(1, keepdims=True)
    whole: FloatArray = values - top - np.log(np.exp(values - top).sum(1, keepdims=True))
    return whole


@torch.no_grad()
def predict(model: TasteModel, data: TasteData, *, source: StateSource | None = None) -> Prediction:
    """Return the taste model's predictions, a part at a time."""
    model.trained_modules().eval()
    order = np.argsort(data.persona, kind="stable")
    parts = [_part(model, data.take(rows), source) for rows in np.split(order, range(512, len(order), 512))]
    back = np.argsort(order, kind="stable")
    utilities, log_rate, beta, gamma, delta = (np.concatenate(columns)[back] for columns in zip(*parts, strict=True))
    return Prediction(utilities, log_rate, beta, gamma, delta)


def _part(model: TasteModel, data: TasteData, source: StateSource | None) -> tuple[FloatArray, ...]:
    scored = score(data, model.heads, source or model)
    log_rate = scored.option.kappa + scored.prefix.delta[:, None] * scored.shelf.discount
    worth = model.heads.discount_worth(scored.prefix)
    tensors = (scored.utilities, log_rate, scored.prefix.beta, worth, scored.prefix.delta)
    return tuple(tensor.double().numpy() for tensor in tensors)
