"""A bank of readings: a whole catalogue's names before a learning encoder, few of them read per step."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from malles_env.preference.data.shelves import ProductTable
from malles_env.preference.encoder.backbones import Backbone
from malles_env.preference.encoder.encoder import read_states, rows_of
from malles_env.preference.heads.inputs import Readings

LIVE = 256
"""Names read with gradients per step."""


class BankReader:
    """Gives every product's reading; those of a few names carry gradients, the others are as last read.

    A step's loss depends on the whole catalogue (every customer's earlier purchases), which is far too much to read per
    step. An encoder moves little between two steps, so readings of a few steps ago do (a memory bank; He et al. 2020).
    Without gradients all names are read anew where the encoder has learned since.

    Args:
        backbone: The encoder.
        live: Names read with gradients per step; the likelier the more often they stand on the batch's shelves.
    """

    def __init__(self, backbone: Backbone, live: int = LIVE) -> None:
        """Read nothing yet."""
        self.backbone, self.live = backbone, live
        self._goods: ProductTable | None = None
        self._bank = torch.zeros(0, 0)
        self._stale = True

    def of(self, goods: ProductTable, products: NDArray[np.int64]) -> Readings:
        """Return readings of all goods; which of `products` are read anew is drawn from torch's random state."""
        if self._goods is not goods or (self._stale and not torch.is_grad_enabled()):
            with torch.no_grad():
                self._bank = self._read(goods, np.arange(len(goods)))
            self._goods, self._stale = goods, False
        if not torch.is_grad_enabled():
            return self._readings(goods, self._bank)
        counts = torch.as_tensor(np.bincount(products, minlength=len(goods)), dtype=torch.float64)
        drawn = torch.multinomial(counts, min(self.live, int((counts > 0).sum())), replacement=False)
        rows = torch.sort(drawn).values
        fresh = self._read(goods, rows.numpy())
        whole = self._bank.index_put((rows,), fresh)
        self._bank, self._stale = whole.detach(), True
        return self._readings(goods, whole)

    def _read(self, goods: ProductTable, products: NDArray[np.int64]) -> torch.Tensor:
        requests, product_row, prefix_row = goods.requests(products)
        readings = rows_of(read_states(self.backbone, requests), product_row, prefix_row)
        return readings.product[torch.as_tensor(products, device=readings.product.device)]

    @staticmethod
    def _readings(goods: ProductTable, product: torch.Tensor) -> Readings:
        return Readings(torch.zeros(len(goods.prefixes), product.shape[1], device=product.device), product)
