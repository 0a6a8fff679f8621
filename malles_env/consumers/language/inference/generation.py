"""Answers in words from a local model: seeded draws, and JSON that obeys a schema, token by token."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, LogitsProcessor, LogitsProcessorList

from malles_env.consumers.language.base import Reply, Sampling
from malles_env.consumers.language.inference.prefix_sharing import MINIMUM, PrefixReader, common
from malles_env.errors import InvalidInput, MissingResource, invalid

BATCH = 8
"""Prompts written side by side."""


class Writer:
    """Writes answers with `generate` of transformers.

    Args:
        reader: Of the model that writes; what it has read before is not read again.
        tokenizer: The model's fast tokenizer.
    """

    def __init__(self, reader: PrefixReader, tokenizer: Any) -> None:
        self.model, self.reader, self.tokenizer = reader.model, reader, tokenizer
        self._grammar_words: Any = None
        ends = getattr(self.model.generation_config, "eos_token_id", None)
        ends = ends if ends is not None else tokenizer.eos_token_id
        self.ends: list[int] = list(ends) if isinstance(ends, list | tuple) else [] if ends is None else [int(ends)]

    def write(
        self, spelled: Sequence[list[int]], texts: Sequence[str], sampling: Sampling, *, share: bool = False
    ) -> list[Reply]:
        """Return an answer to each prompt.

        Args:
            spelled: Token ids of the prompts.
            texts: The prompts; an answer's draw depends on its own text and the seed.
            sampling: How to draw.
            share: Read what the prompts of a batch begin with once, and nothing that was read before.

        Raises:
            InvalidInput: A schema that cannot be obeyed token by token.
            MissingResource: The package that obeys schemas is not installed.
        """
        if sampling.max_tokens < 1:
            raise invalid("max_tokens", sampling.max_tokens, "1 or more")
        if not sampling.temperature >= 0:
            raise invalid("temperature", sampling.temperature, "0 or more")
        replies: list[Reply] = []
        for start in range(0, len(spelled), BATCH):
            part = slice(start, start + BATCH)
            replies += self._write(spelled[part], texts[part], sampling, share)
        return replies

    def _write(
        self, spelled: Sequence[list[int]], texts: Sequence[str], sampling: Sampling, share: bool
    ) -> list[Reply]:
        with torch.inference_mode():
            sizes, cache = self._begun(spelled) if share else ([0] * len(spelled), None)
            ids, seen = self._side_by_side(spelled, sizes)
            found = self.model.generate(
                ids.to(self.model.device),
                attention_mask=seen.to(self.model.device),
                max_new_tokens=sampling.max_tokens,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                logits_processor=LogitsProcessorList(self._steps(texts, sampling, ids.shape[1])),
                pad_token_id=self._padding(),
                eos_token_id=self.ends or None,
                past_key_values=cache,
            )
        if cache is not None:
            for row, prompt in enumerate(spelled):
                self.reader.kept.keep(prompt, cache, seen[row].nonzero().flatten().to(self.model.device), row)
        written = found[:, ids.shape[1] :].tolist()
        return [self._reply(len(prompt), row) for prompt, row in zip(spelled, written, strict=True)]

    def _begun(self, spelled: Sequence[list[int]]) -> tuple[list[int], DynamicCache]:
        """Return how many tokens of each prompt need no more reading, and the cache that holds them, row by row."""
        kept, size, fresh = self.reader.kept, common(spelled) if len(spelled) > 1 else 0, 0
        if size >= MINIMUM and size > kept.common(spelled[0]):
            prefix, _ = self.reader.read(spelled[0][:size])
            fresh = size
        if fresh and not kept.limit:
            prefix.batch_repeat_interleave(len(spelled))
            sizes, cache = [size] * len(spelled), prefix
        else:
            sizes = [kept.common(prompt[:-1]) for prompt in spelled]
            cache = kept.side_by_side(spelled, sizes)
        self.reader.spared += sum(sizes) - fresh
        return sizes, cache

    def _side_by_side(self, spelled: Sequence[list[int]], sizes: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids and attention mask [n, T]: of each row the part read before, then the rest, both to the right."""
        left, right = max(sizes), max(len(prompt) - size for prompt, size in zip(spelled, sizes, strict=True))
        ids = torch.full((len(spelled), left + right), self._padding())
        seen = torch.zeros_like(ids)
        for row, (prompt, size) in enumerate(zip(spelled, sizes, strict=True)):
            for part, end in ((prompt[:size], left), (prompt[size:], left + right)):
                ids[row, end - len(part) : end], seen[row, end - len(part) : end] = torch.tensor(part), 1
        return ids, seen

    def _steps(self, texts: Sequence[str], sampling: Sampling, width: int) -> list[Any]:
        steps: list[Any] = []
        if sampling.schema is not None:
            steps.append(_Grammar(self._words(), sampling.schema, len(texts), width))
        if sampling.temperature > 0:
            steps.append(_Draw([f"{sampling.seed}|{text}" for text in texts], sampling.temperature))
        return steps

    def _reply(self, prompt_tokens: int, ids: list[int]) -> Reply:
        size = next((at for at, token in enumerate(ids) if token in self.ends), None)
        kept = ids if size is None else ids[:size]
        text = self.tokenizer.decode(kept, skip_special_tokens=True)
        return Reply(text, size is not None, prompt_tokens, len(kept))

    def _padding(self) -> int:
        own = self.tokenizer.pad_token_id
        return int(own) if own is not None else self.ends[0] if self.ends else 0

    def _words(self) -> Any:
        """Return the vocabulary as the grammar engine reads it (made once, about a second)."""
        if self._grammar_words is None:
            try:
                from llguidance.hf import from_tokenizer
            except ImportError as error:
                raise MissingResource("answers by a JSON schema need: pip install llguidance") from error
            if not self.ends:
                raise InvalidInput("schema: this model has no end-of-text token; allowed: one that has")
            size = self.model.get_output_embeddings().weight.shape[0]
            self._grammar_words = from_tokenizer(self.tokenizer, n_vocab=size, eos_token=self.ends)
        return self._grammar_words


class _Grammar(LogitsProcessor):  # type: ignore[misc]
    """Leaves only tokens with which the answer can still obey the schema."""

    def __init__(self, words: Any, schema: dict[str, Any], rows: int, width: int) -> None:
        from llguidance import LLMatcher

        compact = json.dumps({"x-guidance": {"whitespace_flexible": False}, **schema})
        try:
            grammar = LLMatcher.grammar_from_json_schema(compact)
        except ValueError as error:
            raise invalid("schema", schema, f"a JSON schema the grammar engine knows ({error})") from error
        self.matchers = [LLMatcher(words, grammar) for _ in range(rows)]
        for matcher in self.matchers:
            if matcher.is_error():
                raise invalid("schema", schema, f"a JSON schema the grammar engine knows ({matcher.get_error()})")
        self.width = width

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        allowed = torch.zeros(scores.shape, dtype=torch.bool)
        for row, matcher in enumerate(self.matchers):
            if input_ids.shape[1] > self.width and not matcher.is_stopped():
                matcher.consume_token(int(input_ids[row, -1]))
            bits = torch.frombuffer(bytearray(_mask(matcher)), dtype=torch.uint8)
            spread = bits[:, None].bitwise_right_shift(torch.arange(8, dtype=torch.uint8)).bitwise_and(1)
            flat = spread.flatten()[: scores.shape[1]].bool()
            allowed[row, : len(flat)] = flat
        return scores.masked_fill(~allowed.to(scores.device), -torch.inf)


def _mask(matcher: Any) -> bytes:
    """Return the allowed tokens as bits; once the answer is whole, its end."""
    return bytes(matcher.compute_bitmask())


class _Draw(LogitsProcessor):  # type: ignore[misc]
    """Adds Gumbel noise to the scores, whose maximum then is a draw from their softmax, row by row its own."""

    def __init__(self, keys: Sequence[str], temperature: float) -> None:
        self.temperature = temperature
        seeds = [int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 2**63 for key in keys]
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        drawn = [torch.rand(scores.shape[1], generator=one, dtype=torch.float64) for one in self.generators]
        noise = -torch.log(-torch.log(torch.stack(drawn).clamp(1e-300, 1 - 1e-16)))
        return scores / self.temperature + noise.to(scores.device, scores.dtype)
