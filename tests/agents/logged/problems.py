"""Small decision problems with exact values: a bandit with two situations, and a chain of two periods."""

from __future__ import annotations

import numpy as np

LOGGING = np.array([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]])
"""Probabilities of three actions in two equally likely situations."""
POLICY = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
REWARD = np.array([[1.0, -2.0, 4.0], [0.5, 3.0, 7.0]])
VALUE = float((POLICY * REWARD).sum(axis=1).mean())


def one_hot(situation: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Return features with which a linear model knows every pair of situation and action."""
    return np.eye(6)[3 * situation + action]


def expected_one_hot(situation: np.ndarray) -> np.ndarray:
    """Return the mean of `one_hot` over the policy's actions."""
    rows = np.zeros((*situation.shape, 2, 3))
    np.put_along_axis(rows, situation[..., None, None], POLICY[situation][..., None, :], axis=-2)
    return rows.reshape(*situation.shape, 6)


def whole_log() -> tuple[np.ndarray, np.ndarray]:
    """Return a log ``(8, 1)`` in which everything is exactly as often as it is likely: situations and actions."""
    pairs = [(x, a) for x in range(2) for a in range(3) for _ in range(int(4 * LOGGING[x, a]))]
    situation, action = np.array(pairs).T
    return situation[:, None], action[:, None]


def drawn_log(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a log ``(count, 1)`` at random: situations, actions and noisy rewards."""
    situation = rng.integers(2, size=count)
    action = (LOGGING[situation].cumsum(axis=1) > rng.random(count)[:, None]).argmax(axis=1)
    reward = REWARD[situation, action] + rng.normal(size=count)
    return situation[:, None], action[:, None], reward[:, None]


def log_ratio(situation: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Return logarithms of the policy's probability over the logging policy's."""
    return np.log(POLICY[situation, action] / LOGGING[situation, action])


# The chain: it starts in situation 0, and the first action, 0 or 1, is the second period's situation. Logged with equal
# probabilities; the policy plays action 1 with the probabilities below, by situation.
CHAIN_POLICY = np.array([0.75, 0.5])
CHAIN_REWARD = np.array([[1.0, 2.0], [5.0, 11.0]])


def chain_log() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return all four equally likely episodes ``(4, 2)``: situations, actions, rewards and log ratios."""
    action = np.array([(first, second) for first in (0, 1) for second in (0, 1)])
    situation = np.stack([np.zeros(4, dtype=int), action[:, 0]], axis=1)
    chance = np.where(action == 1, CHAIN_POLICY[situation], 1.0 - CHAIN_POLICY[situation])
    return situation, action, CHAIN_REWARD[situation, action], np.log(chance / 0.5)


def chain_value() -> float:
    """Return the policy's exact value over both periods."""
    first, second = CHAIN_POLICY[0], CHAIN_POLICY
    later = (1.0 - second) * CHAIN_REWARD[:, 0] + second * CHAIN_REWARD[:, 1]
    return float((1.0 - first) * (CHAIN_REWARD[0, 0] + later[0]) + first * (CHAIN_REWARD[0, 1] + later[1]))


def chain_bandit_value() -> float:
    """Return what the bandit form estimates: the policy in the situations of the log, half of them 0 and half 1."""
    each = (1.0 - CHAIN_POLICY) * CHAIN_REWARD[:, 0] + CHAIN_POLICY * CHAIN_REWARD[:, 1]
    return float(each[0] + each.mean())
