"""Prompted consumers: any language model asked live, by label probabilities."""

from __future__ import annotations

from malles_env._moved import old_names
from malles_env.consumers.prompted.calibration import Calibration
from malles_env.consumers.prompted.consumers import PromptedConsumers
from malles_env.consumers.prompted.fitting import fit_to_shares, measured_price_sensitivity
from malles_env.consumers.prompted.likelihood import fit_choices, fit_units
from malles_env.consumers.prompted.pooling import Pooled, fit_pooled
from malles_env.consumers.prompted.scores import Score, scores
from malles_env.consumers.prompted.settings import PromptSettings
from malles_env.consumers.prompted.visits import VisitAnswers, Visits, ask_visits
from malles_env.consumers.prompted.wording import Persona, Wording, default_wording, read_wording
from malles_env.preference.prompted.prompt import ShelfLine

__all__ = [
    "Calibration",
    "Persona",
    "Pooled",
    "PromptSettings",
    "PromptedConsumers",
    "Score",
    "ShelfLine",
    "VisitAnswers",
    "Visits",
    "Wording",
    "ask_visits",
    "default_wording",
    "fit_choices",
    "fit_pooled",
    "fit_to_shares",
    "fit_units",
    "measured_price_sensitivity",
    "read_wording",
    "scores",
]


__getattr__ = old_names(__name__)
