"""Training of Stable-Baselines3 sellers on the vector env: settings, seeds, checkpoints, resuming."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from malles_agents.checkpoints import newest_good, write_whole
from malles_agents.registry import Seller, default_rivals, make_seller
from malles_agents.sellers.sb3.policies import algorithm_class, load_model
from malles_agents.training.interruption import stop_requests
from malles_agents.training.run_record import RunRecord, diverged, finite
from malles_agents.training.settings import load_settings
from malles_env import envs
from malles_env.envs.spaces.actions import ActionMode
from malles_env.errors import CorruptFile, InvalidInput, MallesError, check_choice, invalid
from malles_env.files import read_json, write_json
from malles_env.market import TastesMode
from malles_env.scenarios import Scenario, load_scenario
from malles_env.type_aliases import OnMessage

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv

    from malles_agents.training.callbacks import Keeper

SEEDS_PER_RUN = 1_000_000
SEEDS_PER_PART = 10_000
MOST_SEEDS = 1_000
GAUSSIAN = ("ppo", "a2c", "recurrent-ppo")
"""Algorithms whose policy is a normal distribution around an action, for which a beginning can be given."""
ENGINES = ("sb3", "rllib")
MOST_RUNNERS = 1_000
HELD_OUT = MOST_SEEDS * SEEDS_PER_RUN
"""First market seed never used in training: run `s` draws its markets' seeds from [s, s + 1) times SEEDS_PER_RUN."""


@dataclass(frozen=True)
class Run:
    """What a training run is; saved as ``config.json`` beside its policy.

    Attributes:
        scenario: Name or path.
        algo: ``"ppo"``, ``"a2c"``, ``"sac"``, ``"td3"``, ``"dqn"`` or ``"recurrent-ppo"``.
        steps: Env steps to train for, counted over all markets.
        seed: Of network weights, exploration and demand, below 1000.
        learner: The agent that learns, or ``"all"``: one policy shared by all.
        rivals: Kind of the other sellers, see `make_seller`.
        model: Language model that reads tastes; None keeps the scenario's.
        checkpoint_every: Steps between checkpoints.
        threads: Of torch.
        settings: Changes to the algorithm's shipped settings.
        tastes: ``"mean"``, or ``"draws"``: each market of training has one of the consumers' draws per episode, hidden.
        history: Periods that an observation shows.
        start: Kind of a seller, see `make_seller`; the policy begins at what it does in the first period, so that
            training starts from that benchmark. None: at the middle of the action space.
        engine: Who trains: ``"sb3"``, or ``"rllib"`` (`malles_agents.training.rllib.train`), which knows ppo.
        env_runners: Processes, or machines, that play for RLlib; 0 plays where it learns.
    """

    scenario: str
    algo: str = "ppo"
    steps: int = 500_000
    seed: int = 0
    learner: str = "seller_0"
    rivals: str = "cost-plus"
    model: str | None = None
    checkpoint_every: int = 100_000
    threads: int = 1
    settings: dict[str, Any] = field(default_factory=dict)
    tastes: str = "mean"
    history: int = 1
    start: str | None = None
    engine: str = "sb3"
    env_runners: int = 2

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.steps < 1:
            raise invalid("steps", self.steps, "a whole number of at least 1")
        if not 0 <= self.seed < MOST_SEEDS:
            raise invalid("seed", self.seed, f"a whole number from 0 to {MOST_SEEDS - 1}")
        for name in ("checkpoint_every", "threads"):
            if getattr(self, name) < 1:
                raise invalid(name, getattr(self, name), "a whole number of at least 1")
        check_choice("engine", self.engine, ENGINES)
        if self.engine == "rllib" and self.algo != "ppo":
            raise invalid("algo", self.algo, "ppo with the engine rllib")
        if not 0 <= self.env_runners <= MOST_RUNNERS:
            raise invalid("env_runners", self.env_runners, f"a whole number from 0 to {MOST_RUNNERS}")
        if self.tastes not in ("mean", "draws"):
            raise invalid("tastes", self.tastes, "'mean' or 'draws'")
        if self.start is not None and (self.algo not in GAUSSIAN or self.learner == "all"):
            raise invalid("start", self.start, f"nothing, or an algo of {', '.join(GAUSSIAN)} with one learner")


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        model: The SB3 model.
        policy: Its file, playable as ``ALGO:PATH``.
        curve: One row per rollout: ``steps``, ``profit`` (money per episode, exploring), ``seconds``.
        out: The run's folder.
    """

    model: BaseAlgorithm
    policy: Path
    curve: list[dict[str, float]]
    out: Path


def train(
    run: Run,
    out: Path,
    *,
    resume: bool = False,
    trust: bool = False,
    consumers: Any = None,
    watch: Callable[[int, float], object] | None = None,
    say: OnMessage = print,
) -> Trained:
    """Train a seller.

    Args:
        run: What to train.
        out: Folder for ``config.json``, ``policy.zip``, ``curve.json``, ``checkpoints/`` and ``tensorboard/``.
        resume: Go on from the newest checkpoint that can be read; no code in it is run. Whether what follows is the
            same run bit for bit is said: ppo, a2c and recurrent-ppo are, the others have a buffer that is not kept.
        trust: Let rivals that are policy files be unpickled whole, which runs code stored in them.
        consumers: Built consumers, to avoid building them anew.
        watch: Called after each rollout with steps done and mean profit per episode (NaN before the first ends).
        say: Called with what a person should know, such as checkpoints passed over.

    Returns:
        The trained seller.

    Raises:
        InvalidInput: `out` holds another run, or a setting is not allowed.
        CorruptFile: Resuming, and no checkpoint can be read.
        KeyboardInterrupt: Ctrl-C was pressed; a checkpoint was kept at the end of the rollout, unless it was again.
    """
    import torch

    from malles_agents.training.callbacks import Keeper

    if run.engine != "sb3":
        raise invalid("engine", run.engine, "sb3 here; malles_agents.training.rllib.train trains with rllib")
    torch.set_num_threads(run.threads)
    out = Path(out)
    check_folder(run, out, resume)
    scenario = load_scenario(run.scenario)
    built = consumers or scenario.build_consumers(run.model, draws=run.tastes == "draws")
    env, arguments = prepare(run, scenario, built, trust)
    changed = changes(run, out) if resume else []
    write_config(run, scenario, out)
    start = newest_good(out / "checkpoints", say) if resume else None
    if resume and start is None:
        say(f"{out}: there is no checkpoint to go on from; the run begins anew")
    with stop_requests(say) as request:
        model = make_model(run, env, arguments, out, start)
        if start is None and run.start is not None:
            begin_at(model, make_seller(run.start, scenario, run.learner, consumers=built, history=run.history))
        record = RunRecord(out, model.num_timesteps)
        keeper = Keeper(record, run.steps, run.checkpoint_every, scenario.reward_scale, watch, request)
        _learn(run, model, env, keeper, start, changed, say)
    policy = write_whole(out / "policy.zip", model.save)
    env.close()
    return Trained(model, policy, record.curve, out)


def _learn(
    run: Run, model: BaseAlgorithm, env: VecEnv, keeper: Keeper, start: Path | None, changed: list[str],
    say: OnMessage,
) -> None:  # fmt: skip
    """Train a new or loaded model to the run's last step, and keep a checkpoint at the end."""
    env.seed(first_seed(run.seed, model.num_timesteps))
    left = run.steps - model.num_timesteps
    if left > 0:
        if start is not None:
            keeper.running = _resume(run, model, env, start, changed, say)
        try:
            model.learn(left, callback=keeper, tb_log_name="log", reset_num_timesteps=start is None)
        except ValueError as error:
            if "Expected parameter" not in str(error):  # what torch's distributions say of a mean that is no number
                raise
            raise diverged(model.num_timesteps, keeper.record.out) from None
        if not finite(model.policy):
            raise diverged(model.num_timesteps, keeper.record.out)
        keeper.keep(model)


def model_of(scenario: Scenario) -> str | None:
    """Return the model that reads a scenario's tastes or is asked; None where tastes stand in the file."""
    return getattr(scenario.consumers, "model", None)


def write_config(run: Run, scenario: Scenario, out: Path) -> None:
    """Write what the run is into its folder, with what its policy must be played with."""
    settings = {**asdict(run), "model": run.model or model_of(scenario), "scenario_hash": scenario.digest()}
    write_json(out / "config.json", settings, allow_nan=False)


def holds_part_of(run: Run, out: Path) -> bool:
    """Return whether a folder holds checkpoints of just this run, which then can be continued."""
    if not (out / "checkpoints").is_dir() or not (out / "config.json").is_file():
        return False
    try:
        check_folder(run, out, resume=True)
    except MallesError:
        return False
    return not changes(run, out)


def changes(run: Run, out: Path) -> list[str]:
    """Return the settings that may change when resuming and that did, in words."""
    path = out / "config.json"
    old = read_json(path) if path.exists() else {}
    names = [name for name in ("steps", "threads") if name in old and old[name] != getattr(run, name)]
    return [f"{name} were {old[name]} and are {getattr(run, name)}" for name in names]


def _resume(
    run: Run, model: BaseAlgorithm, env: VecEnv, start: Path, changed: list[str], say: OnMessage
) -> np.ndarray | None:
    """Bring model and env to where the checkpoint was written, and say whether the run is now the same.

    Returns:
        Reward of the episodes under way; None where all begin anew.
    """
    from malles_agents.training.run_state import put_state

    done = f"going on from {start.name}"
    model._last_obs = env.reset()  # type: ignore[assignment]
    model._last_episode_starts = np.ones(env.num_envs, dtype=bool)
    try:
        running = put_state(start, model)
    except CorruptFile as error:
        say(f"{done}: not the same run bit for bit, its markets begin anew ({error})")
        model._last_obs = None
        model.set_random_seed(run.seed + model.num_timesteps)
        env.seed(first_seed(run.seed, model.num_timesteps))
        return None
    if changed:
        say(f"{done}: not the same run bit for bit ({'; '.join(changed)})")
    else:
        say(f"{done}: the same run bit for bit, on the same machine and packages")
    return running


def first_seed(seed: int, steps_done: int) -> int:
    """Return the first market's seed: inside the run's own range, another part of it after each resumption."""
    part = 0 if steps_done == 0 else 1 + steps_done % (SEEDS_PER_RUN // SEEDS_PER_PART - 1)
    return seed * SEEDS_PER_RUN + part * SEEDS_PER_PART


def check_folder(run: Run, out: Path, resume: bool) -> None:
    """Refuse a folder that holds another run, or this one when not resuming."""
    path = out / "config.json"
    if not path.exists():
        return
    if not resume:
        raise InvalidInput(f"{out}: holds a run already; go on with --resume or choose another --out")
    old = read_json(path)
    own = model_of(load_scenario(run.scenario))
    for name, value in (asdict(run) | {"model": run.model or own}).items():
        if name in ("tastes", "history", "start") and name not in old:
            continue  # a run from before there were draws, histories and benchmarks to start from
        if name == "engine" and value == old.get(name, "sb3"):
            continue
        if name not in ("steps", "checkpoint_every", "threads", "env_runners") and old.get(name) != value:
            raise invalid(name, value, f"{old.get(name)!r}, as in {path}, when resuming")


def prepare(run: Run, scenario: Scenario, consumers: Any, trust: bool) -> tuple[VecEnv, dict[str, Any]]:
    """Return the env to learn in and the arguments of the SB3 class."""
    settings = load_settings(run.algo, scenario=scenario.name, tastes=run.tastes) | run.settings
    mode: ActionMode = "discrete" if run.algo == "dqn" else "continuous"
    agents = [f"seller_{n}" for n in range(len(scenario.seller_names))]
    if run.learner not in ("all", *agents):
        raise invalid("learner", run.learner, ", ".join(("all", *agents)))
    rivals = None
    if run.learner != "all":
        rivals = default_rivals(
            scenario, run.learner, run.rivals, consumers=consumers, action_mode=mode, history=run.history, trust=trust
        )
    env: VecEnv = envs.vec_env(
        scenario,
        num_markets=int(settings.pop("num_markets")),
        learner=run.learner,
        rivals=rivals,
        consumers=consumers,
        action_mode=mode,
        tastes=cast(TastesMode, run.tastes),  # checked by `Run`
        history=run.history,
    )
    if run.algo == "dqn":
        from malles_agents.sellers.sb3.single_choice import SingleChoice

        env = SingleChoice(env)
    return env, sb3_arguments(settings, env)


def sb3_arguments(settings: dict[str, Any], env: VecEnv) -> dict[str, Any]:
    """Turn our own settings into arguments of SB3: the decaying rate, the batch size, TD3's exploration noise."""
    if settings.pop("linear_decay"):
        rate = float(settings["learning_rate"])
        settings["learning_rate"] = lambda left: rate * max(left, 0.05)
    if "minibatches" in settings:
        settings["batch_size"] = settings["n_steps"] * env.num_envs // int(settings.pop("minibatches"))
    if "exploration_noise" in settings:
        from stable_baselines3.common.noise import NormalActionNoise, VectorizedActionNoise

        spread = np.full(env.action_space.shape or (1,), float(settings.pop("exploration_noise")))
        settings["action_noise"] = VectorizedActionNoise(NormalActionNoise(np.zeros_like(spread), spread), env.num_envs)
    return settings


def make_model(run: Run, env: Any, arguments: dict[str, Any], out: Path, start: Path | None) -> BaseAlgorithm:
    """Return a new model, or the one in checkpoint `start` with the run's own schedule."""
    if start is None:
        return algorithm_class(run.algo)(
            env=env, seed=run.seed, device="cpu", tensorboard_log=str(out / "tensorboard"), **arguments
        )
    arguments = {**arguments, "tensorboard_log": str(out / "tensorboard")}
    model = load_model(run.algo, start, env, arguments, seed=run.seed)
    model.set_random_seed(run.seed + model.num_timesteps)
    return model


def begin_at(model: BaseAlgorithm, seller: Seller) -> None:
    """Let the mean action of a new policy be what a seller does first; other observations change it little yet."""
    import torch

    env = model.get_env()
    assert env is not None
    first = np.asarray(env.reset())[:1]
    action, _ = seller.predict(first, None, np.ones(1, dtype=bool), deterministic=True)
    mean: Any = model.policy.action_net
    with torch.no_grad():
        mean.bias.copy_(torch.as_tensor(action[0], dtype=mean.bias.dtype))
