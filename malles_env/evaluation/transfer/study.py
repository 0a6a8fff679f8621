"""The gift wholesaler's occasions and launches, as the protocol judges them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from malles_env.data.occasions import Occasions
from malles_env.data.sources.gifts.catalogue import GiftSettings
from malles_env.data.sources.gifts.prepare import prepare_launches, prepare_online_retail
from malles_env.data.splits import Splits
from malles_env.evaluation.comparison.study import Study
from malles_env.evaluation.protocol import Protocol, protocol, split_rows
from malles_env.evaluation.transfer.launches import Launches
from malles_env.evaluation.transfer.word_model.trends import weekly_sales
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.renamed import Names, renamed
from malles_env.type_aliases import Float32Array


@dataclass
class WordStudy:
    """Occasions and launches of one log, coded alike.

    Attributes:
        study: The occasions and the protocol.
        trials: Launches put before customers.
    """

    study: Study
    trials: Occasions

    @classmethod
    def online_retail(cls, file: str | Path | None = None) -> WordStudy:
        """Return the gift wholesaler's, from the cache where they are there.

        Args:
            file: The log; by default where `malles_env.data.sources.gifts.reading.log_file` finds it.

        Raises:
            MissingResource: The log is not there; the message says how to get it.
        """
        rules = protocol("online-retail")
        settings = gift_settings(rules)
        return cls(Study(prepare_online_retail(settings, file=file), rules), prepare_launches(settings, file=file))

    def launches(self) -> Launches:
        """Return the launches."""
        listed: dict[str, Any] = self.trials.meta["launches"]
        trials = Study(self.trials, self.study.rules).data(np.arange(len(self.trials)))
        products = self.study.data(np.arange(1)).products
        return Launches.of(replace(trials, products=products), listed["product_id"], listed["market"], listed["sales"])

    def learning(self) -> TasteData:
        """Return the occasions that may teach a word model: training and validation ones."""
        rows = split_rows(self.study.occasions, "unseen_cold", self.study.rules)
        return self.study.data(np.flatnonzero(rows.train | rows.validation))

    @cached_property
    def sales(self) -> Float32Array:
        """Everybody's purchases by product and week [P, weeks]; a week's shelf sees those before it."""
        return weekly_sales(self.study.occasions)


def gift_settings(rules: Protocol) -> GiftSettings:
    """Return the settings that build occasions as the protocol splits them."""
    spans = rules.periods
    return GiftSettings(
        Splits(spans.burn_in[1], spans.train[1], spans.validation[1], frozenset(rules.held_out_categories))
    )


def with_names(data: TasteData, names: Names) -> TasteData:
    """Return occasions whose products are called by their names, by others', or by none."""
    return replace(data, products=renamed(data.products, names))
