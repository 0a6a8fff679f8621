"""The markets as BenchMARL tasks: every algorithm there in a few lines.

    from benchmarl.algorithms import MappoConfig
    from malles_agents.libraries.benchmarl import pricing_task

    experiment = Experiment(task=pricing_task("bertrand-duopoly"), algorithm_config=MappoConfig.get_from_yaml(), ...)

Needs BenchMARL: ``pip install 'malles-env[benchmarl]'``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from benchmarl.environments.common import TaskClass
from tensordict import TensorDictBase
from torchrl.data import Composite
from torchrl.envs import EnvBase, PettingZooWrapper

from malles_env.envs import parallel_env


class PricingTask(TaskClass):
    """A market in which all sellers learn; they form one group called ``seller``.

    Its configuration holds the arguments of `malles_env.parallel_env`; the action mode follows the algorithm. Critics
    may read the market's global state. Sellers share their spaces, so parameters can be shared.
    """

    def get_env_fun(
        self, num_envs: int, continuous_actions: bool, seed: int | None, device: Any
    ) -> Callable[[], EnvBase]:
        """Return a function that builds one market, as BenchMARL's collectors call it."""
        settings = copy.deepcopy(self.config)
        settings["action_mode"] = "continuous" if continuous_actions else "flat-discrete"

        def build() -> EnvBase:
            env = parallel_env(**settings)
            return PettingZooWrapper(env, return_state=True, categorical_actions=True, seed=seed, device=device)

        return build

    def supports_continuous_actions(self) -> bool:
        """Prices and listing scores in a box: yes."""
        return True

    def supports_discrete_actions(self) -> bool:
        """A number for each choice of prices on a grid: yes, see the action mode ``flat-discrete``."""
        return True

    def max_steps(self, env: EnvBase) -> int:
        """Return the periods of an episode."""
        return int(env.max_cycles)

    def has_render(self, env: EnvBase) -> bool:
        """Return whether the market is to draw itself."""
        return bool(self.config.get("render_mode") == "rgb_array")

    def group_map(self, env: EnvBase) -> dict[str, list[str]]:
        """Return the sellers as one group."""
        found: dict[str, list[str]] = env.group_map
        return found

    def state_spec(self, env: EnvBase) -> Composite | None:
        """Return the global view."""
        return Composite({"state": env.observation_spec["state"].clone()})

    def observation_spec(self, env: EnvBase) -> Composite:
        """Return what the sellers see, without infos and the global view."""
        spec = env.observation_spec.clone()
        for group in self.group_map(env):
            for key in [key for key in spec[group].keys() if key != "observation"]:  # noqa: SIM118
                del spec[group][key]
        del spec["state"]
        return spec

    def action_spec(self, env: EnvBase) -> Composite:
        """Return the sellers' actions."""
        return env.full_action_spec

    def action_mask_spec(self, env: EnvBase) -> Composite | None:
        """Return None: every action a space can hold has a meaning."""
        return None

    def info_spec(self, env: EnvBase) -> Composite | None:
        """Return None: infos stay out of the collectors' data."""
        return None

    @staticmethod
    def env_name() -> str:
        """Return the name that experiments are filed under."""
        return "malles"

    @staticmethod
    def log_info(batch: TensorDictBase) -> dict[str, float]:
        """Return nothing more to log."""
        return {}


def pricing_task(scenario: str = "bertrand-duopoly", **settings: Any) -> PricingTask:
    """Return the BenchMARL task of a market.

    Args:
        scenario: Name or path.
        settings: Others of `malles_env.parallel_env`, but for ``action_mode``.
    """
    return PricingTask(name=f"PRICING_{scenario}".upper().replace("-", "_"), config={"scenario": scenario, **settings})
