"""Tabular Q-learning sellers of the algorithmic-pricing literature, whole sessions compiled."""

from malles_agents.sellers.tabular.market import GridMarket
from malles_agents.sellers.tabular.sessions import QSettings, Sessions, learn

__all__ = ["GridMarket", "QSettings", "Sessions", "learn"]
