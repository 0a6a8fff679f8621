"""Language models behind one protocol: local ones through transformers, served ones through the OpenAI protocol."""

from __future__ import annotations

from malles_env.consumers.language.base import LanguageModel, Prompt, Reply, Sampling, Usage

__all__ = ["LanguageModel", "Prompt", "Reply", "Sampling", "Usage"]
