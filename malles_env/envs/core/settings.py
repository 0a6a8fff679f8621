"""The settings that every environment takes, typed once: completion and type checks for all constructors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from malles_env.errors import InvalidInput
from malles_env.type_aliases import FloatArray

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np

    from malles_env.envs.spaces.action_spaces import ActionMode
    from malles_env.envs.spaces.observations import Monitoring, ObservationMode
    from malles_env.market import Consumers, Demand, Market, Outcome, TastesMode
    from malles_env.scenarios import Scenario

    ScenarioLike: TypeAlias = "str | PathLike[str] | Scenario | Market"
    """What every environment plays: a bundled scenario's name, a path, a `Scenario`, or a `Market` made in Python."""
    RewardFn: TypeAlias = "Callable[[Outcome], FloatArray]"
    ObservationFn: TypeAlias = "Callable[[Mapping[str, np.ndarray]], np.ndarray]"


class EnvSettings(TypedDict, total=False):
    """Keyword arguments of every environment; all may be left out.

    >>> from malles_env.envs import EnvSettings, parallel_env
    >>> settings: EnvSettings = {"max_cycles": 12, "demand": "expected"}
    >>> parallel_env("bertrand-duopoly", **settings).max_cycles
    12

    Attributes:
        max_cycles: Periods of an episode; default the scenario's.
        action_mode: ``"continuous"`` (default), ``"discrete"``, ``"flat-discrete"`` or ``"dict"``, see `Actions`.
        observation_mode: ``"flat"`` (default) or ``"dict"``, see `Layout`.
        demand: ``"multinomial"`` (default), ``"gaussian"``, ``"expected"`` or ``"exact"``, see `Market`; of a
            `Market` made in Python its own is the default.
        consumers: Who buys instead of the scenario's own.
        monitoring: What is public: ``"prices"`` (default), ``"full"`` or ``"own"``.
        price_levels: Prices (and orders) of the discrete grid, at least 2; default 15.
        tastes: ``"mean"`` (default), or ``"draws"``: each market has one of the consumers' draws per episode.
        history: Periods that an observation shows, from 1 (default) to `max_cycles`.
        reward_fn: Called once per step with the `Outcome` of all B markets; returns the rewards, shape ``(B, N)``.
            Default: profit / `reward_scale`.
        observation_fn: Called with the blocks of `Layout` by name, each ``(B, N, size)`` float32; returns what agents
            see instead, ``(B, N, K)``. Sellers by name still see the usual observation; ``"flat"`` observations only.
    """

    max_cycles: int | None
    action_mode: ActionMode
    observation_mode: ObservationMode
    demand: Demand | None
    consumers: Consumers | None
    monitoring: Monitoring
    price_levels: int
    tastes: TastesMode | None
    history: int
    reward_fn: RewardFn | None
    observation_fn: ObservationFn | None


@dataclass(frozen=True, slots=True)
class Settings:
    """`EnvSettings` with their defaults, as given: each is checked where it is used."""

    max_cycles: int | None = None
    action_mode: ActionMode = "continuous"
    observation_mode: ObservationMode = "flat"
    demand: Demand | None = None
    consumers: Consumers | None = None
    monitoring: Monitoring = "prices"
    price_levels: int = 15
    tastes: TastesMode | None = None
    history: int = 1
    reward_fn: RewardFn | None = None
    observation_fn: ObservationFn | None = None


SETTINGS = tuple(field.name for field in fields(Settings))


def check_names(settings: Mapping[str, Any], face: type) -> None:
    """Refuse a keyword argument that there is not.

    Args:
        settings: What a constructor was given by keyword beyond the arguments it names.
        face: Whose constructor.

    Raises:
        InvalidInput: Names the argument, what it may have been meant to be, and those that there are.
    """
    for name in settings:
        if name not in SETTINGS:
            own = [known for known in inspect.signature(face).parameters if known != "settings"]
            near = get_close_matches(name, [*own, *SETTINGS], 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise InvalidInput(f"{name}: there is no such argument{hint}; allowed: {', '.join([*own, *SETTINGS])}")
