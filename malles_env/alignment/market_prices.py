"""Each market's own price sensitivity: a last, small phase that leaves the heads as they are.

Heads share what they learn of prices over all markets, and price and promotion are a tenth of what choices tell, so
sensitivities come out too alike. With everything else at rest, the price response of a market is one number that its
own occasions tell: a multiplier of beta, shrunk towards 1 (a hierarchical logit with a plug-in prior), and beside it a
level that keeps the rate of purchases where it was.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from malles_env.alignment.dataset import TasteData
from malles_env.alignment.inputs import Reader
from malles_env.alignment.model import TasteModel
from malles_env.alignment.prediction import predict

SPREAD = 0.5
"""Standard deviation of the log multiplier over markets, before seeing a market's occasions."""
LEVEL_SPREAD = 1.0
"""The same of the level, in utils."""
_ITERATIONS = 60


def fit_market_prices(model: TasteModel, train: TasteData, reader: Reader | None = None) -> None:
    """Fit `HeadSet.market_price` in place, by penalised likelihood of joint choice and of choice given a purchase.

    Args:
        model: The model, its heads trained; they stay as they are.
        train: Training occasions, histories shown.
        reader: Readings made before; by default the model's backbone reads.
    """
    heads = model.heads
    if not heads.markets:
        return
    heads.market_price.zero_()
    said = predict(model, train, reader=reader)
    assert said.beta is not None
    place = torch.as_tensor(heads.codes(train.goods).market[train.prefix])
    chosen, mask = torch.as_tensor(train.chosen), torch.as_tensor(train.mask)
    utility = torch.as_tensor(np.where(np.isfinite(said.utilities), said.utilities, -1e9), dtype=torch.float32)
    slope = torch.as_tensor(said.beta * train.log_price, dtype=torch.float32)
    bought = chosen > 0
    offsets = torch.zeros_like(heads.market_price, requires_grad=True)
    optimizer = torch.optim.LBFGS([offsets], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        own = offsets[place]
        moved = own[:, 1:] - slope * torch.expm1(own[:, :1])
        whole = torch.cat([utility[:, :1], torch.where(mask, utility[:, 1:] + moved, utility[:, 1:])], dim=1)
        joint = functional.cross_entropy(whole, chosen, reduction="sum")
        inside = functional.cross_entropy(whole[bought, 1:], chosen[bought] - 1, reduction="sum")
        prior = ((offsets[:, 0] / SPREAD) ** 2 + (offsets[:, 1] / LEVEL_SPREAD) ** 2).sum() / 2
        total: torch.Tensor = joint + inside + prior
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)
    found = offsets.detach()
    found[0] = 0.0  # a market that is not known
    heads.market_price.copy_(found)
