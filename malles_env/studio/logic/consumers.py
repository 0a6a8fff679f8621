"""Who buys: segments, their histories and tastes; a product named in words; discussions on disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from malles_env.consumers.calibration import shift_to_shares
from malles_env.consumers.discussion.transcript import read_transcript
from malles_env.errors import CorruptFile, invalid
from malles_env.market.demand.choice import respond
from malles_env.market.tastes import Tastes, tastes_of
from malles_env.scenarios import Scenario
from malles_env.scenarios.blocks.entries import AlignedEntry
from malles_env.scenarios.consumer_kinds.aligned import target_shares
from malles_env.scenarios.consumer_kinds.prompted import opening_offer
from malles_env.scenarios.messages import explain
from malles_env.studio.logic.market import World
from malles_env.type_aliases import FloatArray

NEWCOMER = "newcomer"
MOST_TRANSCRIPTS = 200
MOST_DISCUSSIONS = 500


def segment_rows(scenario: Scenario) -> list[dict[str, Any]]:
    """Return one row per segment: size, history and what it bought, in words."""
    total = sum(segment.weight for segment in scenario.segments)
    titles = {product.product_id: product.title or product.product_id for product in scenario.products}
    return [
        {
            "segment": segment.name,
            "share %": round(100.0 * segment.weight / total, 1),
            "bought last": ", ".join(f"{titles[name]} {share:.0%}" for name, share in _largest(segment.loyalty)),
            "weeks seen": segment.weeks_seen,
            "purchases": segment.history_total,
            "bought most": ", ".join(f"{titles[name]} {count}" for name, count in _largest(segment.bought)),
            "in words": segment.description,
        }
        for segment in scenario.segments
    ]


def _largest(table: Any) -> list[tuple[str, Any]]:
    return sorted(table.items(), key=lambda pair: -pair[1])[:2]


def taste_rows(world: World) -> list[dict[str, Any]]:
    """Return one row per segment: what moves it, means over products where a coefficient is one per product."""
    tastes = tastes_of(world.consumers)
    if tastes is None:
        return []
    return [
        {
            "segment": segment.name,
            "price sensitivity": round(float(tastes.beta[s].mean()), 3),
            "discount": round(float(tastes.gamma[s]), 3),
            "others' purchases": round(float(tastes.rho[s]), 3),
            "last purchase": round(float(tastes.lambda_[s]), 3),
        }
        for s, segment in enumerate(world.scenario.segments)
    ]


def liking_rows(world: World) -> list[dict[str, Any]]:
    """Return how likely each segment buys each product at average prices, everything on the shelf, percent."""
    response = world.consumers.respond(opening_offer(world.scenario))
    names = world.product_titles()
    return [
        {"segment": segment.name, "product": names[j], "buys %": 100.0 * float(response.probability[0, s, j + 1])}
        for s, segment in enumerate(world.scenario.segments)
        for j in range(len(names))
    ]


@dataclass(frozen=True)
class NewProduct:
    """A product that nobody has sold yet, as a taste model reads it.

    Attributes:
        words: Brand or name, at most 60 characters.
        price: Money.
        store_brand: Whether it is the shop's own label.
        size: Content of the package; 0: not known.
        unit: Unit of the size.
    """

    words: str
    price: float
    store_brand: bool = False
    size: float = 0.0
    unit: str = ""


def with_product(scenario: Scenario, product: NewProduct) -> Scenario:
    """Return a copy of a scenario in which a new seller sells one more product; tastes stay as the model reads them.

    The model sees the median share of the others, as it was trained on products that had one.

    Raises:
        InvalidInput: Tastes that no model reads, no words, or a field that is not allowed.
    """
    if scenario.consumers.kind != "aligned":
        raise invalid("market", scenario.name, "one whose tastes a model reads from words")
    if not product.words.strip():
        raise invalid("product", product.words, "at least one word")
    if not product.price > 0.0:
        raise invalid("price", product.price, "more than 0")
    fields = scenario.model_dump()
    share = float(np.median([entry.reference_share or 0.0 for entry in scenario.products]))
    fields["sellers"] = [*fields["sellers"], {"name": NEWCOMER, "title": product.words}]
    fields["products"] = [*fields["products"], {
        "product_id": NEWCOMER, "seller": NEWCOMER, "title": product.words, "unit_cost": 0.0,
        "regular_price": product.price, "price_low": product.price / 2, "price_high": product.price * 2,
        "brand": product.words, "private_label": product.store_brand, "size_value": product.size,
        "size_unit": product.unit, "reference_share": share,
    }]  # fmt: skip
    fields["consumers"] |= {"calibrate": "none"}
    fields |= {"policy": {}, "promotions": None, "price_rules": None, "replenishment": None, "tiers": None}
    try:
        return Scenario.model_validate(fields)
    except ValidationError as error:
        raise explain(error, "new product", Scenario) from None


@dataclass(frozen=True)
class Reception:
    """How a new product would be received in the first period, at average prices of the others.

    Attributes:
        share: Of the consumers who would buy it, by segment, shape ``(S,)``.
        total: Of all consumers.
        taken_from: Where its buyers come from: share of them by product, and under "nobody" those who bought nothing.
    """

    share: FloatArray
    total: float
    taken_from: dict[str, float]


def reception(world: World, product: NewProduct) -> Reception:
    """Return who would buy a new product.

    What its level of demand would be no data say: it is read as a product of median share, and shifted by the mean of
    what is fitted to the other products' shares.

    Raises:
        InvalidInput: As for `with_product`.
    """
    scenario, known = with_product(world.scenario, product), world.scenario.consumers
    assert isinstance(known, AlignedEntry)
    read = tastes_of(scenario.build_consumers(world.model))
    assert read is not None
    target, usual = target_shares(world.scenario, known), opening_offer(world.scenario)
    old = _without_last(read)
    shift = np.zeros(old.num_products)
    if target is not None:  # reading one more product moves the others a little, so they are fitted anew
        centre = None if usual.centre is None else usual.centre[0]
        shift = shift_to_shares(
            old, world.scenario.population(), usual.regular_price, target, usual.prices[0], usual.mean_field[0], centre
        )
    bought = np.array([entry.reference_share or 0.0 for entry in world.scenario.products])
    level = float(np.average(shift, weights=bought))
    after = respond(read.shifted(np.append(shift, level)), opening_offer(scenario)).probability[0]
    before = respond(old.shifted(shift), usual).probability[0]
    weights = world.scenario.population().weights
    lost = np.maximum(weights @ before - (weights @ after)[:-1], 0.0)
    names = ["nobody", *world.product_titles()]
    taken = dict(zip(names, (lost / max(lost.sum(), 1e-300)).tolist(), strict=True))
    return Reception(after[:, -1], float(weights @ after[:, -1]), taken)


def _without_last(tastes: Tastes) -> Tastes:
    """Return tastes without their last product."""
    names = ("alpha", "beta", "kappa", "gain", "loss")
    return replace(tastes, **{name: getattr(tastes, name)[:, :-1] for name in names})


def transcripts(folder: Path) -> list[Path]:
    """Return the files below a folder that may hold discussions, the newest first, at most MOST_TRANSCRIPTS."""
    found = [path for path in folder.rglob("*.jsonl") if path.is_file()] if folder.is_dir() else []
    return sorted(found, key=lambda path: -path.stat().st_mtime)[:MOST_TRANSCRIPTS]


def discussions(path: Path) -> list[dict[str, Any]]:
    """Return the first discussions of a transcript, at most MOST_DISCUSSIONS.

    Raises:
        CorruptFile: It holds something else, or nothing.
    """
    found = []
    for talk in read_transcript(path):
        if not {"buyer", "shelf"} <= talk.keys():
            raise CorruptFile(f"{path.name}: holds a line that is no discussion")
        found.append(talk)
        if len(found) == MOST_DISCUSSIONS:
            break
    if not found:
        raise CorruptFile(f"{path.name}: holds no discussion; make one with  malles discuss SCENARIO --out {path.name}")
    return found


def turn_words(talk: dict[str, Any], turn: dict[str, Any]) -> tuple[str, str]:
    """Return what a turn says, and in words what it proposes or votes for; empty where it names nothing."""
    named = [talk["shelf"].get(code, "nothing") for code in turn.get("named") or ()]
    quantity = f", {turn['quantity']} of it" if turn.get("quantity") else ""
    verb = {"proposal": "Proposes", "ballot": "Votes for"}.get(turn["form"], "Names")
    return turn["said"] or "(silent)", f"{verb} {', '.join(named)}{quantity}" if named else ""


def verdict_rows(talk: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the moderator decided, the likeliest choice first."""
    verdict = talk.get("verdict") or {"probability": {}, "quantity": {}}
    rows = [
        {
            "choice": talk["shelf"].get(code, "nothing"),
            "probability %": round(100.0 * share, 1),
            "units each": None if code not in verdict["quantity"] else round(verdict["quantity"][code], 1),
        }
        for code, share in verdict["probability"].items()
    ]
    return sorted(rows, key=lambda row: -row["probability %"])
