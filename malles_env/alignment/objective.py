"""The training objective on a batch of occasions, with a live backbone or with frozen readings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from malles_env.alignment.dataset import TasteData
from malles_env.alignment.heads import OptionTastes, PrefixTastes, Shelf, TasteHeads
from malles_env.alignment.losses import choice_loss, quantity_loss, sensitivity_prior
from malles_env.alignment.model import States, TasteModel
from malles_env.alignment.packing import Request


class StateSource(Protocol):
    """Gives the hidden states of requests: a live backbone, or a table of readings."""

    def states(self, requests: list[Request]) -> States:
        """Return the states of `requests`, in order."""
        ...


@dataclass(frozen=True)
class Weights:
    """How the parts of the objective are weighed.

    Attributes:
        quantity: Weight of the quantity loss.
        prior: Weight of the sensitivity prior, in occasions per occasion.
        beta_centre: Centre of the log-normal prior of beta.
        gamma_scale: Scale of the half-normal prior of gamma.
    """

    quantity: float = 0.2
    prior: float = 0.01
    beta_centre: float = 2.0
    gamma_scale: float = 0.5


@dataclass(frozen=True)
class Scored:
    """A batch seen through the model.

    Attributes:
        utilities: [B, J + 1], outside option first.
        prefix: Persona tastes [B].
        option: Option tastes [B, J].
        shelf: The numbers used.
    """

    utilities: torch.Tensor
    prefix: PrefixTastes
    option: OptionTastes
    shelf: Shelf


def score(data: TasteData, heads: TasteHeads, source: StateSource | TasteModel) -> Scored:
    """Return utilities and tastes of a batch of occasions."""
    requests, persona_at, place = data.requests()
    states = source.states(requests)
    prefix = heads.prefix_tastes(states.prefix).take(persona_at)
    option = heads.option_tastes(states.option).take(place)
    shelf = data.shelf()
    return Scored(heads.utilities(prefix, option, shelf), prefix, option, shelf)


def objective(data: TasteData, scored: Scored, weights: Weights) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the mean loss of a batch and its parts for the curves."""
    chosen = torch.from_numpy(data.chosen)
    choice = choice_loss(scored.utilities, chosen).mean()
    units = quantity_nll(data, scored).sum() / len(data)
    prior = sensitivity_prior(scored.prefix, weights.beta_centre, weights.gamma_scale).mean()
    total = choice + weights.quantity * units + weights.prior * prior
    return total, {
        "choice": float(choice.detach()),
        "quantity": float(units.detach()),
        "beta": float(scored.prefix.beta.detach().mean()),
        "gamma": float(scored.prefix.gamma.detach().mean()),
    }


def quantity_nll(data: TasteData, scored: Scored) -> torch.Tensor:
    """Return the quantity loss of the occasions with a purchase [number of purchases]."""
    rows = torch.from_numpy(data.chosen > 0).nonzero().squeeze(1)
    place = torch.from_numpy(data.chosen)[rows] - 1
    rate = scored.option.kappa[rows, place] + scored.prefix.delta[rows] * scored.shelf.discount[rows, place]
    return quantity_loss(rate, torch.from_numpy(data.quantity)[rows])
