"""TasteModel: a language model's body plus taste heads; reads personas and products into tastes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from malles_env.alignment.backbones import Backbone
from malles_env.alignment.heads import SHARE_FLOOR, OptionTastes, PrefixTastes, TasteHeads
from malles_env.alignment.packing import PackedBatch, Request, pack, split_requests
from malles_env.alignment.reading import TasteReading
from malles_env.alignment.text import Persona, ProductText, option_text, persona_text
from malles_env.errors import invalid

MAX_OPTIONS = 16
"""Options per packed sequence; longer shelves are cut, which changes no score."""
TOKENS_PER_PASS = 16_384
"""Padded tokens a single backbone pass may hold, so that memory stays small."""


@dataclass(frozen=True)
class States:
    """Hidden states at the read-out points: personas [N, width], options [M, width] in request order."""

    prefix: torch.Tensor
    option: torch.Tensor


@dataclass
class TasteModel:
    """A post-trained consumer: text in, coefficients of the market's utility out.

    Attributes:
        backbone: Language model body and tokenizer.
        heads: The taste heads.
        card: How it was made and what it scores; kept beside the weights.
        weights_hash: Identifies weights and wording; empty for a model that was never saved.
    """

    backbone: Backbone
    heads: TasteHeads
    card: dict[str, Any] = field(default_factory=dict)
    weights_hash: str = ""

    @classmethod
    def untrained(cls, backbone: Backbone, *, hidden: int = 64, seed: int = 0) -> TasteModel:
        """Return a model whose heads start at sensible constants (a plain conditional logit)."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            heads = TasteHeads(backbone.width, hidden)
        return cls(backbone, heads)

    @classmethod
    def load(cls, name: str | Path = "embedded") -> TasteModel:
        """Load shipped weights by name (``"embedded"``, ``"smollm2"``) or a directory made by `save`.

        Raises:
            MissingResource: No such model, or its backbone is not installed.
            CorruptFile: A file of it is damaged; the message names the file.
        """
        from malles_env.alignment.checkpoint import load_model

        return load_model(name)

    def save(self, directory: str | Path) -> str:
        """Write weights, tokenizer, configuration and card into `directory`; return the weights' hash."""
        from malles_env.alignment.checkpoint import save_model

        return save_model(self, Path(directory))

    def trained_modules(self, *, heads_only: bool = False) -> nn.ModuleDict:
        """Return what training changes: the heads, and the backbone where its weights are our own."""
        parts: dict[str, nn.Module] = {"heads": self.heads}
        if self.backbone.owned and not heads_only:
            parts["backbone"] = self.backbone.model
        return nn.ModuleDict(parts)

    def states(self, requests: Sequence[Request]) -> States:
        """Run the backbone over the requests; order and company of options do not matter."""
        pieces, first = split_requests(requests, MAX_OPTIONS)
        prefix: list[torch.Tensor] = []
        option: list[torch.Tensor] = []
        for group in _passes(pieces, self.backbone):
            states = self._pass(group)
            prefix.append(states.prefix)
            option.append(states.option)
        return States(torch.cat(prefix)[torch.tensor(first)], torch.cat(option))

    def _pass(self, pieces: Sequence[Request]) -> States:
        batch = pack(pieces, self.backbone.encoder)
        dtype = next(self.backbone.model.parameters()).dtype
        blocked = torch.zeros(batch.mask.shape, dtype=dtype).masked_fill(~batch.mask, torch.finfo(dtype).min)
        output = self.backbone.model(
            input_ids=batch.ids, attention_mask=blocked, position_ids=batch.positions, use_cache=False
        ).last_hidden_state
        rows = torch.arange(len(pieces))
        prefix = output[rows, batch.prefix_end]
        if self.heads.words:
            prefix = torch.cat([prefix, self._mean_word(batch)], dim=1)
        return States(prefix, output[batch.option_row, batch.option_end])

    def _mean_word(self, batch: PackedBatch) -> torch.Tensor:
        """Return the mean input embedding of each persona's tokens [N, width]."""
        backbone: Any = self.backbone.model
        inside = torch.arange(batch.ids.shape[1]) <= batch.prefix_end[:, None]
        words = backbone.get_input_embeddings()(batch.ids) * inside[:, :, None]
        return words.sum(1) / inside.sum(1, keepdim=True)

    @torch.no_grad()
    def read(
        self,
        personas: Sequence[Persona],
        products: Sequence[ProductText],
        bought: ArrayLike,
        reference_share: ArrayLike,
    ) -> TasteReading:
        """Read tastes for the market's formula.

        Args:
            personas: S households (or segments) of one market.
            products: J products on its shelf.
            bought: Own earlier purchases of each product [S, J], 0 or more.
            reference_share: Long-run purchase shares among the market's buyers [J], in [0, 1].

        Returns:
            Coefficients such that the market's utility (mean field centred at 1/J) equals the training
            utility at the same mean field, each discount with its usual promotion and none without.

        Raises:
            InvalidInput: A wrong shape, a negative count, a share outside [0, 1].
        """
        counts, shares = _checked(personas, products, bought, reference_share)
        prefix, option = self._read_tastes(personas, products, counts)
        known = torch.as_tensor(shares, dtype=torch.float32)
        centre = 1.0 / len(products) - known
        alpha = (
            option.alpha
            + prefix.propensity[:, None]
            + option.popularity * torch.log(known + SHARE_FLOOR)
            + prefix.rho[:, None] * centre
        )
        return TasteReading(
            alpha=_numpy(alpha),
            beta=_numpy(prefix.beta),
            gamma=_numpy(self.heads.discount_worth(prefix)),
            rho=_numpy(prefix.rho),
            lambda_=_numpy(prefix.lambda_),
            kappa=_numpy(option.kappa),
            delta=_numpy(prefix.delta),
        )

    def _read_tastes(
        self, personas: Sequence[Persona], products: Sequence[ProductText], counts: NDArray[np.int64]
    ) -> tuple[PrefixTastes, OptionTastes]:
        requests = [
            Request(
                persona_text(persona),
                tuple(
                    option_text(product, int(count), persona.history_total)
                    for product, count in zip(products, row, strict=True)
                ),
            )
            for persona, row in zip(personas, counts, strict=True)
        ]
        unique = list(dict.fromkeys(requests))
        place = {request: at for at, request in enumerate(unique)}
        states = self.states(unique)
        index = torch.tensor([place[request] for request in requests])
        option = states.option.reshape(len(unique), len(products), -1)[index]
        return self.heads.prefix_tastes(states.prefix[index]), self.heads.option_tastes(option)


def _passes(pieces: Sequence[Request], backbone: Backbone) -> Iterator[list[Request]]:
    """Yield consecutive groups of sequences whose padded size stays within one pass."""
    group: list[Request] = []
    widest = 0
    for piece in pieces:
        tokens = len(backbone.encoder.persona(piece.persona))
        tokens += sum(len(backbone.encoder.option(text)) for text in piece.options)
        if group and max(widest, tokens) * (len(group) + 1) > TOKENS_PER_PASS:
            yield group
            group, widest = [], 0
        group.append(piece)
        widest = max(widest, tokens)
    if group:
        yield group


def _checked(
    personas: Sequence[Persona],
    products: Sequence[ProductText],
    bought: ArrayLike,
    reference_share: ArrayLike,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    if not personas:
        raise invalid("personas", list(personas), "at least one")
    if not products:
        raise invalid("products", list(products), "at least one")
    counts = np.asarray(bought)
    shape = (len(personas), len(products))
    if counts.shape != shape or not np.issubdtype(counts.dtype, np.integer) or (counts < 0).any():
        raise invalid("bought", counts, f"integers of 0 or more, shape {shape} (personas, products)")
    shares = np.asarray(reference_share, dtype=np.float64)
    if shares.shape != shape[1:] or not ((shares >= 0) & (shares <= 1)).all():
        raise invalid("reference_share", shares, f"numbers in [0, 1], shape {shape[1:]} (products)")
    return counts.astype(np.int64), shares


def _numpy(tensor: torch.Tensor) -> NDArray[np.float64]:
    return tensor.detach().to(torch.float64).numpy()
