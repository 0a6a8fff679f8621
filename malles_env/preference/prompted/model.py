"""PromptedModel: a language model asked "which of these?" in words, answering by label probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from malles_env.errors import invalid
from malles_env.preference.encoder.adapters import with_adapter
from malles_env.preference.encoder.backbones import Backbone, load_backbone, new_embedded
from malles_env.preference.prediction import Prediction
from malles_env.preference.prompted.data import PromptData, prompt_data
from malles_env.preference.prompted.labels import UNIT_DIGITS
from malles_env.preference.prompted.losses import reference_scores
from malles_env.preference.prompted.packing import ALL, NONE, PromptBatch, Speller, attention_bias, pad, spell
from malles_env.preference.prompted.questions import HOUSEHOLDS, Question, ask, cyclic, passes
from malles_env.preference.prompted.reference import frozen_copy, reference_body
from malles_env.preference.prompted.store import StoredPrompted, load_prompted, save_prompted

if TYPE_CHECKING:
    from malles_env.data.occasions import Occasions
    from malles_env.preference.data.dataset import TasteData

REFERENCES = ("none", "base")


@dataclass(frozen=True)
class LabelAnswers:
    """What the label rows of the vocabulary say about M occasions.

    Attributes:
        scores: [M, J + 1], outside option first with its sampling offset, -inf where no option is.
        units: Log probabilities of 1..9 units at each units question [U, 9].
        unit_owner: Index of the occasion among the M and 0-based place on its own shelf [U, 2].
        rows: The occasions [M].
    """

    scores: torch.Tensor
    units: torch.Tensor
    unit_owner: torch.Tensor
    rows: torch.Tensor


@dataclass
class PromptedModel(StoredPrompted):
    """A consumer that reads shelf and household in words and answers with a distribution over labels.

    Attributes:
        backbone: Language model body and tokenizer; the tied input embeddings of the labels are the output rows.
        prior: Strength of the attention prior on price, discount and promotion tokens, in nats; 0 is off.
        reference: ``"none"``, or ``"base"`` for scores relative to the model before training.
        beta: Scale of reference-adjusted scores.
        card: How it was made and what it scores.
        weights_hash: Identifies weights and wording; empty for a model that was never saved.
    """

    def __post_init__(self) -> None:
        """Find the labels; keep the reference."""
        if self.reference not in REFERENCES:
            raise invalid("reference", self.reference, " or ".join(map(repr, REFERENCES)))
        if not 0 <= self.prior <= 20:
            raise invalid("prior", self.prior, "0 (off) to 20 nats")
        if not self.beta > 0:
            raise invalid("beta", self.beta, "above 0")
        self.speller = Speller(self.backbone.encoder)
        self.base = frozen_copy(self.backbone) if self.reference == "base" else None

    @classmethod
    def unaligned(
        cls, name: str = "smollm2", *, prior: float = 0.0, dtype: torch.dtype = torch.float32
    ) -> PromptedModel:
        """Return a pre-trained backbone as it is, never trained on purchases."""
        return cls(load_backbone(name, dtype=dtype), prior=prior)

    @classmethod
    def embedded(
        cls,
        texts: Iterable[str],
        *,
        width: int = 64,
        layers: int = 2,
        vocabulary: int = 640,
        seed: int = 0,
        **settings: Any,
    ) -> PromptedModel:
        """Return an untrained tiny body with words learned from `texts`; `settings` as the class's fields.

        Its matrices start with variance 1 / inputs, those that write back smaller. The usual 0.02, meant for widths of
        thousands, leaves a narrow body's attention uniform over a thousand tokens and its labels too short to answer
        with confidence.
        """
        backbone = new_embedded(texts, width=width, layers=layers, vocabulary=vocabulary, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        for name, weight in backbone.model.named_parameters():
            if weight.ndim == 2:
                scale = 0.25 if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0
                nn.init.normal_(weight, std=scale * weight.shape[1] ** -0.5, generator=generator)
        return cls(backbone, **settings)

    @classmethod
    def adapted(
        cls, backbone: Backbone, *, rank: int = 8, layers: int = 10, seed: int = 0, **settings: Any
    ) -> PromptedModel:
        """Return a pre-trained backbone with a fresh adapter on its last layers; `settings`: fields of the class."""
        return cls(with_adapter(backbone, rank=rank, layers=layers, seed=seed), **settings)

    @classmethod
    def load(cls, directory: str | Path) -> PromptedModel:
        """Load a folder made by `save`, or a shipped name such as ``"prompted-smollm2"``.

        Raises:
            MissingResource: No such model, or its backbone is not installed.
            CorruptFile: A file of it is damaged; the message names the file.
        """
        return load_prompted(cls, directory)

    def save(self, directory: str | Path) -> str:
        """Write weights, configuration and card into `directory`; return the weights' hash."""
        return save_prompted(self, Path(directory))

    def answers(self, questions: Sequence[Question], data: PromptData, units: str = NONE) -> LabelAnswers:
        """Answer questions in one forward pass (two with a reference), without generating anything."""
        batch = pad([spell(question, data, self.speller, units) for question in questions])
        rows = np.concatenate([question.rows for question in questions])
        states = self._states(batch, self.backbone.model)
        scores = self._choice(states, batch, questions, data)
        if self.reference == "base":
            with torch.no_grad(), reference_body(self.backbone, self.base) as body:
                base = self._choice(self._states(batch, body), batch, questions, data)
            scores = reference_scores(scores.log_softmax(1), base.log_softmax(1), self.beta)
        scores = torch.cat(
            [scores[:, :1] + torch.from_numpy(data.log_sampling[rows]).float()[:, None], scores[:, 1:]], 1
        )
        found = states[batch.unit[:, 0], batch.unit[:, 1]] @ self._rows(self.speller.labels.units).T
        return LabelAnswers(scores, found.log_softmax(1), self._owners(batch, questions), torch.from_numpy(rows))

    @torch.no_grad()
    def predict(
        self, data: PromptData | TasteData | Occasions, *, orders: int = 2, seed: int = 0, units: bool = True
    ) -> Prediction:
        """Return choice probabilities averaged over cyclic orders of the shelf, and mean units.

        Args:
            data: Choice occasions.
            orders: Cyclic orders, evenly spread over the shelf, 1 or more.
            seed: Seed of the order they start from.
            units: Also ask for the units of every option, in the first order.
        """
        prompts = prompt_data(data)
        total, logs = self.label_probabilities(prompts, orders=orders, seed=seed, units=units)
        utilities = _relative(total, prompts)
        if logs is None:
            return Prediction(utilities)
        chosen = np.maximum(prompts.chosen - 1, 0)
        return Prediction(utilities, mean_units(logs), logs[np.arange(len(prompts)), chosen])

    @torch.no_grad()
    def label_probabilities(
        self, prompts: PromptData, *, orders: int = 2, seed: int = 0, units: bool = True
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return choice probabilities, averaged over orders, and log probabilities of units; arguments as in `predict`.

        Returns:
            Of the outside option (with its sampling offset) and the options [B, J + 1], and of 1..9 units of each
            option [B, J, 9], None where not asked.
        """
        if orders < 1:
            raise invalid("orders", orders, "1 or more")
        self.backbone.model.eval()
        questions = ask(prompts, HOUSEHOLDS)
        total = np.zeros((len(prompts), prompts.mask.shape[1] + 1))
        logs = np.full((*prompts.mask.shape, len(UNIT_DIGITS)), -np.log(len(UNIT_DIGITS)))
        for turn in range(orders):
            asked = ALL if units and turn == 0 else NONE
            for part in passes(cyclic(questions, turn, orders, seed), prompts):
                answers = self.answers(part, prompts, asked)
                rows, owner = answers.rows.numpy(), answers.unit_owner.numpy()
                total[rows] += answers.scores.double().softmax(1).numpy() / orders
                logs[rows[owner[:, 0]], owner[:, 1]] = answers.units.double().numpy()
        return total, logs if units else None

    def _states(self, batch: PromptBatch, body: nn.Module) -> torch.Tensor:
        dtype = self.embeddings.dtype
        bias = attention_bias(batch, self.prior, dtype)
        found = body(
            input_ids=batch.ids, attention_mask=bias, position_ids=batch.positions, use_cache=False
        ).last_hidden_state
        return found.float()

    def _choice(
        self, states: torch.Tensor, batch: PromptBatch, questions: Sequence[Question], data: PromptData
    ) -> torch.Tensor:
        """Return label logits by place on each occasion's own shelf [M, J + 1], outside option first."""
        labels = self.speller.labels
        found = states[batch.answer[:, 0], batch.answer[:, 1]] @ self._rows((labels.outside, *labels.options)).T
        width = data.mask.shape[1]
        column = np.zeros((len(found), width), dtype=np.int64)
        present = np.zeros((len(found), width), dtype=bool)
        at = 0
        for question in questions:
            for places in question.places:
                column[at, places[question.order]] = 1 + np.arange(len(places))
                present[at, places] = True
                at += 1
        inside = found.gather(1, torch.from_numpy(column)).masked_fill(~torch.from_numpy(present), -torch.inf)
        return torch.cat([found[:, :1], inside], dim=1)

    def _owners(self, batch: PromptBatch, questions: Sequence[Question]) -> torch.Tensor:
        own = [places[question.order] for question in questions for places in question.places]
        place = [int(own[who][line]) for who, line in batch.unit_owner.tolist()]
        return torch.stack([batch.unit_owner[:, 0], torch.tensor(place, dtype=torch.long)], dim=1)

    @property
    def embeddings(self) -> torch.Tensor:
        """The input embeddings, tied as output rows [V, width]."""
        model: Any = self.backbone.model
        weight: torch.Tensor = model.get_input_embeddings().weight
        return weight

    def _rows(self, ids: tuple[int, ...]) -> torch.Tensor:
        return functional.embedding(torch.tensor(ids), self.embeddings).float()


def mean_units(logs: np.ndarray) -> np.ndarray:
    """Return mean units from log probabilities of 1..9 units on the last axis."""
    mean: np.ndarray = np.exp(logs) @ np.arange(1, logs.shape[-1] + 1)
    return mean


def _relative(probability: np.ndarray, data: PromptData) -> np.ndarray:
    """Return utilities with the outside option's at its sampling offset, as all predictions have it."""
    logs = np.log(np.maximum(probability, 1e-30))
    logs[:, 1:][~data.mask] = -np.inf
    whole: np.ndarray = logs - logs[:, :1] + data.log_sampling[:, None]
    return whole
