"""Training a seller with RLlib's PPO over the env runners of a Ray cluster: checkpoints, resuming, lost runners."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from malles_agents.checkpoints import newest_good, write_whole
from malles_agents.registry import make_seller
from malles_agents.training.interruption import Request, stop_requests
from malles_agents.training.rllib.algorithm import (
    bring_back,
    build,
    check_settings,
    close,
    learned_module,
    markets_each,
)
from malles_agents.training.rllib.runner_env import RunnerTask
from malles_agents.training.run_record import RunRecord, diverged, finite
from malles_agents.training.settings import load_settings
from malles_agents.training.train import (
    SEEDS_PER_PART,
    Run,
    Trained,
    begin_at,
    check_folder,
    make_model,
    model_of,
    prepare,
    write_config,
)
from malles_env.errors import MissingResource, invalid
from malles_env.jobs.checks import files_check
from malles_env.jobs.cluster import check_machines, connected, needed_ray
from malles_env.preference.store.locate import weights_check
from malles_env.scenarios import Scenario, load_scenario
from malles_env.type_aliases import OnMessage

if TYPE_CHECKING:
    from stable_baselines3 import PPO


def train(
    run: Run,
    out: Path,
    *,
    address: str | None = None,
    resume: bool = False,
    trust: bool = False,
    watch: Callable[[int, float], object] | None = None,
    say: OnMessage = print,
) -> Trained:
    """Train a seller; the network learns in this process, the markets are played by env runners.

    The network is that of Stable-Baselines3's PPO with the same settings, and so are policy and checkpoints: they play
    by every command. An env runner that is lost is begun anew with other seeds, and the iteration goes on without it.

    Args:
        run: What to train; its engine is ``"rllib"``.
        out: Folder, as of `malles_agents.training.train.train`.
        address: Of a running cluster, see `malles_env.jobs.cluster.connected`; None starts Ray on this machine.
        resume: Go on from the newest checkpoint that can be read; its markets begin anew.
        trust: Let rivals that are policy files be unpickled whole, which runs code stored in them.
        watch: Called after each iteration with steps done and mean profit per episode (NaN where none ended).
        say: Called with what a person should know.

    Returns:
        The trained seller.

    Raises:
        InvalidInput: `out` holds another run, a setting is not allowed, there is no cluster, or it is too small.
        MissingResource: RLlib is not installed, or a machine lacks a file or the weights.
        CorruptFile: Resuming, and no checkpoint can be read.
        MallesError: Training diverged; the checkpoints stay.
        KeyboardInterrupt: Ctrl-C was pressed; a checkpoint was kept at the end of the iteration.
    """
    import torch

    if run.engine != "rllib":
        raise invalid("engine", run.engine, "rllib here")
    needed_rllib()
    torch.set_num_threads(run.threads)
    out = Path(out)
    check_folder(run, out, resume)
    scenario = load_scenario(run.scenario)
    settings, markets = _settings(run, scenario)
    consumers = scenario.build_consumers(run.model, draws=run.tastes == "draws")
    env, arguments = prepare(run, scenario, consumers, trust)
    start = newest_good(out / "checkpoints", say) if resume else None
    model: Any = make_model(run, env, arguments, out, start)
    if start is None and run.start is not None:
        begin_at(model, make_seller(run.start, scenario, run.learner, consumers=consumers, history=run.history))
    with connected(address, max(run.env_runners, 1)) as ray:
        _check_cluster(ray, run, scenario)
        write_config(run, scenario, out)
        if start is not None:
            say(f"going on from {start.name}: not the same run bit for bit, its markets begin anew")
        elif resume:
            say(f"{out}: there is no checkpoint to go on from; the run begins anew")
        with stop_requests(say) as request:
            record = RunRecord(out, model.num_timesteps)
            training = _Training(run, record, scenario.reward_scale, model, watch, request)
            if training.done < run.steps:
                training.train(settings, RunnerTask(run, markets, training.done, trust))
    policy = write_whole(out / "policy.zip", model.save)
    env.close()
    return Trained(model, policy, record.curve, out)


def needed_rllib() -> None:
    """Make sure that RLlib can be imported.

    Raises:
        MissingResource: It cannot, or Ray is too old.
    """
    needed_ray()
    try:
        import ray.rllib  # noqa: F401
    except ImportError as error:
        raise MissingResource(f"RLlib is not installed ({error}): run  pip install 'malles-env[rllib]'") from None


def _settings(run: Run, scenario: Scenario) -> tuple[dict[str, Any], int]:
    """Return the algorithm's settings, checked, and how many markets each env runner plays."""
    settings = load_settings(run.algo, scenario=scenario.name, tastes=run.tastes) | run.settings
    check_settings(settings)
    markets = markets_each(settings, run.env_runners)
    if markets * (run.env_runners + 1) >= SEEDS_PER_PART:
        raise invalid("num_markets", settings["num_markets"], f"fewer than {SEEDS_PER_PART} over all env runners")
    return settings, markets


def _check_cluster(ray: Any, run: Run, scenario: Scenario) -> None:
    there = int(ray.cluster_resources().get("CPU", 0))
    if run.env_runners > there:
        raise invalid("env_runners", run.env_runners, f"at most {there}, the CPUs of the cluster")
    check_machines(ray, [files_check([run.scenario, run.rivals]), weights_check([run.model or model_of(scenario)])])


class _Training:
    """Iterations of RLlib's algorithm; what is kept of them is what `malles_agents.training.callbacks.Keeper` keeps."""

    def __init__(
        self, run: Run, record: RunRecord, reward_scale: float, model: PPO,
        watch: Callable[[int, float], object] | None, request: Request,
    ) -> None:  # fmt: skip
        self.run, self.record, self.reward_scale, self.model = run, record, reward_scale, model
        self.watch, self.request = watch, request
        self.done = model.num_timesteps

    def train(self, settings: dict[str, Any], task: RunnerTask) -> None:
        """Train to the run's last step.

        Raises:
            MallesError: Training diverged.
        """
        from torch.utils.tensorboard import SummaryWriter

        algorithm, before = build(settings, task, self.model), self.done
        try:
            with SummaryWriter(str(self.record.out / "tensorboard" / "rllib")) as self.board:
                self._iterate(algorithm, before)
        finally:
            close(algorithm)

    def _iterate(self, algorithm: Any, before: int) -> None:
        while self.done < self.run.steps:
            found = algorithm.train()["env_runners"]
            self.done = before + int(found["num_env_steps_sampled_lifetime"])
            self._note(float(found.get("episode_return_mean", nan)) * self.reward_scale)
            if not finite(learned_module(algorithm)):
                raise diverged(self.done, self.record.out)
            asked = self.request.number is not None
            if asked or self.done >= self.run.steps or self.done - self.record.kept >= self.run.checkpoint_every:
                bring_back(algorithm, self.model)
                self.model.num_timesteps = self.done
                self.record.keep(self.done, self.model.save)
            self.request.obey()

    def _note(self, profit: float) -> None:
        if not isnan(profit):
            self.record.add(self.done, profit)
            self.board.add_scalar("malles/profit_per_episode", profit, self.done)
        if self.watch is not None:
            self.watch(self.done, profit)
