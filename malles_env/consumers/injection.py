"""Attacks by product text, and what they bring: the change of the attacker's share, with its standard error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from malles_env.errors import invalid
from malles_env.market.offer import Consumers, Offer
from malles_env.type_aliases import FloatArray, OnMessage
from malles_env.yaml_files import parse_yaml

Rebuild = Callable[[int, str], Consumers]
"""Consumers when product j, a number from 0, has this text in the place of its honest one."""


@dataclass(frozen=True)
class Attack:
    """A text that a seller writes to get demand it does not earn by product and price.

    Attributes:
        name: What it is called in reports.
        text: The text; ``{title}`` stands for the honest title.
        repeat: How often it stands there.
    """

    name: str
    text: str
    repeat: int = 1

    def on(self, title: str) -> str:
        """Return the text for a product."""
        return self.text.replace("{title}", title) * self.repeat


@dataclass(frozen=True)
class Uplift:
    """What an attack brought.

    Attributes:
        uplift: Mean change of the attacked product's share of consumers, -1 to 1.
        se: Its standard error, over attacked products (over market states where there is one product only): states of
            one product are no independent cases.
        clean: Mean share without the attack.
        cases: Attacked products times market states.
    """

    uplift: float
    se: float
    clean: float
    cases: int


@cache
def shipped_attacks() -> tuple[Attack, ...]:
    """Return the attack suite."""
    found = parse_yaml(Path(__file__).with_name("attacks.yaml").read_text(encoding="utf-8"), "attacks.yaml")
    return tuple(Attack(**entry) for entry in found)


def chosen_attacks(names: Sequence[str]) -> tuple[Attack, ...]:
    """Return the attacks of these names; all for none.

    Raises:
        InvalidInput: No such attack.
    """
    known = {attack.name: attack for attack in shipped_attacks()}
    for name in names:
        if name not in known:
            raise invalid("attacks", name, ", ".join(known))
    return tuple(known[name] for name in names) or shipped_attacks()


def measure(
    rebuild: Rebuild,
    titles: Sequence[str],
    offer: Offer,
    weights: FloatArray,
    attacks: Sequence[Attack],
    *,
    targets: Sequence[int],
    notify: OnMessage = lambda words: None,
) -> dict[str, Uplift]:
    """Return what each attack brings the product that carries it, everything else equal.

    A case is one attacked product in one market; the order of the shelf may depend on the product, in the hands of
    `rebuild`. Each case is its own control: the same market with the honest text.

    Args:
        rebuild: Makes the consumers anew for a text.
        titles: J honest titles.
        offer: B markets.
        weights: Segment weights, shape ``(S,)``, sum 1.
        attacks: The texts.
        targets: Products that attack, one at a time.
        notify: Called with what is being asked now.

    Raises:
        InvalidInput: No market or no attacked product.
        LanguageModelError: The consumers failed.
    """
    if not targets or not len(offer.prices):
        raise invalid("cases", (len(targets), len(offer.prices)), "at least one attacked product and one market")
    clean = []
    for j in targets:
        notify(f"clean shelf, product {j + 1}")
        clean.append(_share(rebuild(j, titles[j]), offer, weights, j))
    found = {}
    for attack in attacks:
        gained = []
        for j, before in zip(targets, clean, strict=True):
            notify(f"{attack.name}, product {j + 1}")
            gained.append(_share(rebuild(j, attack.on(titles[j])), offer, weights, j) - before)
        found[attack.name] = _uplift(np.stack(gained), np.stack(clean))
    return found


def _share(consumers: Consumers, offer: Offer, weights: FloatArray, product: int) -> FloatArray:
    return consumers.respond(offer).probability[:, :, product + 1] @ weights


def _uplift(gained: FloatArray, clean: FloatArray) -> Uplift:
    """Return mean and error of gains, shape ``(products, markets)``."""
    parts = gained.mean(axis=1) if len(gained) > 1 else gained[0]
    se = float(parts.std(ddof=1) / np.sqrt(len(parts))) if len(parts) > 1 else float("nan")
    return Uplift(float(gained.mean()), se, float(clean.mean()), gained.size)
