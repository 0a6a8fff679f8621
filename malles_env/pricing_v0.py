"""The market as PettingZoo names its modules: `from malles_env import pricing_v0`, then `pricing_v0.env(scenario)`."""

from malles_env.envs.parallel import env, parallel_env, raw_env

__all__ = ["env", "parallel_env", "raw_env"]
