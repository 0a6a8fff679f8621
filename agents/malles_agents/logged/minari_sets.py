"""Logs as Minari data sets, one per seller, that Minari, d3rlpy and TorchRL load.

A data set is called ``malles/<scenario>/<seller>-v0``. Its infos hold ``propensity``, the density or probability of
each action, and ``profit`` in money, each with a zero first for the reset. Its environment is this one with the other
sellers as rivals by name, so that `recover_environment` gives the market it was played in (trained rivals play their
mode there); where another taste model than the scenario's was asked for, a data set has no environment.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from malles_agents.logged.log import Log, World
from malles_agents.logged.parquet import _logarithm, checked, logged_agent, no_propensities
from malles_env.envs.registration import GYMNASIUM_ID
from malles_env.errors import CorruptFile, MissingResource
from malles_env.files import check_replaceable, new_directory, slug, write_json

MARK = "malles-log.json"
"""Stands beside the data sets and says where the log was played."""


def _minari() -> Any:
    try:
        import h5py  # noqa: F401
        import minari
    except ModuleNotFoundError as error:
        raise MissingResource(f"Minari data sets need {error.name}: run  pip install 'malles-env[logs]'") from None
    return minari


def check_place(folder: Path) -> None:
    """Check that data sets can be written into a folder.

    Raises:
        InvalidInput: Something else stands there.
        MissingResource: Minari is not installed.
    """
    _minari()
    check_replaceable(folder, MARK)


def data_set_id(world: World, agent: str) -> str:
    """Return the name under which Minari knows a seller's data set."""
    return f"malles/{slug(Path(world.scenario).stem)}/{agent.replace('_', '-')}-v0"


def write_minari(logs: Sequence[Log], folder: Path) -> list[str]:
    """Write one data set per seller below a folder, whole or not at all, and return their names.

    Read them with ``MINARI_DATASETS_PATH`` set to the folder.

    Args:
        logs: One per seller.
        folder: New, empty, or an older log that is replaced.

    Raises:
        InvalidInput: Something else stands in the folder.
        MissingResource: Minari is not installed.
    """
    minari = _minari()
    with new_directory(folder, MARK) as temporary, data_sets_in(temporary):
        for log in logs:
            _write(minari, log)
        write_json(temporary / MARK, logs[0].world.as_dict())
    return [data_set_id(log.world, log.agent) for log in logs]


@contextmanager
def data_sets_in(folder: Path) -> Iterator[None]:
    """Let Minari keep its data sets in a folder."""
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(folder.absolute())
    try:
        yield
    finally:
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before


def env_settings(world: World, agent: str) -> dict[str, Any]:
    """Return the arguments of `gymnasium.make` for the market as one seller met it."""
    return {
        "scenario": world.scenario,
        "seller": agent,
        "rivals": {other: spec for other, spec in world.sellers.items() if other != agent},
        "max_cycles": world.cycles,
        "action_mode": world.action_mode,
        "price_levels": world.price_levels,
        "history": world.history,
    }


def _write(minari: Any, log: Log) -> None:
    import gymnasium
    from minari.data_collector.episode_buffer import EpisodeBuffer

    # d3rlpy asks the data set's environment for its time limit, though the market ends by itself
    env = gymnasium.make(GYMNASIUM_ID, max_episode_steps=log.world.cycles, **env_settings(log.world, log.agent))
    spec = env.spec if log.world.model is None else None
    propensity, over = np.exp(log.log_propensity), np.zeros(log.rewards.shape[1], dtype=bool)
    end = over.copy()
    end[-1] = True
    buffers = [
        EpisodeBuffer(
            id=i,
            seed=log.world.seed + i,
            observations=log.observations[i],
            actions=log.actions[i],
            rewards=log.rewards[i].tolist(),
            terminations=over.tolist(),
            truncations=end.tolist(),
            infos={"propensity": np.append(0.0, propensity[i]), "profit": np.append(0.0, log.profit[i])},
        )
        for i in range(len(log))
    ]
    minari.create_dataset_from_buffers(
        dataset_id=data_set_id(log.world, log.agent),
        buffer=buffers,
        env=spec,
        eval_env=spec,
        action_space=env.action_space,
        observation_space=env.observation_space,
        algorithm_name=log.world.sellers[log.agent],
        author="malles_env",
        author_email="none",
        code_permalink="none",
        description=f"{log.world.sellers[log.agent]} in {log.world.scenario}, with propensities",
    )


def read_minari(folder: Path, agent: str | None = None) -> Log:
    """Return the log of one seller from a folder that `write_minari` wrote.

    Args:
        folder: Which.
        agent: Whose; default the first one logged.

    Raises:
        MissingResource: No such folder, or Minari is not installed.
        CorruptFile: The folder holds no log, or a damaged one.
        InvalidInput: That seller is not in it, or there are no propensities.
    """
    mark = folder / MARK
    if not mark.is_file():
        raise MissingResource(f"{mark}: no such file; `malles record --format minari --out FOLDER` writes it")
    try:
        world = World.from_dict(json.loads(mark.read_text(encoding="utf-8")), str(mark))
    except ValueError as error:
        raise CorruptFile(f"{mark}: cannot be read ({error})") from None
    agent, minari = logged_agent(world, agent, str(folder)), _minari()
    with data_sets_in(folder):
        try:
            episodes = list(minari.load_dataset(data_set_id(world, agent)).iterate_episodes())
        except (FileNotFoundError, OSError, KeyError, ValueError) as error:
            raise CorruptFile(f"{folder}: the data set of {agent} cannot be read ({str(error)[:160]})") from None
    if any("propensity" not in (episode.infos or {}) for episode in episodes):
        raise no_propensities(str(folder))
    propensity = np.stack([episode.infos["propensity"][1:] for episode in episodes])
    return checked(
        Log(
            world, agent, np.stack([episode.observations for episode in episodes]),
            np.stack([episode.actions for episode in episodes]), np.stack([episode.rewards for episode in episodes]),
            _logarithm(propensity),
        ),
        str(folder),
    )  # fmt: skip
