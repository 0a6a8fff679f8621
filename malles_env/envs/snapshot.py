"""Everything a vector env carries from step to step, as plain arrays and numbers: taken, and put back later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_env.errors import CorruptFile
from malles_env.market.episodes import blocks_of, loyalty_of, put_loyalty

if TYPE_CHECKING:
    from malles_env.envs.sb3 import PricingVecEnv

Plain = Any
"""Arrays, numbers, texts and None, and dicts, lists and tuples of them."""
_BLOCKED = ("loyalty", "_next_loyalty", "blocks")
"""Kept market by market instead: how markets lie in blocks follows from their draws."""
_LONGEST = 10**9


def take(env: PricingVecEnv) -> dict[str, Plain]:
    """Return a copy of all that changes in `env` from step to step, its rivals' memories and random streams too.

    Raises:
        TypeError: A rival keeps what is neither array nor number.
    """
    market = env.market
    found: dict[str, Plain] = {name: _kept(part) for name, part in _parts(env)}
    found["loyalty"] = loyalty_of(market.state)
    if (rivals := env.core.rivals) is not None:
        for policy in rivals.policies.values():
            if not hasattr(policy, "state_dict") and any(map(_grows, vars(policy).values())):
                raise TypeError(f"a {type(policy).__name__} remembers what is not kept")
        found["memories"] = {str(seller): _plain(state) for seller, state in rivals._states.items()}
    return found


def put_back(env: PricingVecEnv, kept: dict[str, Plain]) -> None:
    """Bring `env` to where it was when `kept` was taken of it, or of an env made in the same way.

    Args:
        env: Reset at least once.
        kept: From `take`; not trusted, as it may come from a file.

    Raises:
        CorruptFile: It is of another env; this one is then to be reset.
    """
    now = take(env)
    if kept.keys() != now.keys():
        raise CorruptFile("other parts")
    for name, part in _parts(env):
        if not now[name].keys() <= kept[name].keys():
            raise CorruptFile(f"other fields in {name}")
        for field, value in now[name].items():  # what `kept` has beyond is made anew by each step
            _put(part, field, kept[name][field], value)
    market, state = env.market, env.market.state
    if not ((state.draw >= 0) & (state.draw < len(market._draws))).all():
        raise CorruptFile("draws of the tastes that are not there")
    if not ((state.period >= 0) & (state.period < _LONGEST)).all():
        raise CorruptFile("impossible periods")
    loyalty = _like(kept["loyalty"], now["loyalty"], "loyalty")
    state.blocks = blocks_of(state.draw)
    state.loyalty = np.zeros((state.blocks.number, *loyalty.shape[1:], state.blocks.lanes))
    put_loyalty(state, np.arange(len(loyalty)), loyalty)
    market._next_loyalty = state.loyalty.copy()
    if (rivals := env.core.rivals) is not None:
        rivals._states = {int(seller): memory for seller, memory in kept["memories"].items()}


def _parts(env: PricingVecEnv) -> Iterator[tuple[str, Any]]:
    """Yield what holds state, by name."""
    market_batch, rivals = env.core.market_batch, env.core.rivals
    yield from (("env", env), ("batch", env.core), ("arena", market_batch))
    yield from (("market", market_batch.market), ("state", market_batch.market.state))
    if rivals is not None:
        yield "rivals", rivals
        yield from ((f"rival {seller}", policy) for seller, policy in rivals.policies.items())


def _kept(part: Any) -> dict[str, Plain]:
    """Return the fields of an object that are arrays, streams, or nothing yet; the others are settings."""
    names = [field.name for field in fields(part)] if is_dataclass(part) else list(vars(part))
    values = {name: getattr(part, name) for name in names if name not in _BLOCKED}
    return {name: _plain(value) for name, value in values.items() if _changes(value)}


def _changes(value: Any) -> bool:
    if type(value) is tuple:
        return bool(value) and all(isinstance(part, np.ndarray) for part in value)
    return isinstance(value, np.random.Generator) or (isinstance(value, np.ndarray) and not value.dtype.hasobject)


def _grows(value: Any) -> bool:
    return isinstance(value, (dict, list, set))


def _plain(value: Any) -> Plain:
    if isinstance(value, np.random.Generator):
        return {"stream": value.bit_generator.state}
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_plain(part) for part in value) if type(value) in (tuple, list) else _refuse(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else _refuse(value)


def _refuse(value: Any) -> Plain:
    raise TypeError(f"a {type(value).__name__} cannot be kept")


def _put(part: Any, field: str, value: Plain, now: Plain) -> None:
    current = getattr(part, field)
    if isinstance(current, np.random.Generator):
        try:
            current.bit_generator.state = value["stream"]
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise CorruptFile(f"no random stream in {field}: {error}") from None
    elif isinstance(current, tuple):
        if not isinstance(value, tuple) or len(value) != len(now):
            raise CorruptFile(f"another {field}")
        setattr(part, field, tuple(_like(one, other, field) for one, other in zip(value, now, strict=True)))
    else:
        setattr(part, field, _like(value, now, field))


def _like(value: Plain, now: np.ndarray, field: str) -> np.ndarray:
    if not isinstance(value, np.ndarray) or (value.dtype, value.shape) != (now.dtype, now.shape):
        raise CorruptFile(f"another {field}")
    return value.copy()
