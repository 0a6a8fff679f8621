"""The rows of the comparison on names: numbers, frozen encoders, trained and prompted models; text with three names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from malles_env.errors import MissingResource, invalid
from malles_env.evaluation.comparison.runner import Makers
from malles_env.evaluation.transfer.study import WordStudy, with_names
from malles_env.evaluation.transfer.word_logit import WordLogit
from malles_env.evaluation.transfer.word_model.model import TransferModel
from malles_env.evaluation.transfer.word_model.saving import locate_words, recorded_words
from malles_env.evaluation.transfer.word_model.scoring import same_text, scorer_of
from malles_env.files import file_hash
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.renamed import NAMES, Names, renamed
from malles_env.preference.data.shelves import ProductTable
from malles_env.preference.encoder.backbones import Pooling, load_backbone
from malles_env.preference.encoder.embeddings import make_readings
from malles_env.preference.prediction import Prediction
from malles_env.type_aliases import OnMessage

if TYPE_CHECKING:
    from malles_env.preference.prompted.model import PromptedModel

NUMBERS = ("uniform", "popularity", "numbers_only", "conditional_logit", "set_network")
"""Rows without words, in the order of the tables; `numbers_only` knows prices alone."""
ENCODERS: dict[str, tuple[str, Pooling]] = {"frozen_minilm": ("minilm", "alone"), "frozen_smollm2": ("smollm2", "mean")}
"""Rows of frozen encoders: backbone, and what a reading is; others are added by name, see `encoder_rows`."""
TRAINED = ("aligned_frozen", "aligned")
"""Taste models: the encoder frozen, and trained end to end."""
PROMPTED = ("unaligned", "prompted")
"""Language models that read each occasion as a prompt: as it is, and trained on purchases. They are slow."""


class Predictor(Protocol):
    """Anything that predicts."""

    def predict(self, data: TasteData) -> Prediction:
        """Return what it says about occasions."""
        ...


Encoders = Mapping[str, tuple[str, Pooling]]


def encoder_rows(backbones: Sequence[str] = ()) -> dict[str, tuple[str, Pooling]]:
    """Return the rows of frozen encoders, those of further causal language models among them.

    Args:
        backbones: ``NAME=BACKBONE`` each, the row being called ``frozen_NAME``; a BACKBONE as
            `malles_env.preference.encoder.backbones.load_backbone` takes it.

    Raises:
        InvalidInput: Something else, or a name that is taken.
    """
    rows = dict(ENCODERS)
    for pair in backbones:
        name, _, backbone = pair.partition("=")
        if not re.fullmatch("[a-z0-9]+", name) or not backbone or f"frozen_{name}" in rows:
            raise invalid("encoder", pair, "NAME=BACKBONE, a new name of small letters and digits")
        rows[f"frozen_{name}"] = (backbone, "mean")
    return rows


def row_name(row: str, names: Names) -> str:
    """Return how a row with text is called under some names."""
    return row if names == "true" else f"{row}_{names}"


def model_folder(model: str | Path, row: str, names: Names) -> Path:
    """Return where the taste model of a row is looked for: MODEL, MODEL-frozen, MODEL-shuffled, MODEL-frozen-shuffled.

    A model that was trained on true names is also asked about anonymous ones.
    """
    frozen = "-frozen" if row == "aligned_frozen" else ""
    return Path(f"{model}{frozen}{'-shuffled' if names == 'shuffled' else ''}")


def prompted_folder(prompted: str | Path, names: Names) -> Path:
    """Return where the prompted model of a row is looked for: PROMPTED or PROMPTED-shuffled."""
    return Path(f"{prompted}{'-shuffled' if names == 'shuffled' else ''}")


def possible_rows(
    model: str | Path | None,
    prompted: str | Path | None = None,
    unaligned: str | None = None,
    encoders: Encoders = ENCODERS,
) -> list[str]:
    """Return the rows there are, in the order of the tables; models where they were trained.

    Args:
        model: Folder of the row ``aligned``; None where there are no taste models.
        prompted: Folder of the row ``prompted``, if any.
        unaligned: Backbone of the row ``unaligned``, if any.
        encoders: Rows of frozen encoders.
    """
    rows = [*NUMBERS, *(row_name(row, names) for row in encoders for names in NAMES)]
    for row in TRAINED if model is not None else ():
        for names in NAMES:
            try:
                locate_words(model_folder(str(model), row, names))
            except MissingResource:
                continue
            rows.append(row_name(row, names))
    if unaligned is not None:
        rows += [row_name("unaligned", names) for names in NAMES]
    if prompted is not None:
        there = [names for names in NAMES if _is_prompted(prompted_folder(prompted, names))]
        rows += [row_name("prompted", names) for names in there]
    return rows


def _is_prompted(folder: Path) -> bool:
    from malles_env.preference.prompted.store import locate_prompted

    try:
        locate_prompted(folder)
    except MissingResource:
        return False
    return True


@dataclass(frozen=True)
class AskedByName:
    """A prompted model that reads products by true names, by others', or by none.

    Attributes:
        model: The model.
        names: Which names.
        orders: Cyclic orders of the shelf that are averaged.
    """

    model: PromptedModel
    names: Names
    orders: int = 1

    def predict(self, data: TasteData) -> Prediction:
        """Return choices among the options and buying nothing."""
        return self.model.predict(with_names(data, self.names), orders=self.orders, units=False)


@dataclass
class WordRows:
    """Gives rows ready to be asked, each fitted once for cold starts and once for known categories.

    Attributes:
        study: The log.
        model: Folder of the row ``aligned``; None where there are no taste models.
        notify: Called with what is being done, in words.
        prompted: Folder of the row ``prompted``, if any.
        unaligned: Backbone of the row ``unaligned``, if any.
        encoders: Rows of frozen encoders.
    """

    study: WordStudy
    model: str | Path | None = None
    notify: OnMessage = lambda _: None
    prompted: str | Path | None = None
    unaligned: str | None = None
    encoders: Encoders = field(default_factory=lambda: ENCODERS)
    _fitted: dict[tuple[str, bool], Predictor] = field(default_factory=dict, init=False)

    def of(self, name: str, split: str) -> Predictor:
        """Return a row for a split."""
        cold = self.study.study.rules.rule(split).cold
        key = (name, cold and row_parts(name)[0] not in (*TRAINED, *PROMPTED))
        if key not in self._fitted:
            self.notify(f"fitting {name} ({'cold' if cold else 'known'})")
            self._fitted[key] = self._made(name, split)
        return self._fitted[key]

    def _made(self, name: str, split: str) -> Predictor:
        row, names = row_parts(name)
        if row in TRAINED:
            model = TransferModel.from_pretrained(model_folder(str(self.model), row, names))
            return scorer_of(model, self.products, self.study.sales, names)
        if row in PROMPTED:
            return AskedByName(self._prompted(row, names), names)
        if row == "numbers_only":
            return WordLogit.fit(self._training(split), facts=False)
        if row in NUMBERS:
            return Makers(self.study.study, split, {}, self.notify).of(row)
        readings = self._readings(row, names)
        return WordLogit.fit(self._training(split), readings)

    def _prompted(self, row: str, names: Names) -> PromptedModel:
        from malles_env.preference.prompted.model import PromptedModel

        if row == "unaligned":
            return PromptedModel.unaligned(str(self.unaligned))
        return PromptedModel.load(prompted_folder(str(self.prompted), names))

    def weights(self, name: str) -> str:
        """Return what identifies the weights of a row of a model that is not the package's own; empty for others."""
        from malles_env.preference.prompted.store import recorded_prompted

        row, names = row_parts(name)
        if row in TRAINED:
            return recorded_words(model_folder(str(self.model), row, names))
        if row == "unaligned":
            return str(self.unaligned)
        if row in self.encoders and row not in ENCODERS:
            backbone = Path(self.encoders[row][0])
            return file_hash(backbone) if backbone.is_file() else str(backbone)
        return recorded_prompted(prompted_folder(str(self.prompted), names)) if row == "prompted" else ""

    def _training(self, split: str) -> TasteData:
        return self.study.study.training(split)[0]

    @cached_property
    def products(self) -> ProductTable:
        """The products with their true names."""
        return self.study.study.data(np.arange(1)).products

    def _readings(self, row: str, names: Names) -> torch.Tensor:
        """Return an encoder's readings of the products; names that only went to others are not read again."""
        name, pooling = self.encoders[row]
        products = renamed(self.products, names)
        # weights of four bits lose nothing in 16 bits, and large models are read several times faster
        precision = torch.bfloat16 if name.endswith(".gguf") else torch.float32
        backbone = load_backbone(name, pooling=pooling, dtype=precision)
        if names == "anonymous":
            return make_readings(backbone, products).product
        true = make_readings(backbone, self.products).product
        return true[torch.as_tensor(same_text(self.products, products))]


def row_parts(name: str) -> tuple[str, Names]:
    """Return the row and the names that a row's name stands for."""
    for names in NAMES[1:]:
        if name.endswith(f"_{names}"):
            return name.removesuffix(f"_{names}"), names
    return name, "true"
