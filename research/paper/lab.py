"""Where the paper's claims are tested: occasions, a frozen language model, and heads trained on its readings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_agents.reproduce.base import Options
from malles_env.evaluation.comparison.study import Judged, Study
from malles_env.evaluation.protocol import draw_occasions
from malles_env.files import cache_dir
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.shelves import ProductTable
from malles_env.preference.data.subsets import on_products
from malles_env.preference.encoder.backbones import Backbone, load_backbone
from malles_env.preference.encoder.embeddings import make_readings
from malles_env.preference.heads.ensemble import HeadSet
from malles_env.preference.heads.inputs import Readings
from malles_env.preference.heads.taste_heads import Sizes
from malles_env.preference.model import TasteModel, new_heads
from malles_env.preference.prediction import Prediction, predict
from malles_env.preference.training.config import AlignConfig
from malles_env.preference.training.trainer import align, calibrate
from malles_env.type_aliases import BoolArray
from research.paper.keys import code_digest, digest
from research.paper.plan import Plan
from research.paper.scores import Verdict, judge

if TYPE_CHECKING:
    from malles_env.preference.prompted.model import PromptedModel


@dataclass
class Lab:
    """Occasions and a backbone; gives data, trained heads and predictions, kept on disk so that a run is never lost.

    Attributes:
        study: Occasions and protocol.
        backbone: The language model, frozen.
        directory: Where trained heads and readings are kept.
        plan: How much is run.
        prompted: Gives the same language model to be prompted, untrained; None where there is none.
    """

    study: Study
    backbone: Backbone
    directory: Path
    plan: Plan = field(default_factory=Plan)
    prompted: Callable[[], PromptedModel] | None = None
    _drawn: dict[str, TasteData] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def one_each(self) -> TasteData:
        """One occasion of each market: it names all products, whose rows all data and readings of this lab share."""
        markets = self.study.occasions.occasions["market"].to_numpy()
        return self.study.data(np.sort(np.unique(markets, return_index=True)[1]))

    @property
    def products(self) -> ProductTable:
        """All products."""
        return self.one_each.products

    @cached_property
    def readings(self) -> Readings:
        """What the backbone makes of the products' texts."""
        return self.read(self.products)

    def read(self, products: ProductTable) -> Readings:
        """Return readings of products, from the cache where it has them."""
        return make_readings(
            self.backbone, products, directory=None if self.backbone.digest else self.directory / "texts"
        )

    def rows(self, split: str, *, held_out: bool | None = None, categories: tuple[str, ...] | None = None) -> BoolArray:
        """Return which occasions are of a split and, if asked, of (or not of) held-out or named categories [n]."""
        table = self.study.occasions.occasions
        found: BoolArray = table["split"].to_numpy() == split
        if held_out is not None:
            found = found & (table["held_out"].to_numpy().astype(bool) == held_out)
        if categories is not None:
            found = found & table["category"].is_in(categories).to_numpy()
        return found

    def draw(self, allowed: BoolArray, limit: int | None, seed: int) -> TasteData:
        """Return training or validation occasions: all purchases and the protocol's share of the no-purchase visits.

        Args:
            allowed: Occasions that may be drawn [n].
            limit: Occasions, at most; None takes all.
            seed: Seed of the draw.
        """
        key = digest(allowed, limit, seed)
        if key not in self._drawn:
            self._drawn[key] = self._draw(allowed, limit, seed)
        return self._drawn[key]

    def _draw(self, allowed: BoolArray, limit: int | None, seed: int) -> TasteData:
        share = self.study.rules.train_visits
        bought = self.study.occasions.occasions["chosen"].to_numpy() > 0
        rng = np.random.default_rng([seed, 5])
        kept = np.flatnonzero(allowed & (bought | (rng.random(len(bought)) < share)))
        if limit is not None and limit < len(kept):
            kept = np.sort(rng.permutation(kept)[:limit])
        data = on_products(self.study.data(kept), self.one_each)
        return replace(data, log_sampling=data.log_sampling + np.float32(np.log(share)))

    def pair(
        self, limit: int | None, seed: int, *, held_out: bool | None = None, categories: tuple[str, ...] | None = None
    ) -> tuple[TasteData, TasteData]:
        """Return training occasions, at most `limit`, and the plan's validation occasions, of what `rows` finds."""
        train, validation = (
            self.rows(split, held_out=held_out, categories=categories) for split in ("train", "validation")
        )
        return self.draw(train, limit, seed), self.draw(validation, self.plan.validation, seed)

    def judged(self, allowed: BoolArray, *, limit: int | None = None, seed: int = 0) -> Judged:
        """Return test purchases, at most `limit` (by default the plan's number)."""
        bought = self.study.occasions.occasions["chosen"].to_numpy() > 0
        rows = draw_occasions(self.study.occasions, allowed & bought, limit or self.plan.test, seed)
        buyer = self.study.occasions.occasions["buyer"].to_numpy()[rows].astype(bool)
        return Judged(on_products(self.study.data(rows), self.one_each), buyer)

    def untrained(self, train: TasteData, seed: int, readings: Readings | None = None) -> TasteModel:
        """Return heads at their start: prices, discounts and loyalty at usual values, no tastes."""
        model = TasteModel.untrained(self.backbone, sizes=self.plan.sizes, seed=seed)
        calibrate(model, train, readings or self.readings, seed=seed)
        return model

    def fitted(
        self,
        train: TasteData,
        validation: TasteData,
        seed: int,
        *,
        readings: Readings | None = None,
        reworded: Readings | None = None,
        cold: bool = False,
        **changes: Any,
    ) -> TasteModel:
        """Return trained heads; a run made before, with the same code, data and settings, is not made again.

        Args:
            train: Training occasions.
            validation: Occasions that choose between start and end.
            seed: Seed of weights and order.
            readings: Readings of the products; by default all products of the lab.
            reworded: Readings of the same products in other words.
            cold: Train the heads for cold starts too; otherwise these stay at their start.
            changes: Other fields of `AlignConfig` than the plan's.
        """
        model = self.untrained(train, seed, readings)
        model.heads = _heads_for(train, self.backbone.width, self.plan.sizes, seed)
        calibrate(model, train, readings or self.readings, seed=seed)
        data = digest(code_digest(), train, validation, self.plan.sizes, readings or self.readings)
        for share in (0.0, 1.0) if cold else (0.0,):
            config = self._config(seed, {**changes, "cold": share})
            home = self.directory / "runs" / digest(data, config.shaping(), cold)
            # Markets never trained on are answered by heads of their own, which read nothing.
            for new, out in ((False, home), (True, home / "new")):
                align(
                    model,
                    train,
                    validation,
                    replace(config, new=new),
                    out,
                    reader=readings or self.readings,
                    reworded=None if new else reworded,
                    show=False,
                )
        return model

    def _config(self, seed: int, changes: dict[str, Any]) -> AlignConfig:
        steps = changes.get("steps", self.plan.steps)
        given = {"batch_size": self.plan.batch, "steps": steps, "validate_every": steps, "seed": seed, **changes}
        return AlignConfig(**{**given, "warmup": min(50, steps // 4)})

    def predicted(self, model: TasteModel, data: TasteData, readings: Readings | None = None) -> Prediction:
        """Return a model's predictions."""
        return predict(model, data, reader=readings or self.readings)

    def verdict(self, models: Sequence[TasteModel], judged: Judged) -> Verdict:
        """Return what one model per training run scores on test purchases."""
        return judge([self.predicted(model, judged.data) for model in models], judged)


def _heads_for(train: TasteData, width: int, sizes: Sizes, seed: int) -> HeadSet:
    """Return heads for the lines and markets of some training occasions, as `malles align` makes them."""
    lines = tuple(sorted({train.products.names[at] for at in np.unique(train.product[train.mask])}))
    markets = tuple(train.products.prefixes[at] for at in np.unique(train.prefix))
    return new_heads(width, sizes=sizes, lines=lines, markets=markets, seed=seed)


def lab_for(options: Options, lab: Lab | None) -> Lab:
    """Return the given lab or the Complete Journey's, with the steps that are asked for."""
    lab = lab or journey_lab()
    return lab if options.steps is None else replace(lab, plan=replace(lab.plan, steps=options.steps))


@cache
def journey_lab() -> Lab:
    """Return the lab of the Complete Journey and SmolLM2.

    Raises:
        MissingResource: The data or the language model are not installed; the message says how to get them.
    """
    from malles_env.data.sources.prepare import prepare_complete_journey
    from malles_env.preference.prompted.model import PromptedModel

    home = cache_dir() / "reproduce-paper"
    backbone = load_backbone("smollm2")
    return Lab(Study(prepare_complete_journey()), backbone, home, prompted=lambda: PromptedModel(backbone))


def settings(lab: Lab, options: Options) -> dict[str, Any]:
    """Return what a run was made with."""
    plan = lab.plan
    return {
        "backbone": lab.backbone.name,
        "steps": plan.steps,
        "occasions per step": plan.batch,
        "test purchases": plan.test,
        "runs": options.sessions or 1,
        "seed": options.seed,
    }
