"""Heads of a saved taste model to train on, those of the format before this one included."""

from __future__ import annotations

from pathlib import Path

import torch

from malles_env.preference.encoder.backbones import Backbone
from malles_env.preference.heads.ensemble import HeadSet
from malles_env.preference.heads.taste_heads import SEEN_LIVE
from malles_env.preference.storage import load_tensors_into, read_tensors
from malles_env.preference.store.checkpoint import read_model_config, untrained_heads
from malles_env.preference.store.locate import locate

_SEEN_BEFORE = ("display", "feature ad", "share deviation", "log trend")
_OUTPUTS_BEFORE = ("propensity", "beta", "gamma", "display", "feature", "rho", "lambda_", "delta")
_WITH_TREND = [0, 1, 2, 3, 4, 6, 7, 5]  # what was rho comes last


def heads_to_continue(name: str | Path, backbone: Backbone) -> HeadSet:
    """Return the heads of a saved model without its markets' own terms, which are fitted after every training.

    In format 1 inner layers saw the windowed share and heads had a rho of their own. Both are dropped, which is what
    those heads say at the long-run shares; heads for markets never trained on keep them as their control for trends.

    Args:
        name: Shipped name or directory.
        backbone: Its backbone.

    Raises:
        MissingResource: No such model.
        CorruptFile: A file of it is damaged.
    """
    directory = locate(name)
    config = read_model_config(directory)
    heads = untrained_heads(backbone, {**config["heads"], "draws": 0})
    path = directory / "heads.safetensors"
    tensors = read_tensors(path)
    if config["format"] == 1:
        tensors = {key: _without_share(key, value, heads) for key, value in tensors.items() if _lives_on(key)}
    own = {key: value for key, value in heads.state_dict().items() if key.startswith("market_")}
    load_tensors_into(heads, {**tensors, **own}, path)
    return heads.eval()


def _lives_on(key: str) -> bool:
    return not key.endswith(".support") and key != "market_price"


def _without_share(key: str, value: torch.Tensor, heads: HeadSet) -> torch.Tensor:
    """Return a tensor of format 1 without the columns of the share and the row of rho, or with them as the trend."""
    if heads.get_submodule(".".join(key.split(".")[:3])).trend:  # type: ignore[union-attr]
        return value[_WITH_TREND] if ".prefix_out." in key else value
    if key.endswith(".first.weight"):
        # The columns are facts, what is seen live, and text; the new layer's width shows where the live ones begin.
        member = heads.get_submodule(key.removesuffix(".first.weight"))
        text = member.sizes.text  # type: ignore[union-attr]
        start = value.shape[1] - text - len(_SEEN_BEFORE)  # type: ignore[operator]
        gone = [start + at for at, seen in enumerate(_SEEN_BEFORE) if seen not in SEEN_LIVE]
        return value[:, [at for at in range(value.shape[1]) if at not in gone]]
    if ".prefix_out." in key:
        return value[[at for at, output in enumerate(_OUTPUTS_BEFORE) if output != "rho"]]
    return value
