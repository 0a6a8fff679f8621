"""Checks of a log of purchases before anything is trained on it: can its prices, times and orders be trusted?"""

from __future__ import annotations

from malles_env.data.checks.check import check_log
from malles_env.data.checks.clock import in_time_zone
from malles_env.data.checks.report import Check, ImportReport
from malles_env.data.checks.settings import read_settings

__all__ = ["Check", "ImportReport", "check_log", "in_time_zone", "read_settings"]
