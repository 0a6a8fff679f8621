"""Distil: a conjoint experiment on any consumers, fitted tastes, and how well they stand for those asked."""

from __future__ import annotations

from malles_env.consumers.distil.asking import Elsewhere
from malles_env.consumers.distil.design import Design, fresh_states
from malles_env.consumers.distil.experiment import Distilled, DistilSettings, distil
from malles_env.consumers.distil.fidelity import Elasticity, Fidelity, judge
from malles_env.consumers.distil.fit import Experiment, Fit, fit

__all__ = [
    "Design",
    "DistilSettings",
    "Distilled",
    "Elasticity",
    "Elsewhere",
    "Experiment",
    "Fidelity",
    "Fit",
    "distil",
    "fit",
    "fresh_states",
    "judge",
]
