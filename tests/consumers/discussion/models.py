"""Tiny real language models for the discussion tests, and offers to talk about."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from malles_env.consumers.discussion import load_cast
from malles_env.consumers.discussion.cast import Cast
from malles_env.consumers.language.local import LocalModel
from malles_env.market import Offer
from malles_env.preference.encoder.backbones import train_tokenizer
from malles_env.scenarios import load_scenario
from malles_env.scenarios.consumer_kinds.discussion import scenario_sheets
from malles_env.scenarios.schema import Scenario


@cache
def _parts() -> tuple[Any, Any]:
    scenario = load_scenario("wholesale")
    texts = [text for sheet in scenario_sheets(scenario) for text in sheet.sections.values()]
    texts += [" A B C D E F G H I J K L M O P Q R S T U V W X Y Z N answer product quantity reason"] * 3
    base = train_tokenizer(texts, 600)
    base.add_special_tokens(["<end>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=base, bos_token="<start>", eos_token="<end>")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).float().eval()
        with torch.no_grad():
            model.get_input_embeddings().weight.mul_(20)
    return model, tokenizer


def tiny(**settings: Any) -> LocalModel:
    """Return a small random model with counters at zero."""
    return LocalModel(*_parts(), name="tiny", weights="tiny", **settings)


def short_cast(name: str = "wholesale") -> Cast:
    """Return a bundled cast that says little, so that a test takes no time."""
    cast = load_cast(name)
    phases = tuple(phase.model_copy(update={"words": 4, "nominate": 2}) for phase in cast.phases)
    return cast.model_copy(update={"phases": phases, "slice_characters": 600, "shelf_characters": 500})


def first_offer(scenario: Scenario, segments: int | None = None) -> Offer:
    """Return what consumers see in the first period, at regular prices."""
    loyalty = scenario.population().initial_loyalty[:segments]
    return Offer(
        prices=scenario.catalog().regular_price[None] * 0.95,
        available=np.ones((1, len(scenario.products)), dtype=bool),
        regular_price=scenario.catalog().regular_price,
        mean_field=scenario.first_mean_field()[None],
        loyalty=loyalty[None],
    )


def permuted(offer: Offer, order: np.ndarray) -> Offer:
    """Return the offer with its products in another order."""
    return replace(
        offer,
        prices=offer.prices[:, order],
        available=offer.available[:, order],
        regular_price=offer.regular_price[order],
        mean_field=offer.mean_field[:, order],
        loyalty=offer.loyalty[:, :, [0, *(1 + order)]],
    )


def saved(folder: Path) -> Path:
    """Write the model in transformers' layout and return the folder."""
    model, tokenizer = _parts()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
