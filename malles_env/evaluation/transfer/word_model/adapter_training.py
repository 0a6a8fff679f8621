"""Trains an adapter (LoRA) inside an encoder of names on purchases, with gradients that are cached per name.

A name is read once however many occasions it stands in. Each step reads some names without gradients, works out the
choice loss and its gradient with respect to these readings alone, then reads the names again, a few at a time, and
passes the gradient on. The result is that of reading all at once, in little memory.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from malles_env.errors import InvalidInput, invalid
from malles_env.evaluation.transfer.word_model.word_features import LEARNED, WordOccasions
from malles_env.evaluation.transfer.word_model.word_fit import LogWords, fit_logit
from malles_env.files import keeping, replacing
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.encoder.adapters import trainable
from malles_env.preference.encoder.backbones import Backbone
from malles_env.preference.encoder.encoder import mean_pass
from malles_env.preference.heads.kinship import meanings
from malles_env.type_aliases import BoolArray, IntArray, OnMessage

_GROUP = 128
_NONE = -9.0


@dataclass(frozen=True)
class AdapterSettings:
    """Settings of one training.

    Attributes:
        rank: Rank of the adapter.
        layers: Last layers of the encoder that get one.
        rate: Step size of AdamW.
        decay: Weight decay of the adapter.
        drop: Share of the tokens of a name that are left out at random while it is trained on, so that a name is not
            learned as a whole.
        every: Steps between two refits of the columns' weights; readings are kept as often.
        names: Names that gradients reach in one step; all have had their turn before one has its second.
        batch: Occasions of one step.
        refit: Occasions that the columns' weights are fitted on.
        half: Whether the encoder's products are worked out in bfloat16.
        seed: Seed of the adapter's start and of all draws.
    """

    rank: int = 8
    layers: int = 3
    rate: float = 5e-3
    decay: float = 0.01
    drop: float = 0.3
    every: int = 10
    names: int = 512
    batch: int = 2048
    refit: int = 4096
    half: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse counts below 1 and shares outside 0 to 1."""
        if not 0.0 <= self.drop < 1.0:
            raise invalid("drop", self.drop, "0 up to below 1")
        for name in ("every", "names", "batch", "refit"):
            if getattr(self, name) < 1:
                raise invalid(name, getattr(self, name), "1 or more")


@dataclass(frozen=True)
class NameReader:
    """Reads names one by one: the mean of a name's last states.

    Attributes:
        backbone: The encoder.
        tokens: Of each name [P].
        half: Whether products are worked out in bfloat16.
    """

    backbone: Backbone
    tokens: list[tuple[int, ...]]
    half: bool = False

    @classmethod
    def of(cls, backbone: Backbone, texts: tuple[str, ...], *, half: bool = False) -> NameReader:
        """Return a reader of these names."""
        return cls(backbone, [tuple(backbone.encoder.alone(text)) for text in texts], half)

    def dropping(self, share: float, rng: np.random.Generator) -> NameReader:
        """Return a reader of the same names without a share of their tokens; the first and the last one always stay."""

        def some(row: tuple[int, ...]) -> tuple[int, ...]:
            stays = rng.random(len(row)) >= share
            stays[[0, -1]] = True
            return tuple(token for token, stay in zip(row, stays, strict=True) if stay)

        return replace(self, tokens=[some(row) for row in self.tokens]) if share else self

    def groups(self, rows: IntArray) -> list[IntArray]:
        """Return places in `rows`, those of names of about one length together."""
        order = np.argsort([len(self.tokens[row]) for row in rows], kind="stable")
        return np.split(order, range(_GROUP, len(order), _GROUP))

    def states(self, rows: IntArray) -> torch.Tensor:
        """Return readings of names in one pass, with gradients where they are on [N, width]."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            return mean_pass(self.backbone, [self.tokens[row] for row in rows])

    @torch.no_grad()
    def read(self, rows: IntArray) -> torch.Tensor:
        """Return readings of names without gradients [N, width]."""
        found = torch.empty(len(rows), self.backbone.width)
        for group in self.groups(rows):
            found[torch.as_tensor(group)] = self.states(rows[group])
        return found

    def pass_on(self, rows: IntArray, gradient: torch.Tensor) -> None:
        """Add to the encoder's gradients those that follow from the gradient of the readings of `rows` [N, width]."""
        for group in self.groups(rows):
            self.states(rows[group]).backward(gradient[torch.as_tensor(group)])  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Choices:
    """N purchases among J options, after E purchases in other categories.

    Attributes:
        product: Options [N, J].
        mask: True where an option exists [N, J].
        other: What was bought, 0 in the padding [N, E].
        weight: How much each purchase counts, 0 in the padding [N, E].
        chosen: Place of the option that was bought [N].
        fixed: Columns that do not change in training [N, J, K].
    """

    product: torch.Tensor
    mask: torch.Tensor
    other: torch.Tensor
    weight: torch.Tensor
    chosen: torch.Tensor
    fixed: torch.Tensor

    @classmethod
    def of(cls, data: TasteData, words: LogWords) -> Choices:
        """Return the purchases of a log as tensors."""
        found = WordOccasions.of(data, words.trend)
        parts = (found.product, found.mask, np.maximum(found.other, 0), found.weight(), data.chosen - 1)
        tensors = [torch.as_tensor(part) for part in (*parts, words.features(data, None))]
        return cls(*tensors)

    def take(self, rows: IntArray) -> Choices:
        """Return some of the purchases."""
        at = torch.as_tensor(rows)
        return Choices(*(part[at] for part in vars(self).values()))

    def learned(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the pooled likeness of every option to what was bought, by inner products [N, J, `POOLED`].

        Args:
            vectors: Of all products [P, D].
        """
        like = (vectors @ vectors.T).flatten()[self.product[:, :, None] * len(vectors) + self.other[:, None, :]]
        wide = self.weight[:, None, :]
        found = [(like * wide).sum(2), like.masked_fill(wide == 0, _NONE).amax(2)]
        found += [at * torch.log((torch.exp(like / at) * wide).sum(2) + 1e-12) for at in LEARNED]
        some = (self.weight.sum(1) > 0)[:, None] & self.mask
        return torch.stack(found, dim=2) * some[:, :, None]

    def loss(self, vectors: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Return the nats of the purchases given the weights of fixed and learned columns."""
        columns = torch.cat([self.fixed, self.learned(vectors)], dim=2)
        utility = (columns @ weights).masked_fill(~self.mask, -torch.inf)
        return functional.cross_entropy(utility, self.chosen)


def without(data: TasteData, barred: BoolArray) -> TasteData:
    """Return occasions whose histories leave out some products, so that nothing is learned of them.

    Args:
        data: The occasions.
        barred: Products that are left out [P].

    Raises:
        InvalidInput: No purchases of other categories.
    """
    if data.other is None:
        raise InvalidInput("data: got occasions without purchases of other categories; allowed: those of a log")
    hidden = (data.other >= 0) & barred[np.maximum(data.other, 0)]
    return replace(data, other=np.where(hidden, -1, data.other))


class AdapterTraining:
    """One training of an adapter, which can be stopped and taken up.

    Attributes:
        step: Steps done.
        kept: Readings of all names by step, half precision [P, width].
    """

    def __init__(
        self,
        backbone: Backbone,
        texts: tuple[str, ...],
        data: TasteData,
        words: LogWords,
        settings: AdapterSettings,
        file: Path | None = None,
    ) -> None:
        """Start, or take up what `file` holds.

        Args:
            backbone: With a fresh adapter.
            texts: What the products are called [P].
            data: Purchases to learn from, and from nothing else; see `without`.
            words: What the names say to the encoder as it was.
            settings: Settings; a file must come from the same ones.
            file: Where the training is kept.
        """
        backbone.model.eval()
        self.reader = NameReader.of(backbone, texts, half=settings.half)
        self.data, self.choices, self.market = data, Choices.of(data, words), torch.as_tensor(words.market)
        self.settings, self.file, choices = settings, file, self.choices
        shown = [choices.product[choices.mask], choices.other[choices.weight > 0]]
        self.shown: IntArray = np.unique(torch.cat(shown).numpy())
        self.learning = trainable(backbone.model)
        self.optimizer = torch.optim.AdamW(self.learning.values(), lr=settings.rate, weight_decay=settings.decay)
        self.step, self.kept = 0, dict[int, torch.Tensor]()
        if file is not None and file.is_file():
            self._take_up(torch.load(file, weights_only=True), file)
        else:
            self._keep()
        self.table = self.kept[self.step].float()

    def run(self, steps: int, notify: OnMessage = lambda _: None) -> dict[int, torch.Tensor]:
        """Train up to a number of steps, a multiple of `every`; return the readings that were kept, by step."""
        while self.step < steps:
            if self.step % self.settings.every == 0:
                self._refit()
            nats = self.advance()
            if self.step % self.settings.every == 0:
                self._keep()
                self.table = self.kept[self.step].float()
                notify(f"step {self.step} of {steps}: {nats:.4f} nats in training")
        return {step: readings for step, readings in self.kept.items() if step <= steps}

    def advance(self) -> float:
        """Take one step; return the nats of its purchases before it."""
        settings = self.settings
        rows = self._turn()
        draw = np.random.default_rng([settings.seed, 1, self.step])
        batch = self.choices.take(draw.choice(len(self.data), settings.batch))
        at = torch.as_tensor(rows)
        reader = self.reader.dropping(settings.drop, np.random.default_rng([settings.seed, 3, self.step]))
        readings = reader.read(rows)
        self.table[at] = readings
        readings.requires_grad_()
        loss = batch.loss(meanings(self.table.index_copy(0, at, readings), self.market), self.weights)
        (gradient,) = torch.autograd.grad(loss, readings)
        self.optimizer.zero_grad()
        reader.pass_on(rows, gradient)
        self.optimizer.step()
        self.step += 1
        return float(loss.detach())

    def _turn(self) -> IntArray:
        """Return the names whose turn it is."""
        parts = -(-len(self.shown) // self.settings.names)
        order = np.random.default_rng([self.settings.seed, 0, self.step // parts]).permutation(self.shown)
        return np.asarray(np.array_split(order, parts)[self.step % parts])

    @torch.no_grad()
    def _refit(self) -> None:
        """Fit the weights of all columns, by the readings as they are, on a draw of the purchases."""
        draw = np.random.default_rng([self.settings.seed, 2]).permutation(len(self.data))[: self.settings.refit]
        some = self.choices.take(draw)
        columns = torch.cat([some.fixed, some.learned(meanings(self.table, self.market))], dim=2)
        self.weights = torch.as_tensor(fit_logit(columns.numpy(), self.data.take(draw))[0])

    def _keep(self) -> None:
        self.kept[self.step] = self.reader.read(np.arange(len(self.market))).half()
        if self.file is None:
            return
        held: dict[str, Any] = {
            "settings": asdict(self.settings),
            "step": self.step,
            "kept": self.kept,
            "learning": dict(self.learning.items()),
            "optimizer": self.optimizer.state_dict(),
        }
        with keeping(self.file), replacing(self.file) as temporary:
            torch.save(held, temporary)

    def _take_up(self, held: dict[str, Any], file: Path) -> None:
        if held["settings"] != asdict(self.settings):
            raise InvalidInput(f"{file}: got a training with other settings; allowed: the same, or another file")
        self.step, self.kept = held["step"], held["kept"]
        with torch.no_grad():
            for name, weights in self.learning.items():
                weights.copy_(held["learning"][name])
        self.optimizer.load_state_dict(held["optimizer"])
