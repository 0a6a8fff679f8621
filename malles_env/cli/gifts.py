"""`malles scenario build --protocol online-retail` and `malles scenario beliefs`: markets made of words."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from malles_env.errors import invalid

if TYPE_CHECKING:
    from malles_env.data.sources.gifts.market import GiftMarket


def build_words(
    market: str,
    out: Path,
    protocol: str | None,
    *,
    log: str | None,
    sellers: str | None,
    capacity: int | None,
    title: str | None,
    seed: int,
    refused: Mapping[str, Any],
) -> None:
    """Build a scenario from categories of the gift wholesaler's log.

    Args:
        market: Categories, separated by commas.
        out: The .yaml file to write.
        protocol: ``online-retail``.
        log: File of the log; None: where `malles_env.data.sources.gifts.reading.log_file` finds it.
        sellers: ``one`` (the default) or ``houses``.
        capacity: Products the wholesaler may list at once.
        title: Of the scenario.
        seed: Of segments and draws.
        refused: Options that mean nothing here, by name; all must be None.

    Raises:
        InvalidInput: Another protocol, or an option that means nothing here.
        MissingResource: The log or the encoder is not there.
    """
    from malles_env.scenarios import save_scenario
    from malles_env.scenarios.gifts.build import build_gifts
    from malles_env.scenarios.gifts.choices import GiftChoices

    if protocol != "online-retail":
        raise invalid("--protocol", protocol, "online-retail")
    for name, value in refused.items():
        if value is not None:
            raise invalid(name, value, "nothing with --protocol online-retail")
    given: dict[str, Any] = {"title": title, "sellers": sellers, "capacity": capacity}
    choices = GiftChoices(out.stem, seed=seed, **{name: value for name, value in given.items() if value is not None})
    found = _market([name.strip() for name in market.split(",")], log)
    words = ["malles", "scenario", "build", market, "--protocol", protocol, "--out", out.name]
    for name, value in {**given, "seed": seed or None}.items():
        words += [] if value is None else [f"--{name}", str(value)]
    scenario = build_gifts(found, choices, made_by=shlex.join(words))
    save_scenario(scenario, out)
    typer.echo(f"{out}: {len(scenario.products)} products of {len(scenario.sellers)} sellers")
    typer.echo(f"Look at it: malles scenario show {shlex.quote(str(out))}")


def write_beliefs(name: str, out: Path, log: Path | None) -> None:
    """Write what a manager could know at every launch of a scenario made of words.

    Args:
        name: The scenario.
        out: The .json file.
        log: File of the log; None: where `malles_env.data.sources.gifts.reading.log_file` finds it.

    Raises:
        InvalidInput: A scenario that was not built from the log.
        MissingResource: The log or the encoder is not there.
    """
    from malles_env.scenarios import load_scenario
    from malles_env.scenarios.gifts.beliefs import make_beliefs, save_beliefs

    scenario = load_scenario(name)
    categories = sorted({product.product_type for product in scenario.products})
    if scenario.words is None:
        raise invalid("scenario", name, "one built with --protocol online-retail")
    words = shlex.join(["malles", "scenario", "beliefs", name, "--out", out.name])
    found = make_beliefs(scenario, _market(categories, log), made_by=words)
    save_beliefs(found, out)
    typer.echo(f"{out}: {len(found.period)} decisions about {len(found.product_ids)} products")


def _market(categories: Sequence[str], log: str | Path | None) -> GiftMarket:
    from malles_env.data.sources.gifts.catalogue import catalogue
    from malles_env.data.sources.gifts.cleaning import clean
    from malles_env.data.sources.gifts.market import GiftMarket
    from malles_env.data.sources.gifts.reading import log_file, read_log

    source = log_file() if log is None else Path(log)
    return GiftMarket.of(catalogue(clean(read_log(source))), categories)
