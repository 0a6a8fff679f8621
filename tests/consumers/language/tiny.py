"""A tiny random causal model with its own tokenizer, in memory or as a folder that a server can load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from malles_env.consumers.language import Prompt
from malles_env.consumers.language.local import LocalModel
from malles_env.preference.encoder.backbones import train_tokenizer

RULES = "You are a shopper. Answer with one letter."
SHELF = "Shelf:\nA: ground coffee 3.99\nB: dark roast 5.49\nC: green tea 2.79\nN: buy nothing\n"
LABELS = ("A", "B", "C", "N")
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def questions(size: int = 6, shelf: str = SHELF, lead: str = "Answer:") -> list[Prompt]:
    """Return prompts of one shelf, of different lengths."""
    return [
        Prompt(RULES, shelf, f"Household {n} bought {'coffee ' * (n % 3)}{n} times. Which one?", lead)
        for n in range(size)
    ]


def tokenizer(chat: bool = True, vocabulary: int = 420) -> Any:
    """Return a fast tokenizer with special tokens for turns."""
    words = train_tokenizer([RULES, SHELF, *(prompt.own for prompt in questions())], vocabulary)
    found = PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<start>", eos_token="<end>")
    found.add_special_tokens({"additional_special_tokens": ["<|system|>", "<|user|>", "<|assistant|>"]})
    if chat:
        found.chat_template = TEMPLATE
    return found


def causal(words: Any, seed: int = 0, kind: Any = LlamaConfig, **settings: Any) -> Any:
    """Return a random model whose answers depend on what it reads."""
    config = kind(
        vocab_size=len(words), hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=12, max_position_embeddings=2048, bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id, pad_token_id=words.eos_token_id, **settings,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config) if kind is LlamaConfig else AutoModelForCausalLM.from_config(config)
        for weight in model.parameters():
            if weight.ndim == 2:
                torch.nn.init.normal_(weight, std=1.5 * weight.shape[1] ** -0.5)
    return model.eval()


def local(seed: int = 0, *, chat: bool = True, **settings: Any) -> LocalModel:
    """Return a tiny local model."""
    words = tokenizer(chat)
    return LocalModel(causal(words, seed), words, name="tiny", **settings)


def save(folder: Path, seed: int = 0) -> Path:
    """Write a tiny model as a folder in transformers' layout."""
    words = tokenizer()
    model = causal(words, seed)
    model.generation_config.do_sample = True
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
