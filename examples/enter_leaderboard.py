"""A newcomer's seller for the leaderboard: one file, one command (see agents/README.md).

    malles tournament --entry examples/enter_leaderboard.py

It asks the Nash prices, and a little more whenever all rivals asked more than that in the last period.
"""

import numpy as np

from malles_agents.seller_view import SellerView
from malles_agents.sellers.reactive import ReactiveSeller
from malles_agents.sellers.remembering import Memory


class CarefulFollower(ReactiveSeller):
    """Follows its cheapest rival upwards, nine tenths of the way, and never asks less than the Nash prices."""

    def index(self, rivals: np.ndarray, memory: Memory) -> np.ndarray:
        """Return the own price index, 0 at Nash and 1 at the joint maximum, from those of the rivals."""
        return np.clip(0.9 * rivals.min(axis=1), 0.0, 1.0)


def make_seller(view: SellerView) -> CarefulFollower:
    """Return the seller for an agent; `malles tournament` calls this for every scenario and agent."""
    return CarefulFollower(view)
