"""Real tiny language models for tests, wrappers that fail, and one whose answers are known by formula."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from malles_env.consumers.language import LanguageModel, Prompt, Reply, Sampling, Usage
from malles_env.consumers.language.local import LocalModel
from malles_env.consumers.prompted import Persona, ShelfLine, default_wording
from malles_env.errors import LanguageModelError


@cache
def tiny_model(seed: int = 0) -> LocalModel:
    """A Llama of 0.2 M parameters with random weights and a byte-pair tokenizer of its own; it runs for real."""
    import torch
    from torch import nn
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from malles_env.preference.encoder.backbones import train_tokenizer

    words = default_wording()
    shelf = words.shelf_words([ShelfLine("maker 131, 56 oz", 3.13, 4.79, share=0.34)] * 9, "ice cream", "USD", 80)
    persona = words.persona_words(Persona("thrifty", 9, 36, (1, 2, 3)), [0, 1, 2])
    letters = " ".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ 1 2 3 4 5 6 7 8 9")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=train_tokenizer([words.system, shelf, persona, letters], 400), bos_token="<start>"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer), hidden_size=64, intermediate_size=160, num_hidden_layers=2,
                num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=4096, tie_word_embeddings=True,
            )
        )  # fmt: skip
        for weight in model.parameters():
            if weight.ndim == 2:
                nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
    return LocalModel(model, tokenizer, name=f"tiny-{seed}")


class Wrapped:
    """A model behind another: counts questions, and fails where `fails` says so for the number of the call."""

    def __init__(self, model: LanguageModel, fails: Callable[[int], bool] = lambda call: False) -> None:
        self.model, self.fails, self.calls, self.prompts = model, fails, 0, []

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def identity(self) -> str:
        return self.model.identity

    @property
    def usage(self) -> Usage:
        return self.model.usage

    def label_log_probabilities(self, prompts: Sequence[Prompt], labels: Sequence[str]):
        self.calls += 1
        if self.fails(self.calls):
            raise LanguageModelError(f"{self.name}: the server is gone (connection refused); start it again")
        self.prompts += prompts
        return self.model.label_log_probabilities(prompts, labels)

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Reply]:
        return self.model.complete(prompts, sampling)


class Formula:
    """Answers by a formula of the prompt: `utility(prompt, labels)` in utils."""

    name, identity = "formula", "formula"

    def __init__(self, utility: Callable[[Prompt, Sequence[str]], Sequence[float]]) -> None:
        self.utility, self.usage, self.asked = utility, Usage(), 0

    def label_log_probabilities(self, prompts: Sequence[Prompt], labels: Sequence[str]):
        self.asked += len(prompts)
        rows = np.array([self.utility(prompt, labels) for prompt in prompts], dtype=float)
        return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Reply]:
        raise LanguageModelError("formula: says nothing in words")
