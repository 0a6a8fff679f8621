"""The rows of language models by what makes them, so that other processes can make the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from malles_env.errors import MissingResource
from malles_env.evaluation.comparison.registry import Factory, Predictor, PromptedRow, TasteRow
from malles_env.files import text_hash
from malles_env.preference.store.locate import locate, recorded_hash, shipped_models

TASTE_ROWS = {"aligned_embedded": "embedded", "aligned": "smollm2"}
"""Taste models behind the rows; for splits that hold something out, their twins with ``-seen`` at the end."""
Pair = tuple[str, str | None]
"""A taste model and its twin, which never saw what a split holds out; None: there is none."""


@dataclass(frozen=True)
class LanguageRows:
    """Which language models can be asked.

    Attributes:
        pairs: Row name and taste models of each row that has some.
        prompted: Folder of a prompted model; None leaves the row out.
        unaligned: A backbone that was never trained on purchases; None leaves the row out.
    """

    pairs: tuple[tuple[str, Pair], ...] = ()
    prompted: str | None = None
    unaligned: str | None = None

    def factories(self) -> dict[str, Factory]:
        """Return what gives each row's predictor for a split; models are loaded once per process.

        Raises:
            MissingResource: No such model.
        """
        rows: dict[str, Factory] = {row: _taste_factory(pair) for row, pair in self.pairs}
        for row in ("unaligned", "prompted"):
            if getattr(self, row) is not None:
                rows[row] = _always(_prompted_row(row, getattr(self, row)))
        return rows

    def weights_of(self, row: str, split: str) -> str:
        """Return what identifies the weights that a row asks on a split; empty for a row without recorded ones."""
        from malles_env.preference.prompted.prompt import WORDING

        pairs = dict(self.pairs)
        if row in pairs:
            return recorded_hash(_judged_by(pairs[row], split))
        if getattr(self, row, None) is None:
            return ""
        model = _prompted_row(row, getattr(self, row)).model
        weights = model.weights_hash or model.backbone.digest
        return text_hash(str(WORDING), weights) if weights else ""

    @property
    def taste_models(self) -> tuple[str, ...]:
        """All taste models behind the rows."""
        return tuple(name for _, pair in self.pairs for name in pair if name is not None)


def taste_pairs(model: str | None = None, seen: str | None = None, frozen: str | None = None) -> dict[str, Pair]:
    """Return the taste models that can be asked, each with its twin, by row name; of the shipped ones those there are.

    Args:
        model: Taste model of the row ``aligned``; None takes the shipped one.
        seen: Its twin for splits that hold something out; None means ``<model>-seen``, if there is one.
        frozen: Taste model of the row ``aligned_frozen``, its twin likewise; None leaves the row out.

    Raises:
        MissingResource: No such model.
    """
    shipped = {row: (name, f"{name}-seen") for row, name in TASTE_ROWS.items()}
    pairs: dict[str, Pair] = {row: pair for row, pair in shipped.items() if set(pair) <= set(shipped_models())}
    if model is not None:
        pairs["aligned"] = (model, seen or _twin(model))
    if frozen is not None:
        pairs["aligned_frozen"] = (frozen, _twin(frozen))
    for name in {name for pair in pairs.values() for name in pair if name is not None}:
        locate(name)
    return pairs


def _twin(name: str) -> str | None:
    try:
        locate(f"{name}-seen")
    except MissingResource:
        return None
    return f"{name}-seen"


def _judged_by(pair: Pair, split: str) -> str:
    """Return the model of a pair that never saw what a split holds out."""
    whole, seen = pair
    return whole if split == "time" or seen is None else seen


def _taste_factory(pair: Pair) -> Factory:
    return lambda split: _taste_row(_judged_by(pair, split))


@cache
def _taste_row(name: str) -> Predictor:
    from malles_env.preference.model import TasteModel

    return TasteRow(TasteModel.load(name))


def _always(row: Predictor) -> Factory:
    return lambda _: row


@cache
def _prompted_row(row: str, name: str) -> PromptedRow:
    from malles_env.preference.prompted import PromptedModel

    return PromptedRow(PromptedModel.unaligned(name) if row == "unaligned" else PromptedModel.load(name))
