"""Logs as one flat Parquet file: a row per episode, period and seller, with plain columns that bandit libraries read.

Columns: ``episode, period, seller``; ``obs_<block>_<i>``, what the seller saw (see `Layout`); ``action_<part>_<i>``;
``reward``, ``profit`` (money) and ``propensity``, the density or probability of the action. Where the log was played
stands in the file's metadata under ``malles``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_agents.logged.log import Log, World
from malles_agents.seller_view import SellerView
from malles_env.errors import CorruptFile, InvalidInput, MissingResource
from malles_env.files import replacing
from malles_env.scenarios import Scenario

if TYPE_CHECKING:
    import polars

KEY = "malles"


def _polars() -> Any:
    try:
        import polars
    except ModuleNotFoundError:
        raise MissingResource("Parquet files need polars: run  pip install 'malles-env[logs]'") from None
    return polars


def check_polars() -> None:
    """Check that Parquet files can be written.

    Raises:
        MissingResource: polars is not installed.
    """
    _polars()


def column_names(view: SellerView) -> tuple[list[str], list[str]]:
    """Return the names of the numbers of an observation and of an action."""
    seen = [f"obs_{block.name}_{i}" for block in view.blocks for i in range(block.size)]
    return seen, [f"action_{part}_{i}" for part in view.action_parts for i in range(view.slots)]


def write_parquet(logs: Sequence[Log], path: Path, scenario: Scenario) -> Path:
    """Write logs of one play into a file, whole or not at all, and return the path.

    Args:
        logs: One per seller.
        path: Where the file shall stand.
        scenario: Where they were played.

    Raises:
        MissingResource: polars is not installed.
        OSError: It cannot be written.
    """
    pl = _polars()
    table = pl.concat([_frame(log, scenario) for log in logs], how="diagonal")
    with replacing(path) as temporary:
        table.write_parquet(temporary, metadata={KEY: json.dumps(logs[0].world.as_dict())})
    return path


def _frame(log: Log, scenario: Scenario) -> polars.DataFrame:
    pl, (count, periods) = _polars(), log.rewards.shape
    world = log.world
    view = SellerView.of(
        scenario, log.agent, action_mode=world.action_mode, price_levels=world.price_levels,  # type: ignore[arg-type]
        history=world.history,
    )  # fmt: skip
    seen, acted = column_names(view)
    rows = count * periods
    return pl.DataFrame(
        {
            "episode": np.repeat(np.arange(count, dtype=np.int32), periods),
            "period": np.tile(np.arange(periods, dtype=np.int32), count),
            "seller": [log.agent] * rows,
            **dict(zip(seen, log.seen.reshape(rows, -1).T.copy(), strict=True)),
            **dict(zip(acted, log.actions.reshape(rows, -1).T.copy(), strict=True)),
            "reward": log.rewards.reshape(-1),
            "profit": log.profit.reshape(-1),
            "propensity": np.exp(log.log_propensity).reshape(-1),
        }
    )


def read_parquet(path: Path, agent: str | None = None) -> Log:
    """Return the log of one seller.

    Args:
        path: The file.
        agent: Whose; default the first one logged.

    Raises:
        MissingResource: No such file, or polars is not installed.
        CorruptFile: It is no Parquet file or was not written by `write_parquet`.
        InvalidInput: That seller is not in it, or there are no propensities.
    """
    pl = _polars()
    if not path.is_file():
        raise MissingResource(f"{path}: no such file")
    try:
        world = World.from_dict(json.loads(pl.read_parquet_metadata(path).get(KEY, "{}")), str(path))
        table = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise CorruptFile(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0][:160]})") from None
    agent = logged_agent(world, agent, str(path))
    if "propensity" not in table.columns:
        raise no_propensities(str(path))
    rows = table.filter(pl.col("seller") == agent).sort("episode", "period")
    periods = world.cycles
    if len(rows) == 0 or len(rows) % periods:
        raise CorruptFile(f"{path}: got {len(rows)} rows of {agent}; allowed: whole episodes of {periods} periods")

    def cube(start: str, dtype: Any) -> np.ndarray:
        names = [name for name in table.columns if name.startswith(start)]
        return rows.select(names).to_numpy().astype(dtype).reshape(-1, periods, len(names))

    kind = np.int64 if world.action_mode == "discrete" else np.float32
    return checked(
        Log(
            world, agent, cube("obs_", np.float32), cube("action_", kind),
            rows["reward"].to_numpy().reshape(-1, periods),
            _logarithm(rows["propensity"].to_numpy()).reshape(-1, periods),
        ),
        str(path),
    )  # fmt: skip


def _logarithm(propensity: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(np.asarray(propensity, dtype=np.float64))


def logged_agent(world: World, agent: str | None, where: str) -> str:
    """Return whose log is meant.

    Raises:
        InvalidInput: The seller's play was not logged.
    """
    chosen = agent or world.logged[0]
    if chosen not in world.logged:
        raise InvalidInput(f"agent: got {chosen!r}; allowed: {', '.join(world.logged)}, the sellers logged in {where}")
    return chosen


def no_propensities(where: str) -> InvalidInput:
    """Return the error of a log without propensities."""
    return InvalidInput(
        f"{where}: got a log without propensities; allowed: one that `malles record` wrote, with the column propensity"
    )


def checked(log: Log, where: str) -> Log:
    """Return a log whose numbers can be used.

    Raises:
        CorruptFile: Numbers are missing, or a propensity is 0 or less.
    """
    for name in ("seen", "actions", "rewards"):
        if not np.isfinite(getattr(log, name)).all():
            raise CorruptFile(f"{where}: holds {name} that are no finite numbers")
    if not np.isfinite(log.log_propensity).all():
        raise CorruptFile(f"{where}: holds propensities that are no finite numbers above 0")
    return log
