"""The training objective on a batch of occasions, with a live backbone or with readings made before."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from malles_env.errors import invalid
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.heads.coefficients import OptionTastes, PrefixTastes, utilities
from malles_env.preference.heads.ensemble import HeadSet
from malles_env.preference.heads.inputs import HeadInputs, Reader, batch
from malles_env.preference.heads.losses import choice_loss, consistency_loss, inside_loss, sensitivity_prior
from malles_env.preference.heads.quantities import quantity_nll, tilt


@dataclass(frozen=True)
class Weights:
    """How the parts of the objective are weighed.

    Attributes:
        inside: Weight of the choice among the options, given a purchase, beyond its part in the joint likelihood:
            most visits end without a purchase and would drown it.
        quantity: Weight of the quantity loss.
        prior: Weight of the sensitivity prior, in occasions per occasion.
        consistency: Weight of the divergence between two wordings of the same shelf; 0 reads one wording only.
        beta_centre: Centre of the log-normal prior of beta.
        gamma_scale: Scale of the half-normal prior of gamma.
    """

    inside: float = 3.0
    quantity: float = 0.3
    prior: float = 0.005
    consistency: float = 0.0
    beta_centre: float = 2.5
    gamma_scale: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what is no weight."""
        for name, value in vars(self).items():
            if not 0.0 <= value < math.inf:
                raise invalid(name, value, "a finite number of at least 0")


@dataclass(frozen=True)
class Scored:
    """A batch seen through the heads.

    Attributes:
        utilities: [B, J + 1], outside option first.
        prefix: Household tastes [B].
        option: Option tastes [B, J].
        batch: The tensors used.
    """

    utilities: torch.Tensor
    prefix: PrefixTastes
    option: OptionTastes
    batch: HeadInputs


def score(
    data: TasteData, heads: HeadSet, reader: Reader, *, new: bool = False, terms: torch.Tensor | None = None
) -> Scored:
    """Return utilities and tastes of a batch of occasions, averaged over the ensemble.

    Args:
        data: The occasions.
        heads: The heads.
        reader: Gives the readings.
        new: Treat all markets as never trained on.
        terms: Terms of the markets in place of the heads' own, e.g. a draw of them [1 + markets, terms].
    """
    given = batch(data, reader, heads.codes(data.products, data.households, new=new))
    prefix, option = heads(given.inputs, terms)
    return _scored(prefix, option, given)


def objective(
    data: TasteData,
    heads: HeadSet,
    reader: Reader,
    weights: Weights,
    *,
    reworded: Reader | None = None,
    new: bool = False,
    reference: torch.Tensor | None = None,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the mean loss of a batch and its parts for the curves; every member of the ensemble learns alone.

    Args:
        data: The occasions.
        heads: The heads.
        reader: Gives the readings.
        weights: Weights of the parts.
        reworded: Readings of the same products in other words, for the consistency term.
        new: Treat all markets as never trained on.
        reference: Utilities of a frozen reference model [B, J + 1], for reference-adjusted scores.
    """
    codes = heads.codes(data.products, data.households, new=new)
    given = _for_training(data, batch(data, reader, codes))
    drawn = torch.get_rng_state()
    members = [_scored(*tastes, given) for tastes in heads.each(given.inputs)]
    parts = [_parts(data, scored, weights, reference) for scored in members]
    if reworded is not None and weights.consistency > 0:
        other = _for_training(data, batch(data, reworded, codes))
        torch.set_rng_state(drawn)  # the same units dropped: the term is about the words, not about the noise
        for part, scored, tastes in zip(parts, members, heads.each(other.inputs), strict=True):
            second = _scored(*tastes, other)
            part["consistency"] = consistency_loss(scored.utilities, second.utilities).mean()
            part["total"] = part["total"] + weights.consistency * part["consistency"]
    means = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
    return means["total"], {name: float(value.detach()) for name, value in means.items()}


def _for_training(data: TasteData, given: HeadInputs) -> HeadInputs:
    """Ask for the units of the chosen options only."""
    place = torch.as_tensor(np.maximum(data.chosen - 1, 0), device=given.inputs.mask.device)
    return replace(given, inputs=replace(given.inputs, units_of=place))


def _parts(
    data: TasteData, scored: Scored, weights: Weights, reference: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    chosen = torch.as_tensor(data.chosen, device=scored.utilities.device)
    choice = choice_loss(scored.utilities, chosen, reference).mean()
    inside = inside_loss(scored.utilities, chosen, reference).sum() / len(data)
    units = units_nll(data, scored).sum() / len(data)
    mask = scored.batch.inputs.mask
    prior = sensitivity_prior(scored.prefix, scored.option, mask, weights.beta_centre, weights.gamma_scale).mean()
    total = choice + weights.inside * inside + weights.quantity * units + weights.prior * prior
    return {"total": total, "choice": choice, "inside": inside, "quantity": units, "prior": prior}


def _scored(prefix: PrefixTastes, option: OptionTastes, given: HeadInputs) -> Scored:
    return Scored(utilities(prefix, option, given.live, given.inputs.mask), prefix, option, given)


def units_nll(data: TasteData, scored: Scored) -> torch.Tensor:
    """Return the quantity loss of the occasions with a purchase [number of purchases], in nats."""
    device = scored.utilities.device
    rows = torch.as_tensor(data.chosen > 0, device=device).nonzero().squeeze(1)
    place = torch.as_tensor(data.chosen, device=device)[rows] - 1
    return quantity_nll(chosen_units(scored, rows, place), torch.as_tensor(data.quantity, device=device)[rows])


def chosen_units(scored: Scored, rows: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Return the log odds of 1..Q units at the options `place` of the occasions `rows` [N, Q]."""
    strength = scored.prefix.delta[rows] * scored.batch.live.discount[rows, place]
    at = place if scored.batch.inputs.units_of is None else torch.zeros_like(place)
    return tilt(scored.option.units[rows, at], strength)
