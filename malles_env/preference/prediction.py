"""Predictions on choice occasions, whoever makes them: taste model or baseline, in one form."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from malles_env.preference.data.dataset import TasteData
from malles_env.preference.heads.coefficients import mean_units, units_response
from malles_env.preference.heads.inputs import Reader
from malles_env.preference.heads.objective import Scored, chosen_units, score
from malles_env.preference.model import TasteModel
from malles_env.type_aliases import FloatArray, IntArray


@dataclass(frozen=True)
class Prediction:
    """What a model says about B occasions with J options.

    Attributes:
        utilities: [B, J + 1], outside option first with the sampling offset, -inf where no option is.
        units: Mean units, given a purchase [B, J]; None for a model without quantities.
        quantity: Log probabilities of 1..Q units of the chosen option, the last class standing for all larger ones
            [B, Q]; rows without a purchase hold anything. None for a model without quantities.
        beta: Sensitivity to log(p/r) [B, J]; None for a model without prices.
        gamma: Worth of discount depth [B], net of display and advertising.
        delta: Response of the log of the mean extra units to discount depth [B].
    """

    utilities: FloatArray
    units: FloatArray | None = None
    quantity: FloatArray | None = None
    beta: FloatArray | None = None
    gamma: FloatArray | None = None
    delta: FloatArray | None = None

    def take(self, index: IntArray) -> Prediction:
        """Return what it says about the occasions at `index`."""
        whole: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        parts: dict[str, Any] = {name: None if part is None else part[index] for name, part in whole.items()}
        return Prediction(**parts)

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
def predict(model: TasteModel, data: TasteData, *, reader: Reader | None = None, size: int = 1024) -> Prediction:
    """Return the taste model's predictions, `size` occasions at a time.

    Args:
        model: The model.
        data: The occasions.
        reader: Readings made before; by default the model's backbone reads.
        size: Occasions per pass.
    """
    model.trained_modules().eval()
    order = np.argsort(data.prefix, kind="stable")
    cuts = np.split(order, range(size, len(order), size))
    parts = [_part(model, data.take(rows), reader or model.reader) for rows in cuts]
    back = np.argsort(order, kind="stable")
    utilities, units, quantity, beta, gamma, delta = (np.concatenate(c)[back] for c in zip(*parts, strict=True))
    return Prediction(utilities, units, quantity, beta, gamma, delta)


def _part(model: TasteModel, data: TasteData, reader: Reader) -> tuple[FloatArray, ...]:
    scored = score(data, model.heads, reader)
    place = torch.as_tensor(np.maximum(data.chosen - 1, 0), device=scored.utilities.device)
    quantity = chosen_units(scored, torch.arange(len(data)), place).log_softmax(-1)
    units = mean_units(scored.prefix, scored.option, scored.batch.live.discount)
    tensors = (scored.utilities, units, quantity, scored.option.beta, scored.prefix.gamma, _response(scored))
    return tuple(tensor.double().cpu().numpy() for tensor in tensors)


def _response(scored: Scored) -> torch.Tensor:
    """Return how the log of the mean extra units answers to discount depth, from no discount to a quarter [B]."""
    nothing = torch.zeros_like(scored.batch.live.discount)
    rise = units_response(scored.prefix, scored.option, nothing)
    mask = scored.batch.inputs.mask
    return (rise * mask).sum(1) / mask.sum(1).clamp(min=1)
