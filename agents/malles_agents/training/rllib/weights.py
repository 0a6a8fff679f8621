"""The same network in two libraries: PPO of Stable-Baselines3, and RLlib's default module.

Each has two towers of tanh layers, a layer for the mean action, one for the value, and a log standard deviation per
action that does not depend on what is observed; only the names of the tensors and their order in the optimizer differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stable_baselines3 import PPO

_PAIRS = {
    "log_std": "pi.log_std",
    "action_net": "pi.net.mlp.0",
    "value_net": "vf.net.mlp.0",
    "mlp_extractor.policy_net": "encoder.actor_encoder.net.mlp",
    "mlp_extractor.value_net": "encoder.critic_encoder.net.mlp",
}
"""How names begin in Stable-Baselines3, and in RLlib."""


def rllib_name(name: str) -> str:
    """Return RLlib's name of a tensor of a Stable-Baselines3 policy."""
    for ours, theirs in _PAIRS.items():
        if name == ours or name.startswith(f"{ours}."):
            return theirs + name[len(ours) :]
    raise KeyError(name)


def put_into_module(model: PPO, module: Any, optimizer: Any = None) -> None:
    """Give RLlib's module the weights of a model, and its optimizer the state of the model's.

    Args:
        model: With an ``MlpPolicy``.
        module: The RLModule.
        optimizer: The Adam of RLlib's learner; None leaves it.
    """
    import torch

    theirs = dict(module.named_parameters())
    with torch.no_grad():
        for name, tensor in model.policy.named_parameters():
            theirs[rllib_name(name)].copy_(tensor)
    if optimizer is None:
        return
    known = model.policy.optimizer.state_dict()
    names = [rllib_name(name) for name, _ in model.policy.named_parameters()]
    optimizer.load_state_dict(_reordered(known, names, [name for name, _ in module.named_parameters()]))


def take_from_module(model: PPO, module: Any, optimizer: Any) -> None:
    """Give a model the weights of RLlib's module and the state of its optimizer; the inverse of `put_into_module`."""
    import torch

    theirs = dict(module.named_parameters())
    with torch.no_grad():
        for name, tensor in model.policy.named_parameters():
            tensor.copy_(theirs[rllib_name(name)].detach().cpu())
    names = [rllib_name(name) for name, _ in model.policy.named_parameters()]
    state = _reordered(optimizer.state_dict(), [name for name, _ in module.named_parameters()], names)
    model.policy.optimizer.load_state_dict(state)


def _reordered(state: dict[str, Any], old: list[str], new: list[str]) -> dict[str, Any]:
    """Return an optimizer's state whose tensors stand in the order `old`, in the order `new`."""
    (group,) = state["param_groups"]
    kept = {old[at]: tensors for at, tensors in state["state"].items()}
    state_of = {at: kept[name] for at, name in enumerate(new) if name in kept}
    return {"state": state_of, "param_groups": [{**group, "params": list(range(len(new)))}]}
