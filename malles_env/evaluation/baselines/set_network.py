"""The set network as a row: trained on everything, stopped on validation occasions."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from malles_env.evaluation.baselines.base import Row, check_size, in_chunks
from malles_env.evaluation.baselines.deep_sets import Flat, Network, losses
from malles_env.evaluation.baselines.fitting import Scale
from malles_env.evaluation.baselines.shares import option_units
from malles_env.evaluation.baselines.table import Table, purchases, table, thinned
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.heads.quantities import QUANTITIES
from malles_env.preference.prediction import Prediction
from malles_env.type_aliases import IntArray

More = Callable[[TasteData], NDArray[np.floating]]
"""Gives more columns of the alternatives of some occasions, in the order of their table [N, K]."""
CHECKS = 4
"""Times the validation loss is looked at in training, an epoch or more lying between two."""
LEAST_STEPS = 400
"""Steps of training at least: where four epochs are fewer, as on small logs, several epochs lie before each check."""
FEWEST = 500
"""Training purchases needed: with about 300 the network learns them by heart and predicts far worse than a uniform
choice."""
FEWEST_CHECKED = 20
"""Validation purchases needed to choose among the checks."""
BATCH = 512
RATE = 3e-3
CHECKED = 10_000
"""Validation occasions that choose among the checks."""
_DECAY = 0.02
_UNITS_WEIGHT = 0.3
_CLIP = 5.0  # spreads; facts beyond are rare and pull hard
_SCALED_ON = 30_000


@dataclass(frozen=True)
class Scales:
    """Scales of options, quantity and household facts."""

    options: Scale
    quantity: Scale
    shelf: Scale

    @classmethod
    def of(cls, rows: Table) -> Scales:
        """Measure a table."""
        return cls(Scale.of(rows.options), Scale.of(rows.quantity), Scale.of(rows.shelf))

    def __call__(self, rows: Table) -> Table:
        """Return the table scaled and clipped, in half precision."""
        parts = {}
        for name in ("options", "quantity", "shelf"):
            scale: Scale = getattr(self, name)
            values = (getattr(rows, name) - scale.centre.astype(np.float32)) / scale.spread.astype(np.float32)
            parts[name] = np.clip(values, -_CLIP, _CLIP).astype(np.float16)
        return replace(rows, **parts)


@dataclass(frozen=True)
class SetNetwork(Row):
    """The network and the scales of its facts.

    Attributes:
        net: Trained.
        scales: Of its facts.
        more: What it sees of the options besides `malles_env.evaluation.baselines.table.COLUMNS`, if anything.
    """

    name = "set_network"
    net: Network
    scales: Scales
    more: More | None = None

    @classmethod
    def fit(
        cls,
        train: TasteData,
        validation: TasteData,
        seed: int = 0,
        *,
        identities: bool = True,
        more: More | None = None,
    ) -> SetNetwork:
        """Train with Adam and a cosine schedule; keep the weights of the check with the lowest validation loss."""
        check_size(train, FEWEST, "training")
        check_size(validation, FEWEST_CHECKED, "validation")
        scales = Scales.of(_wide_table(thinned(train, _SCALED_ON, seed), more))
        rows = _scaled(train, scales, more)
        checked = thinned(purchases(validation), CHECKED, seed)
        sizes = (rows.options.shape[1], rows.quantity.shape[1], rows.shelf.shape[1])
        named = (int(train.household.max()) + 1, len(train.products)) if identities else (0, 0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = Network(*sizes, *named, QUANTITIES)
            _train(net, train, rows, checked, _scaled(checked, scales, more), seed)
        return cls(net.eval(), scales, more)

    @torch.no_grad()
    def predict(self, data: TasteData) -> Prediction:
        """Return predictions; the network has no price coefficient."""
        return in_chunks(data, self._part)

    def _part(self, data: TasteData) -> Prediction:
        rows = self.scales(_wide_table(data, self.more))
        flat = self.net.known(flat_of(data, rows, np.arange(len(data))))
        scores, buy, inner = self.net(flat)
        odds = self.net.unit_odds(inner, flat, torch.arange(len(rows.row))).log_softmax(1).double().numpy()
        units, quantity = option_units(odds, rows)
        inside = rows.wide(scores.double().numpy()) + buy.double().numpy()[:, None]
        outside = data.log_sampling[:, None].astype(np.float64)
        return Prediction(np.concatenate([outside, inside], axis=1), units, quantity)


def flat_of(data: TasteData, rows: Table, occasions: IntArray) -> Flat:
    """Return some occasions in tensors.

    Args:
        data: All occasions.
        rows: Their scaled table.
        occasions: Rows of `data`.
    """
    sizes = data.mask[occasions].sum(1)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    row = np.repeat(np.arange(len(occasions)), sizes)
    at = rows.starts[occasions][row] + np.arange(len(row)) - starts[row]
    picked = rows.picked[occasions]

    def tensor(values: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values))

    return Flat(
        options=tensor(rows.options[at]).float(),
        quantity=tensor(rows.quantity[at]).float(),
        shelf=tensor(rows.shelf[occasions]).float(),
        row=tensor(row),
        household=tensor(data.household[occasions] + 1),
        line=tensor(data.product[rows.row[at], rows.column[at]] + 1),
        outside=tensor(data.log_sampling[occasions]).float(),
        picked=tensor(np.where(picked >= 0, picked - rows.starts[occasions] + starts, -1)),
    )


def _wide_table(data: TasteData, more: More | None) -> Table:
    rows = table(data)
    if more is None:
        return rows
    return replace(rows, options=np.concatenate([rows.options, more(data).astype(rows.options.dtype)], axis=1))


def _scaled(data: TasteData, scales: Scales, more: More | None = None) -> Table:
    """Return the scaled table of many occasions, made in parts so that single precision never holds them all."""
    cuts = np.split(np.arange(len(data)), range(20_000, len(data), 20_000))
    parts = [scales(_wide_table(data.take(rows), more)) for rows in cuts]
    row, column = np.nonzero(data.mask)
    starts = np.concatenate([[0], np.cumsum(data.mask.sum(1))[:-1]])
    picked = np.where(data.chosen > 0, starts + data.chosen - 1, -1)
    options, quantity, shelf = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("options", "quantity", "shelf")
    )
    return Table(options, quantity, shelf, starts, row, column, picked, parts[0].shape)


def _train(net: Network, train: TasteData, rows: Table, checked: TasteData, other: Table, seed: int) -> None:
    """Train `net` in place."""
    decayed = [p for n, p in net.named_parameters() if p.ndim > 1]
    rest = [p for n, p in net.named_parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": _DECAY}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98))
    rng = np.random.default_rng(seed)
    units = torch.from_numpy(train.quantity.clip(1, QUANTITIES) - 1)
    epochs = epochs_of_check(len(train))
    steps = CHECKS * epochs * math.ceil(len(train) / BATCH)
    best, kept, step = math.inf, copy.deepcopy(net.state_dict()), 0
    for _ in range(CHECKS):
        net.train()
        for _ in range(epochs):
            for occasions in np.split(order := rng.permutation(len(train)), range(BATCH, len(order), BATCH)):
                for group in optimizer.param_groups:
                    group["lr"] = RATE * _schedule(step / steps)
                _step(net, optimizer, flat_of(train, rows, occasions), units[torch.from_numpy(occasions)])
                step += 1
        value = _checked(net, checked, other)
        if value < best:
            best, kept = value, copy.deepcopy(net.state_dict())
    net.load_state_dict(kept)


def epochs_of_check(occasions: int) -> int:
    """Return the epochs before each check: one, or as many as make `LEAST_STEPS` in all.

    Args:
        occasions: Training occasions, at least 1.
    """
    return max(1, math.ceil(LEAST_STEPS / (CHECKS * math.ceil(occasions / BATCH))))


def _step(net: Network, optimizer: torch.optim.Optimizer, flat: Flat, units: torch.Tensor) -> None:
    choice, purchase, amount = losses(net, flat, units)
    optimizer.zero_grad()
    ((choice + purchase + _UNITS_WEIGHT * amount) / len(flat.shelf)).backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()


def _schedule(progress: float) -> float:
    """Return the learning rate's factor: a short rise, then a cosine to nothing."""
    return min(1.0, progress / 0.02 + 0.01) * 0.5 * (1 + math.cos(math.pi * progress))


@torch.no_grad()
def _checked(net: Network, data: TasteData, rows: Table) -> float:
    """Return the nats given a purchase on validation occasions."""
    net.eval()
    total = 0.0
    for occasions in np.split(np.arange(len(data)), range(2048, len(data), 2048)):
        flat = net.known(flat_of(data, rows, occasions))
        total += float(losses(net, flat, torch.zeros(len(occasions), dtype=torch.long))[0])
    return total / len(data)
