"""Sellers that play at random and know the density of what they play: which ones do, and how others are made to.

gaussian:0.2:cost-plus:0.5     normal noise on the prices of any seller without a memory (continuous actions)
epsilon:0.1:nash               with probability 0.1 per product a choice at random (discrete actions)
random                         uniform prices, a random full shelf
ppo:PATH                       a trained policy, sampled; likewise a2c, sac, recurrent-ppo
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from malles_agents.logged.distributions import (
    CensoredNormal,
    Choices,
    Distribution,
    Read,
    SquashedNormal,
    UniformShelf,
)
from malles_agents.seller_view import SellerView
from malles_agents.sellers.remembering import RememberingSeller
from malles_agents.sellers.rules import Predicted, RandomSeller
from malles_env.errors import InvalidInput, invalid
from malles_env.type_aliases import BoolArray, FloatArray

if TYPE_CHECKING:
    from malles_agents.registry import Seller

SAMPLED = ("ppo", "a2c", "sac", "recurrent-ppo")
"""Algorithms whose policies are distributions."""


@runtime_checkable
class StochasticSeller(Protocol):
    """A seller that says from which distribution its actions are drawn."""

    def distribution(
        self, observation: np.ndarray, state: Any = None, episode_start: BoolArray | None = None
    ) -> tuple[Distribution, Any]:
        """Return the distribution of the actions for observations ``(B, D)``, and the next hidden state."""
        ...


def read_of(view: SellerView) -> Read:
    """Return which numbers of a seller's actions the market reads."""
    own = len(view.products)
    columns = np.tile(np.arange(view.slots) < own, len(view.action_parts))
    listed = view.action_parts.get("listed")
    return Read(columns, own, listed, signs=listed is not None and view.capacity >= own)


class _Drawing:
    """Answers `predict` by drawing; `deterministic` is ignored, as exploring is what these sellers are for."""

    def __init__(self, view: SellerView, seed: int = 0) -> None:
        self.view, self.rng, self.read = view, np.random.default_rng([seed, view.index]), read_of(view)

    def distribution(
        self, observation: np.ndarray, state: Any = None, episode_start: BoolArray | None = None
    ) -> tuple[Distribution, Any]:
        """See `StochasticSeller`."""
        raise NotImplementedError

    def predict(
        self,
        observation: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> Predicted:
        """Answer one observation ``(D,)`` or a batch ``(B, D)`` with actions drawn from `distribution`."""
        batch = np.atleast_2d(observation)
        drawn, state = self.distribution(batch, state, episode_start)
        action = drawn.draw(self.rng)
        return (action if np.ndim(observation) > 1 else action[0]), state


class GaussianNoise(_Drawing):
    """A seller whose prices carry independent normal noise, held within their bounds.

    Args:
        view: Whose products it prices, with continuous actions.
        base: Decides what the noise is added to; it must have no memory and draw nothing itself.
        sd: Of the noise, in units of the action: 2 is the width of a product's price box. 0: no noise.
        seed: Of the draws by `predict`.

    Raises:
        InvalidInput: Other actions than continuous ones, or a standard deviation outside [0, 2].
    """

    def __init__(self, view: SellerView, base: Seller, sd: float, seed: int = 0) -> None:
        if view.action_mode != "continuous":
            raise invalid("action_mode", view.action_mode, "continuous for gaussian; discrete goes with epsilon")
        if not 0.0 <= sd <= 2.0:
            raise invalid("gaussian", sd, "a standard deviation from 0 to 2, the width of the price box")
        super().__init__(view, seed)
        self.base, self.sd = base, np.zeros(view.action_space.shape or ())
        self.sd[: self.read.products] = sd

    def distribution(
        self, observation: np.ndarray, state: Any = None, episode_start: BoolArray | None = None
    ) -> tuple[Distribution, Any]:
        """Return normal prices around those of the base, and its shelf."""
        action = _without_memory(self.base, observation)
        return CensoredNormal(action.astype(np.float64), self.sd, self.read), state


class EpsilonGreedy(_Drawing):
    """A seller that for each product, with a small probability, makes a choice at random instead of its own.

    Args:
        view: Whose products it prices, with discrete actions.
        base: The seller it follows otherwise; it must have no memory and draw nothing itself.
        epsilon: Probability of a uniform draw over all choices of a product, not listing it among them. 0: none.
        seed: Of the draws by `predict`.

    Raises:
        InvalidInput: Other actions than discrete ones, or a probability outside [0, 1].
    """

    def __init__(self, view: SellerView, base: Seller, epsilon: float, seed: int = 0) -> None:
        if view.action_mode != "discrete":
            raise invalid("action_mode", view.action_mode, "discrete for epsilon; continuous goes with gaussian")
        if not 0.0 <= epsilon <= 1.0:
            raise invalid("epsilon", epsilon, "a probability from 0 to 1")
        super().__init__(view, seed)
        self.base, self.epsilon = base, epsilon
        self.sizes = [int(size) for size in view.action_space.nvec]  # type: ignore[attr-defined]

    def distribution(
        self, observation: np.ndarray, state: Any = None, episode_start: BoolArray | None = None
    ) -> tuple[Distribution, Any]:
        """Return the base's choices, mixed with uniform ones."""
        action = _without_memory(self.base, observation)
        chances = []
        for column, size in enumerate(self.sizes):
            mixed = np.full((len(action), size), self.epsilon / size)
            mixed[np.arange(len(action)), action[:, column].astype(np.int64)] += 1.0 - self.epsilon
            chances.append(mixed)
        return Choices(chances, self.read), state


class UniformRandom(_Drawing):
    """The seller called random, with the density of what it plays; see `malles_agents.sellers.rules.RandomSeller`."""

    def distribution(
        self, observation: np.ndarray, state: Any = None, episode_start: BoolArray | None = None
    ) -> tuple[Distribution, Any]:
        """Return uniform prices and shelves."""
        view, levels = self.view, self.view.price_levels if self.view.action_mode == "discrete" else 0

        def act(share: FloatArray, listed: BoolArray) -> np.ndarray:
            prices = view.price_low + share * (view.price_high - view.price_low)
            return view.act(observation, prices, listed)

        return UniformShelf(act, len(observation), self.read, view.capacity, levels), state


class Sampled(_Drawing):
    """A PPO, A2C, SAC or recurrent PPO policy, sampled instead of asked for its mode.

    PPO's and A2C's normal draws are clipped into the action space, as Stable-Baselines3 does when it trains and plays.

    Args:
        model: An SB3 model or its policy.
        view: Where it plays.
        seed: Of the draws by `predict`.

    Raises:
        InvalidInput: A policy with another kind of distribution (state-dependent exploration, say).
    """

    def __init__(self, model: Any, view: SellerView, seed: int = 0) -> None:
        super().__init__(view, seed)
        self.policy = getattr(model, "policy", model)
        self.policy.set_training_mode(False)
        if getattr(self.policy, "use_sde", False):
            raise invalid("policy", "use_sde", "a policy without state-dependent exploration")

    def distribution(
        self, observation: np.ndarray, state: Any = None, episode_start: BoolArray | None = None
    ) -> tuple[Distribution, Any]:
        """Return what the network says; a recurrent policy's memory travels in the state."""
        import torch

        with torch.no_grad():
            seen = torch.as_tensor(np.asarray(observation, dtype=np.float32))
            if hasattr(self.policy, "lstm_actor"):
                return self._recurrent(seen, state, episode_start)
            if hasattr(self.policy, "actor"):
                mean, log_std, _ = self.policy.actor.get_action_dist_params(seen)
                return SquashedNormal(_array(mean), _array(log_std.exp()), self.read), None
            return self._of(self.policy.get_distribution(seen)), None

    def _recurrent(self, seen: Any, state: Any, episode_start: BoolArray | None) -> tuple[Distribution, Any]:
        import torch

        if state is None:
            layers, _, size = self.policy.lstm_hidden_state_shape
            state = (np.zeros((layers, len(seen), size), dtype=np.float32),) * 2
        fresh = np.zeros(len(seen)) if episode_start is None else np.asarray(episode_start)
        memory = tuple(torch.as_tensor(part) for part in state)
        found, after = self.policy.get_distribution(seen, memory, torch.as_tensor(fresh, dtype=torch.float32))
        return self._of(found), tuple(part.numpy() for part in after)

    def _of(self, found: Any) -> Distribution:
        inner = found.distribution
        if isinstance(inner, list):
            return Choices([_array(part.probs) for part in inner], self.read)
        if hasattr(inner, "scale"):
            return CensoredNormal(_array(inner.mean), _array(inner.scale), self.read)
        raise invalid("policy", type(found).__name__, "a normal distribution or one of choices")


def _array(tensor: Any) -> FloatArray:
    return np.asarray(tensor.numpy(), dtype=np.float64)


def _without_memory(base: Seller, observation: np.ndarray) -> np.ndarray:
    """Return the base's actions.

    Raises:
        InvalidInput: It remembers: what it would have done then depends on more than what a log holds.
    """
    action, memory = base.predict(observation, deterministic=True)
    if memory is not None:
        raise InvalidInput(f"{type(base).__name__}: got a seller with a memory; allowed: one that keeps none")
    return np.asarray(action)


def as_stochastic(seller: Seller, view: SellerView, spec: str) -> StochasticSeller:
    """Return a seller that knows the density of what it plays.

    Args:
        seller: From `make_seller`.
        view: What it knows of its place in the market.
        spec: Its name, for messages.

    Raises:
        InvalidInput: It is deterministic, or learns while it plays; the message says how to make it stochastic.
    """
    if isinstance(seller, StochasticSeller):
        return seller
    if isinstance(seller, RandomSeller):
        return UniformRandom(view)
    if spec.partition(":")[0] in SAMPLED:
        return Sampled(seller, view)
    wrapper = "epsilon:0.1:" if view.action_mode == "discrete" else "gaussian:0.2:"
    draws = isinstance(getattr(seller, "rng", None), np.random.Generator)
    base = "cost-plus" if draws or isinstance(seller, RememberingSeller) else spec
    raise invalid("seller", spec, f"one that draws at random and knows its propensities, e.g. {wrapper}{base}")


def as_target(seller: Seller, view: SellerView, spec: str) -> StochasticSeller:
    """Return a seller as a policy to evaluate: one without noise if it is deterministic and keeps no memory."""
    draws = isinstance(seller, (StochasticSeller, RandomSeller)) or spec.partition(":")[0] in SAMPLED
    if draws:
        return as_stochastic(seller, view, spec)
    if isinstance(getattr(seller, "rng", None), np.random.Generator):
        raise invalid("policy", spec, "one that is deterministic or knows its propensities")
    made: StochasticSeller
    made = EpsilonGreedy(view, seller, 0.0) if view.action_mode == "discrete" else GaussianNoise(view, seller, 0.0)
    return made
