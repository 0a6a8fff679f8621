"""Price tests run on a simulated market, judged against the effect that the market really has."""

from malles_env.evaluation.experiments.designs import Design, StoreSplit, Switchback, UserSplit
from malles_env.evaluation.experiments.price_test import PriceTest
from malles_env.evaluation.experiments.runner import ExperimentSettings, Report, run

__all__ = [
    "Design",
    "ExperimentSettings",
    "PriceTest",
    "Report",
    "StoreSplit",
    "Switchback",
    "UserSplit",
    "run",
]
