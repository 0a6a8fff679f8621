"""Settings of the Stable-Baselines3 algorithms that are shipped: one YAML file each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from malles_env.errors import CorruptFile, invalid
from malles_env.yaml_files import parse_yaml, read_plain_text

HOME = Path(__file__).parent


def list_settings() -> list[str]:
    """Return the algorithms that have settings, sorted."""
    return sorted(path.stem for path in HOME.glob("*.yaml"))


def load_settings(
    algorithm: str, path: str | Path | None = None, scenario: str = "", tastes: str = "mean"
) -> dict[str, Any]:
    """Return the settings of an algorithm.

    Args:
        algorithm: ``"ppo"``, ``"a2c"``, ``"sac"``, ``"td3"``, ``"dqn"`` or ``"recurrent-ppo"``.
        path: A file to read instead of the one that is shipped.
        scenario: Name of a scenario; what ``SCENARIO/ALGORITHM.yaml`` beside the shipped file says goes before it.
        tastes: ``"draws"``: what ``draws/ALGORITHM.yaml`` says goes before both.

    Returns:
        ``num_markets``, ``linear_decay``, for PPO ``minibatches``, and the arguments of the SB3 class.

    Raises:
        InvalidInput: No such algorithm.
        CorruptFile: The file holds no mapping.
    """
    if algorithm not in list_settings():
        raise invalid("algo", algorithm, ", ".join(list_settings()))
    settings = _read(Path(path) if path else HOME / f"{algorithm}.yaml")
    for folder in filter(None, (scenario, "draws" if tastes == "draws" else "")):
        tuned = HOME / folder / f"{algorithm}.yaml"
        settings |= _read(tuned) if tuned.exists() else {}
    return settings


def _read(source: Path) -> dict[str, Any]:
    settings = parse_yaml(read_plain_text(source), str(source))
    if not isinstance(settings, dict):
        raise CorruptFile(f"{source}: holds no settings; allowed: a mapping of names to values")
    return settings
