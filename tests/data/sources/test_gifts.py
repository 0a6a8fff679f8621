"""The gift wholesaler's log: what is dropped and counted, categories, prices, tiers, cases, occasions, launches."""

from __future__ import annotations

import datetime as dt
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from malles_env.data.occasions import Occasions
from malles_env.data.sources.gifts.build import build_gift_occasions
from malles_env.data.sources.gifts.categories import OTHER, Categories, shipped_categories
from malles_env.data.sources.gifts.cleaning import clean
from malles_env.data.sources.gifts.history import Past
from malles_env.data.sources.gifts.launches import CUSTOMERS, launch_trials
from malles_env.data.sources.gifts.prepare import prepare_launches, prepare_online_retail
from malles_env.data.sources.gifts.prices import case_sizes, quantity_tiers, weekly_prices
from malles_env.data.sources.gifts.reading import VARIABLE, log_file, read_log
from malles_env.data.sources.gifts.shelves import availability
from malles_env.errors import CorruptFile, InvalidInput, MissingResource
from tests.data.sources.gift_log import LAUNCHED, gift_lines, line, small_catalogue, small_settings, write_log

WHEN = dt.datetime(2021, 3, 1, 9)


@cache
def occasions() -> Occasions:
    return build_gift_occasions(small_catalogue(), small_settings())


def changed(**values: object) -> dict[str, object]:
    return line(WHEN, 1, 0, 0, 6, 2.0) | values


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        ({"CustomerID": None}, "without customer"),
        ({"InvoiceNo": "C5"}, "cancelled"),
        ({"Quantity": -3}, "cancelled"),
        ({"UnitPrice": 0.0}, "price zero"),
        ({"UnitPrice": float("nan")}, "price zero"),
        ({"StockCode": "POST"}, "codes that are no product"),
        ({"Description": "damaged in the rain"}, "notes"),
        ({"Description": "?"}, "notes"),
        ({"Description": None}, "notes"),
        ({"Description": "\N{TULIP}\N{TULIP}"}, "notes"),
        ({"Description": "VERY " * 1000}, "names of more than"),
    ],
)
def test_every_bad_line_is_dropped_and_counted_once(bad: dict[str, object], rule: str) -> None:
    good = clean(gift_lines())
    found = clean(pl.concat([gift_lines(), pl.DataFrame([changed(**bad)], schema=gift_lines().schema)]))
    dropped = {words: n for words, n in found.report.items() if words.startswith("dropped") and n}
    assert len(dropped) == 1
    assert next(iter(dropped)).startswith(f"dropped: {rule}")
    assert set(dropped.values()) == {1}
    assert found.lines.equals(good.lines)


def test_several_names_of_a_code_and_repeated_lines_are_merged_and_counted() -> None:
    once = pl.DataFrame([changed(), changed(Quantity=12), changed(StockCode="10000 ", Description="ZEBRA MUG, OLD")])
    found = clean(pl.concat([gift_lines(), once]))
    assert found.report["codes with several names (the most frequent one stays)"] == 1
    assert found.report["lines under another name of their code"] == 1
    assert found.products.filter(pl.col("product_id") == "10000")["title"].to_list() == ["ZEBRA DESIGN MUG"]
    merged = found.lines.filter((pl.col("household_id") == "20001") & (pl.col("day") == WHEN.date()))
    assert merged.filter(pl.col("product_id") == "10000")["quantity"].item() >= 24


def test_a_log_without_purchases_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="none of its 1 lines"):
        clean(pl.DataFrame([changed(Quantity=-1)], schema=gift_lines().schema))


def test_a_log_is_read_from_parquet_and_csv_alike(tmp_path: Path) -> None:
    frames = [read_log(write_log(tmp_path, suffix)) for suffix in (".parquet", ".csv")]
    assert frames[0].equals(frames[1])


def test_a_missing_file_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none.parquet"))
    with pytest.raises(MissingResource, match="id 352") as error:
        log_file()
    assert VARIABLE in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_log_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no table")
    with pytest.raises(CorruptFile, match=r"a\.parquet"):
        read_log(tmp_path / "a.parquet")
    gift_lines().drop("UnitPrice").write_csv(tmp_path / "b.csv")
    with pytest.raises(InvalidInput, match="UnitPrice is missing"):
        read_log(tmp_path / "b.csv")
    gift_lines().with_columns(Quantity=pl.lit("many")).write_csv(tmp_path / "c.csv")
    with pytest.raises(InvalidInput, match="column Quantity"):
        read_log(tmp_path / "c.csv")
    with pytest.raises(InvalidInput, match=r"\.xls"):
        read_log(_touched(tmp_path / "d.xls"))


def _touched(path: Path) -> Path:
    path.touch()
    return path


def test_the_first_category_with_a_word_takes_a_name() -> None:
    known = Categories(format=1, categories={"lunch bag": ["lunch bag"], "bag": ["bag"], "box": ["box"]})
    names = pl.Series(["LUNCH BAG OTTER", "BAGS OF LEMONS", "BAGPIPE", "BOX WITH BAG"])
    assert known.of(names).to_list() == ["lunch bag", "bag", OTHER, "bag"]


def test_categories_that_take_all_or_nothing_are_errors() -> None:
    with pytest.raises(InvalidInput, match="'bag' takes all 2"):
        Categories(format=1, categories={"bag": ["bag"]}).of(pl.Series(["RED BAG", "BLUE BAG"]))
    with pytest.raises(InvalidInput, match="none of them takes any of 1"):
        Categories(format=1, categories={"bag": ["bag"]}).of(pl.Series(["RED MUG"]))


def test_the_shipped_categories_are_the_protocols() -> None:
    from malles_env.evaluation.protocol import protocol

    known, rules = set(shipped_categories().categories), protocol("online-retail")
    assert len(known) == 44
    assert len(rules.held_out_categories) == 14
    assert rules.held_out_categories | rules.stopping_categories < known


def test_list_prices_tiers_and_cases_are_recovered() -> None:
    log = small_catalogue()
    kind, theme = np.divmod(log.products["product_id"].cast(pl.Int64).to_numpy() - 10000, 100)
    assert log.prices[:, 1:] == pytest.approx(
        np.broadcast_to((2.0 + kind + 0.05 * theme)[:, None], (len(kind), log.weeks))
    )
    tiers = log.tiers.filter(pl.col("product_id") == "10000")
    assert tiers["from_quantity"].to_list() == [1, 50]
    assert tiers["unit_price"].to_list() == pytest.approx([2.0, 1.6])
    assert log.products["case"].to_list() == [6] * len(log.products)


def test_a_changed_list_price_is_no_tier_and_one_customers_price_no_list_price() -> None:
    orders = [(f"{c}", "a", week, 6, 2.0 if week <= 10 else 1.5) for week in range(1, 21) for c in range(5)]
    orders += [("9", "a", 5, 1, 9.0)]
    lines = pl.DataFrame(
        orders, schema=["household_id", "product_id", "period", "quantity", "unit_price"], orient="row"
    )
    prices = weekly_prices(lines, pl.Series(["a"]), 20)
    assert prices[0, 1:].tolist() == [2.0] * 10 + [1.5] * 10
    asked = lines.with_columns(list_price=pl.Series(prices[0, lines["period"].to_numpy()]))
    assert quantity_tiers(asked)["from_quantity"].to_list() == [1]
    assert case_sizes(lines)["case"].to_list() == [6]


def test_shelves_hold_the_chosen_product_and_available_ones_that_were_not_bought() -> None:
    log, found = small_catalogue(), occasions()
    there = availability(log, small_settings().reach)
    place = {name: at for at, name in enumerate(log.products["product_id"])}
    bought: dict[tuple[str, int], set[str]] = {}
    ids = log.products["product_id"].gather(log.bought["product"])
    for household, week, product in zip(log.bought["household"], log.bought["period"], ids, strict=True):
        bought.setdefault((log.customers[household], week), set()).add(product)
    shelves = found.alternatives.group_by("occasion_id", maintain_order=True).agg("product_id", "position")
    for visit, (_, products, positions) in zip(found.occasions.iter_rows(named=True), shelves.iter_rows(), strict=True):
        assert positions == list(range(1, len(positions) + 1))
        chosen = products[visit["chosen"] - 1]
        assert chosen in bought[visit["household_id"], visit["period"]]
        assert all(there[place[name], visit["period"]] for name in products)
    same_day = found.alternatives.join(
        found.occasions.select("occasion_id", "household_id", "period"), on="occasion_id"
    )
    assert same_day["position"].min() == 1


def test_the_place_of_the_chosen_product_says_nothing() -> None:
    found = occasions()
    sizes = found.alternatives.group_by("occasion_id", maintain_order=True).len()["len"].to_numpy()
    relative = (found.occasions["chosen"].to_numpy() - 0.5) / sizes
    assert abs(relative.mean() - 0.5) < 4 * np.sqrt(1 / 12 / len(relative))


def test_what_was_bought_elsewhere_is_earlier_and_of_other_categories() -> None:
    found = occasions()
    product, ago = found.bought_elsewhere() or (np.zeros((0, 0), int), np.zeros((0, 0), int))
    market = found.products["market"].to_numpy()
    own = found.occasions["market"].to_numpy()
    result = product >= 0
    assert result.sum(1).min() >= small_settings().fewest_earlier
    assert (market[product][result] != np.broadcast_to(own[:, None], result.shape)[result]).all()
    assert (ago[result] >= 0).all()
    assert (np.diff(np.where(result, ago, 10_000), axis=1) >= 0).all()
    for row, kept in zip(product[:50], result[:50], strict=True):
        assert len(set(row[kept])) == kept.sum()


def test_histories_count_strictly_earlier_days() -> None:
    log, found = small_catalogue(), occasions()
    past = Past(log, small_settings())
    visit = found.occasions.row(len(found) // 2, named=True)
    household = log.customers.search_sorted(visit["household_id"])
    rows = log.bought.filter((pl.col("household") == household) & (pl.col("period") < visit["period"]))
    of_market = rows.filter(pl.col("market") == log.markets.index(visit["market"]))
    assert visit["history_total"] == len(of_market)
    assert visit["elsewhere"] == len(rows) - len(of_market)
    assert past.purchases(log)["product_id"][visit["history_end"] - 1] in log.products["product_id"]


def test_the_same_log_gives_the_same_occasions() -> None:
    again = build_gift_occasions(small_catalogue(), small_settings())
    assert again.alternatives.equals(occasions().alternatives)
    assert again.occasions.equals(occasions().occasions)


def test_occasions_keep_what_was_bought_elsewhere_on_disk_and_in_parts(tmp_path: Path) -> None:
    found = occasions()
    found.save(tmp_path / "o")
    back = Occasions.load(tmp_path / "o")
    assert back.elsewhere is not None
    assert back.elsewhere.equals(found.elsewhere)
    some = back.rows(np.array([3, 8]))
    assert some.elsewhere is not None
    assert some.elsewhere["occasion_id"].to_list() == [3, 8]
    (tmp_path / "o" / "elsewhere.parquet").unlink()
    with pytest.raises(CorruptFile, match="elsewhere"):
        Occasions.load(tmp_path / "o")


def test_launches_meet_the_same_customers_and_alternatives() -> None:
    trials = launch_trials(small_catalogue(), small_settings())
    result = trials.meta["launches"]
    assert set(result["market"]) == {kind.lower() for kind in LAUNCHED}
    assert len(result["product_id"]) == 4
    assert len(trials) == 4 * min(CUSTOMERS, trials.occasions["household_id"].n_unique())
    assert min(result["week"]) > 38
    chosen = trials.alternatives.join(trials.occasions.select("occasion_id", "chosen"), on="occasion_id").filter(
        pl.col("position") == pl.col("chosen")
    )
    assert set(chosen["product_id"]) == set(result["product_id"])
    others = trials.alternatives.join(chosen.select("occasion_id", launch="product_id"), on="occasion_id").filter(
        pl.col("product_id") != pl.col("launch")
    )
    assert not set(others["product_id"]) & set(result["product_id"])


def test_a_held_out_category_without_products_is_an_error() -> None:
    from dataclasses import replace

    settings = small_settings()
    wrong = replace(settings, splits=replace(settings.splits, held_out_categories=frozenset({"teapot"})))
    with pytest.raises(InvalidInput, match="teapot"):
        build_gift_occasions(small_catalogue(), wrong)


@pytest.mark.slow
def test_the_real_log_has_its_known_size(tmp_path: Path) -> None:
    from malles_env.evaluation.protocol import protocol
    from malles_env.evaluation.transfer.study import gift_settings

    try:
        log_file()
    except MissingResource as error:
        pytest.skip(str(error))
    settings = gift_settings(protocol("online-retail"))
    found = prepare_online_retail(settings, cache_dir=tmp_path)
    report = found.meta["report"]
    assert report["lines read"] == 541_909
    assert report["dropped: without customer"] == 135_080
    assert report["products in a category"] == 2_276
    assert len(found.markets) == 44
    assert len(prepare_launches(settings, cache_dir=tmp_path).meta["launches"]["product_id"]) == 127
