"""LocalModel: a causal language model of transformers in this process, asked by label probabilities or in words."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from malles_env.consumers.language.base import Prompt, Reply, Sampling, Usage
from malles_env.consumers.language.inference.generation import Writer
from malles_env.consumers.language.inference.kv_cache import KeptReadings
from malles_env.consumers.language.inference.loading import load_causal, weights_digest
from malles_env.consumers.language.inference.prefix_sharing import Family, PrefixReader, families
from malles_env.consumers.language.wording import Wording
from malles_env.errors import invalid
from malles_env.files import sha256
from malles_env.type_aliases import FloatArray

TOLERANCE = 1e-3
"""A model whose shared reading differs by more from its plain one, in nats, is asked prompt by prompt."""
_TRIAL = [Prompt("", "A shelf of coffee, tea, milk, sugar and bread; what do you buy today? ", word) for word in "abc"]


class LocalModel:
    """A causal language model in this process.

    Label probabilities need one forward pass and no generation. Prompts with equal `system` and `shared` share the
    reading of what their tokens have in common; the rests are packed. On first use the packed reading is compared with
    the plain one on a few words; a model it does not fit (another kind of attention) is asked prompt by prompt, and
    so are prompts longer than a model's sliding window.

    Args:
        model: A causal model of transformers. Its attention implementation is exchanged for one that equals ``sdpa``
            and can read packs.
        tokenizer: Its fast tokenizer.
        name: What a person calls it.
        weights: Identifies the weights; None hashes them.
        token_budget: Tokens of one forward pass at most.
        reading_memory: Megabytes for readings of earlier prompts; one that begins alike reads only the rest. Until
            `forget`, answers then differ in their last digits by what was asked before. 0 keeps none.
        sharing: None finds out whether prompts can be packed; False asks one by one.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str = "local",
        weights: str | None = None,
        token_budget: int = 2048,
        reading_memory: int = 0,
        sharing: bool | None = None,
    ) -> None:
        if token_budget < 1:
            raise invalid("token_budget", token_budget, "1 or more")
        if reading_memory < 0:
            raise invalid("reading_memory", reading_memory, "0 megabytes or more")
        self.model, self.name = model.eval(), name
        self.wording = Wording(tokenizer)
        digest = weights if weights is not None else weights_digest(model)
        self.identity = sha256(f"{digest}|{self.wording.digest}")
        self.usage = Usage()
        self._reader = PrefixReader(model, KeptReadings(reading_memory * 1_000_000), token_budget)
        self._writer = Writer(self._reader, tokenizer)
        self._sharing = sharing

    @classmethod
    def load(
        cls, name: str | Path = "smollm2", *, dtype: str = "auto", device: str = "cpu", **settings: Any
    ) -> LocalModel:
        """Load a model by path, hub id, or ``"smollm2"`` (packaged, offline); `settings` as for the class.

        Raises:
            MissingResource: No such model; the message says how to get it.
            CorruptFile: A folder that holds no whole model.
        """
        model, tokenizer, digest = load_causal(name, dtype=dtype, device=device)
        return cls(model, tokenizer, name=str(name), weights=digest, **settings)

    @property
    def sharing(self) -> bool:
        """True where prompts are packed and share what they have in common."""
        if self._sharing is None:
            texts = [self.wording.text(prompt) for prompt in _TRIAL]
            ids = self.wording.ids(texts)
            labels = tuple(dict.fromkeys(row[-1] for row in self.wording.ids(["a", "b", "c"])))
            plain = self._plain(ids, labels)
            self._sharing = self._fits(ids, labels, plain)
        return self._sharing

    def label_log_probabilities(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> FloatArray:
        """Return log probabilities of each label as the next word ``(N, L)``; see `LanguageModel`."""
        if not prompts or not labels:
            return np.zeros((len(prompts), len(labels)))
        started, spared = time.perf_counter(), self._reader.spared
        texts = [self.wording.text(prompt) for prompt in prompts]
        found = [self.wording.label_ids(text, labels) for text in texts]
        spelled = self.wording.ids([text + gap for text, (gap, _) in zip(texts, found, strict=True)])
        logs = np.empty((len(prompts), len(labels)))
        for ids in dict.fromkeys(ids for _, ids in found):
            at = [n for n, (_, own) in enumerate(found) if own == ids]
            keys = [(prompts[n].system, prompts[n].shared) for n in at]
            logs[at] = self._ask([spelled[n] for n in at], keys, ids)
        self.usage.requests += len(prompts)
        self.usage.shared_tokens += self._reader.spared - spared
        self.usage.seconds += time.perf_counter() - started
        return logs

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Reply]:
        """Return an answer in words to each prompt; see `LanguageModel`.

        With a schema every token is chosen among those that keep the answer valid. The draw of an answer depends on
        its prompt and the seed alone, not on the other prompts.
        """
        started, spared = time.perf_counter(), self._reader.spared
        texts = [self.wording.text(prompt) for prompt in prompts]
        spelled = self.wording.ids(texts)
        share = bool(texts) and self._in_window(spelled, sampling.max_tokens) and self.sharing
        replies = self._writer.write(spelled, texts, sampling, share=share)
        self.usage.requests += len(prompts)
        self.usage.prompt_tokens += sum(reply.prompt_tokens for reply in replies)
        self.usage.shared_tokens += self._reader.spared - spared
        self.usage.completion_tokens += sum(reply.completion_tokens for reply in replies)
        self.usage.seconds += time.perf_counter() - started
        return replies

    def forget(self) -> None:
        """Give the memory of earlier readings free; the next question is read from its first word."""
        self._reader.kept.clear()

    def _ask(self, spelled: list[list[int]], keys: list[Any], ids: tuple[int, ...]) -> FloatArray:
        """Return label log probabilities of prompts with the same label tokens; equal prompts are read once."""
        distinct = list(dict.fromkeys(map(tuple, spelled)))
        place = {row: at for at, row in enumerate(distinct)}
        key = dict(zip(map(tuple, spelled), keys, strict=True))
        rows = [list(row) for row in distinct]
        if self.sharing and self._in_window(rows):
            logits = self._shared(families(rows, [key[row] for row in distinct]), ids, len(rows))
        else:
            logits = self._plain(rows, ids)
        self.usage.prompt_tokens += sum(map(len, spelled))
        self.usage.shared_tokens += sum(map(len, spelled)) - sum(map(len, rows))
        logs: FloatArray = logits.double().log_softmax(-1).cpu().numpy()
        return logs[[place[tuple(row)] for row in spelled]]

    def _in_window(self, rows: Sequence[Sequence[int]], more: int = 0) -> bool:
        """Return whether all of each prompt is seen from its end; packs see the whole prompt."""
        window = getattr(self.model.config, "sliding_window", None)
        return window is None or max(map(len, rows)) + more <= window

    def _shared(self, parts: Sequence[Family], ids: tuple[int, ...], size: int) -> torch.Tensor:
        logits = torch.empty(size, len(ids))
        with torch.inference_mode():
            for family in parts:
                for members, states in self._reader.states(family):
                    logits[members] = self._reader.label_logits(states, ids).float().cpu()
                self.usage.shared_tokens += len(family.prefix) * max(0, len(family.members) - 1)
        return logits

    def _plain(self, spelled: Sequence[Sequence[int]], ids: tuple[int, ...]) -> torch.Tensor:
        """Return the label scores [n, L], one whole forward pass per prompt."""
        rows = []
        with torch.inference_mode():
            for prompt in spelled:
                asked = torch.tensor([list(prompt)], device=self.model.device)
                rows.append(self.model(asked, use_cache=False, logits_to_keep=1).logits[0, -1, list(ids)].float().cpu())
        return torch.stack(rows)

    def _fits(self, spelled: list[list[int]], ids: tuple[int, ...], plain: torch.Tensor) -> bool:
        before = replace(self.usage)
        try:
            packed = self._shared(families(spelled, [0] * len(spelled)), ids, len(spelled))
        except Exception:  # whatever a model of another build raises, it cannot be read this way
            return False
        finally:
            self.usage = before
        difference = packed.double().log_softmax(-1) - plain.double().log_softmax(-1)
        return bool(difference.abs().max() < TOLERANCE)
