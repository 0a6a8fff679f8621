"""`python -m research.words.markets`: should markets made of words read names frozen, or by what training learned?

The segments of `malles_env.scenarios.gifts` are grouped, and their tastes predicted, by readings of names. Here both
are made from the weeks up to 34 alone, with the encoder frozen and with the map that was trained on them, and
validation weeks 35 to 38 say which predicts the segments' choices, and the appeal of launches up to then, better. Test
weeks are not looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from malles_env.cli.places import file_option
from malles_env.cli.progress import progress_words
from malles_env.data.sources.gifts.catalogue import Catalogue, catalogue
from malles_env.data.sources.gifts.cleaning import clean
from malles_env.data.sources.gifts.market import GiftMarket, appeals
from malles_env.data.sources.gifts.reading import log_file, read_log
from malles_env.evaluation.metrics import clustered
from malles_env.evaluation.protocol import protocol
from malles_env.evaluation.transfer.names import centred
from malles_env.evaluation.transfer.study import WordStudy
from malles_env.evaluation.transfer.word_model.scoring import log_readings, log_words
from malles_env.evaluation.transfer.word_model.word_fit import WordSettings, fit_words
from malles_env.evaluation.transfer.word_model.word_map import name_vectors
from malles_env.files import write_json
from malles_env.preference.encoder.backbones import load_backbone
from malles_env.scenarios.gifts import fits
from malles_env.scenarios.gifts.build import FIRST_WEEK
from malles_env.scenarios.gifts.choices import GiftChoices
from malles_env.scenarios.gifts.personas import NameEmbeddings, Personas
from malles_env.type_aliases import FloatArray
from research.command import run


def trained_vectors(study: WordStudy, log: Catalogue, last: int) -> FloatArray:
    """Return what a map trained on weeks up to `last` says of the names of a log's products [P, D].

    Args:
        study: The occasions that the map is trained on.
        log: The products.
        last: Last week that may teach it.
    """
    learn = study.learning()
    learn = learn.take(np.flatnonzero(learn.period <= last))
    backbone = load_backbone("minilm", pooling="layers")
    words = log_words(log_readings(backbone, learn.products), backbone.parts, learn.products, study.sales)
    fitted = fit_words(learn, words, study.study.rules.held_out_categories, WordSettings())
    assert fitted.word_map is not None
    named = name_vectors(fitted.word_map, words.states, words.market)
    place = {code: at for at, code in enumerate(learn.products.names)}
    found: FloatArray = named[[place[code] for code in log.products["product_id"].to_list()]].astype(np.float64)
    return found


def compare(
    market: GiftMarket, readings: dict[str, NameEmbeddings], last: int, until: int, *, seed: int = 0
) -> dict[str, Any]:
    """Return what each reading is worth on weeks after `last` up to `until`.

    Args:
        market: All products and weeks; those after `until` are not looked at.
        readings: Of all products of the log, by name.
        last: Last week that anything is fitted on.
        until: Last week that judges.
        seed: Of the grouping.
    """
    known = market.known(market.first <= last, until)
    appeal, _ = appeals(
        known.known(np.arange(len(known)), last).counts, known.available & (np.arange(known.counts.shape[1]) <= last)
    )
    gains: dict[str, FloatArray] = {}
    who = np.zeros(0, dtype=np.int64)
    for name, reading in readings.items():
        personas = Personas.of(known, reading, GiftChoices("x").segments, until=last, seed=seed)
        segment_of = personas.of_customers(known.lines["household"].to_numpy())
        features = personas.features(reading, known.product)
        fitted = fits.fit_words(known, appeal, features, fits.choices(known, segment_of, FIRST_WEEK, last))
        later = fits.choices(known, segment_of, last + 1, until)
        gains[name] = fits.words_gains(known, appeal, features, later, fitted.weights)
        who = np.unique(later["household"].to_numpy(), return_inverse=True)[1].astype(np.int64)

    def estimate(values: FloatArray) -> dict[str, float]:
        found = clustered(values, who)
        return {"mean": found.mean, "se": found.se}

    one, other = list(readings)
    whole = market.known(market.first <= until, until)
    shown, _ = appeals(whole.counts, whole.available)
    launches = {}
    for name, reading in readings.items():
        own = centred(reading.raw[whole.product], reading.raw[whole.product].mean(axis=0))
        check = fits.check_launches(whole, own, shown, first=FIRST_WEEK, last=until)
        launches[name] = {"launches": len(check.place), "rank": check.rank, "sd": check.sd}
    return {
        "categories": list(market.categories),
        "products": len(known),
        "purchases": len(who),
        "gain": {name: estimate(values) for name, values in gains.items()},
        f"{other} - {one}": estimate(gains[other] - gains[one]),
        "launches": launches,
    }


def table(found: list[dict[str, Any]]) -> str:
    """Return the markets as Markdown."""
    lines = ["| categories | purchases | frozen | trained | trained - frozen | launches: rank, frozen | trained |"]
    lines.append("|---" * 7 + "|")
    for one in found:
        gain, ranks = one["gain"], one["launches"]
        parts = [gain["frozen"], gain["trained"], one["trained - frozen"]]
        cells = [f"{part['mean']:+.4f} ± {part['se']:.4f}" for part in parts]
        cells += [f"{ranks[name]['rank']:.2f}" for name in ("frozen", "trained")]
        lines.append(f"| {', '.join(one['categories'])} | {one['purchases']:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(
    market: Annotated[list[str], typer.Argument(help="Categories of each market, e.g. 'bag,lunch bag'.")],
    seed: Annotated[int, typer.Option(min=0, help="Of the grouping of customers.")] = 0,
    json_file: Annotated[Path | None, file_option("Write all numbers to this file.", "--json")] = None,
) -> None:
    """Compare frozen and trained readings on validation weeks and print a table, nats per purchase."""
    spans = protocol("online-retail").periods
    last, until = spans.train[1], spans.validation[1]
    with progress_words() as notify:
        notify("the log")
        log = catalogue(clean(read_log(log_file())))
        notify(f"a map of weeks up to {last}")
        vectors = trained_vectors(WordStudy.online_retail(), log, last)
        found = []
        for names in market:
            notify(names)
            gifts = GiftMarket.of(log, [name.strip() for name in names.split(",")])
            readings = {"frozen": NameEmbeddings.of(gifts), "trained": NameEmbeddings.centred(gifts, vectors)}
            found.append(compare(gifts, readings, last, until, seed=seed))
    typer.echo(table(found))
    if json_file is not None:
        write_json(json_file, {"markets": found})


if __name__ == "__main__":
    run(main)
