"""Markets made of words: the bundled ones, launches and draws, and the builder on a small log with a tiny encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from malles_agents.seller_view import SellerView
from malles_agents.sellers.assortment import BestAssortment, RevenueOrdered
from malles_agents.studies.assortment import WORDS, as_json, draw, run_assortments
from malles_env.data.sources.gifts.market import GiftMarket
from malles_env.errors import CorruptFile, InvalidInput, MissingResource
from malles_env.market.tastes import tastes_of
from malles_env.scenarios import Scenario, load_scenario, save_scenario
from malles_env.scenarios.gifts.beliefs import KINDS, find_beliefs, make_beliefs, save_beliefs
from malles_env.scenarios.gifts.build import build_gifts
from malles_env.scenarios.gifts.choices import GiftChoices
from tests.data.sources.gift_log import small_catalogue
from tests.preference.conftest import tiny_model

BOTH = ("gifts", "gifts-houses")


@pytest.mark.parametrize("name", BOTH)
def test_a_market_of_words_holds_what_it_promises(name: str) -> None:
    scenario = load_scenario(name)
    assert 60 <= len(scenario.products) <= 140 and scenario.words is not None
    assert len({product.title for product in scenario.products}) == len(scenario.products)
    assert sum(seller.capacity or 0 for seller in scenario.sellers) < 0.6 * len(scenario.products)
    launches = {product.enters for product in scenario.products if product.enters}
    assert len(launches) >= 8 and max(launches) < scenario.max_cycles
    assert set(scenario.words.level.known) == set(scenario.product_ids)
    for segment in scenario.segments:
        assert segment.households is not None and segment.households >= 20 and 20 <= len(segment.history) <= 50
    notes = " ".join(scenario.notes)
    assert "WEAKLY IDENTIFIED" in notes and ("SELLERS ARE AN ASSUMPTION" in notes) == (name == "gifts-houses")
    assert scenario.tiers is not None and len(scenario.tiers.products) > 30


def test_nothing_is_sold_before_its_launch() -> None:
    scenario = load_scenario("gifts")
    roomy = tuple(seller.model_copy(update={"capacity": None}) for seller in scenario.sellers)
    scenario = scenario.model_copy(update={"sellers": roomy})
    market, enters = scenario.market(2, "expected"), scenario.catalog().enters
    everything = np.ones((2, len(enters)), dtype=bool)
    for period in range(int(enters.max()) + 1):
        units = market.step(np.tile(scenario.catalog().regular_price, (2, 1)), everything).units
        assert not units[:, enters > period].any() and (units[:, enters <= period] > 0).all()


def test_draws_vary_prices_and_appeals_around_the_mean() -> None:
    consumers = load_scenario("gifts").build_consumers(draws=True)
    draws = consumers.draws  # type: ignore[attr-defined]
    beta = [float(draw.beta[0, 0]) for draw in draws]
    mean = tastes_of(consumers)
    assert mean is not None and len(draws) == 16 and min(beta) < float(mean.beta[0, 0]) < max(beta)
    away = np.stack([draw.alpha.mean(axis=0) - mean.alpha.mean(axis=0) for draw in draws])
    assert 0.0 < away.std() < 0.5 and np.abs(away.mean(axis=0)).max() < 0.3


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"beta": 1.0, "shift": [0.1, 0.2, 0.3]}, r"consumers\.draws\[0\]\.shift"),
        ({"beta": -1.0}, r"consumers\.draws\[0\].*beta"),
        ({"beta": 1.0, "spread": -1.0}, "spread"),
        ({}, "beta"),
    ],
)
def test_bad_draws_are_named(block: dict[str, object], words: str) -> None:
    fields = load_scenario("bertrand-duopoly").model_dump(mode="json", exclude_defaults=True)
    fields["consumers"] = {**fields["consumers"], "kind": "logit", "draws": [block]}
    with pytest.raises(ValueError, match=words):
        Scenario.model_validate(fields)


@pytest.mark.slow
def test_sellers_list_what_there_is_and_the_exact_one_earns_more() -> None:
    view = SellerView.of("gifts", "seller_0")
    best, ordered = BestAssortment(view), RevenueOrdered(view)
    enters = view.catalog.enters
    for period in (0, 18, 51):
        shelves = [seller.shelf(period) for seller in (best, ordered)]
        assert all(shelf.sum() <= 32 and not shelf[enters > period].any() for shelf in shelves)
        assert best.mixture.profit(shelves[0]) > best.mixture.profit(shelves[1])
        assert best.mixture.profit(shelves[0]) == pytest.approx(best.bound(period), rel=1e-5)
    with pytest.raises(InvalidInput, match="markup"):
        BestAssortment(view, 0.0)


@pytest.mark.slow
def test_the_study_ranks_knowledge_above_chance(tmp_path: Path) -> None:
    found = as_json(run_assortments(load_scenario("gifts"), seeds=4))
    rows = found["rows"]
    assert list(rows) == list(WORDS)
    assert rows["best"]["profit"] <= 1.01 * found["bound"]
    assert rows["best"]["profit"] > rows["words"]["profit"] > rows["shuffled"]["profit"] > rows["chance"]["profit"]
    assert draw(found, tmp_path / "a.png").stat().st_size > 5000
    with pytest.raises(InvalidInput, match="single seller"):
        run_assortments(load_scenario("gifts-houses"))
    for options, words in (({"seeds": 1}, "seeds"), ({"shelf": 0}, "shelf")):
        with pytest.raises(InvalidInput, match=words):
            run_assortments(load_scenario("gifts"), **options)


def test_beliefs_are_about_launches_and_their_own_products(tmp_path: Path) -> None:
    scenario = load_scenario("gifts")
    beliefs = find_beliefs(scenario)
    for d, period in enumerate(beliefs.period):
        assert (
            beliefs.new[d][scenario.catalog().enters >= period].sum() >= (scenario.catalog().enters == period).sum() > 0
        )
        for kind in KINDS:
            assert ((beliefs.attraction[kind][d] > 0) == (scenario.catalog().enters <= period)).all()
    with pytest.raises(InvalidInput, match="gifts"):
        find_beliefs(load_scenario("gifts-houses"), save_beliefs(beliefs, tmp_path / "b.json"))
    with pytest.raises(MissingResource, match="bundled: gifts"):
        find_beliefs(load_scenario("clearance"))
    broken = json.loads((tmp_path / "b.json").read_text()) | {"period": [1]}
    (tmp_path / "b.json").write_text(json.dumps(broken))
    with pytest.raises(CorruptFile, match="holds no beliefs"):
        find_beliefs(scenario, tmp_path / "b.json")


@pytest.mark.slow
def test_a_small_log_becomes_a_market_that_sells_what_it_sold(tmp_path: Path) -> None:
    pytest.importorskip("all_minilm_l6_v2")  # make_beliefs reads names
    source = tiny_model(width=32, layers=2).backbone
    source.model.save_pretrained(tmp_path / "encoder")  # type: ignore[operator]
    source.encoder.tokenizer.save(str(tmp_path / "encoder" / "tokenizer.json"))
    market = GiftMarket.of(small_catalogue(), ["mug", "sign"], fewest=5)
    choices = GiftChoices("small", segments=(2, 1), capacity=5, model=str(tmp_path / "encoder"), draws=3)
    scenario = build_gifts(market, choices, made_by="a test")
    path = save_scenario(scenario, tmp_path / "small.yaml")
    assert load_scenario(path).digest() == scenario.digest() and scenario.sellers[0].capacity == 5
    tastes = tastes_of(scenario.build_consumers())
    assert tastes is not None
    order = [market.titles.index(product.title) for product in scenario.products]
    there, sold = market.available[order], market.counts[order]
    weights = scenario.population().weights
    value = np.exp(tastes.alpha)[:, :, None] * there
    bought = value / (1.0 + value.sum(axis=1, keepdims=True))
    weeks = sold.sum(axis=0) > 0
    rate = bought[:, :, weeks].sum(axis=1).mean(axis=1) * weights
    inside = value / np.maximum(value.sum(axis=1, keepdims=True), 1e-12)
    expected = np.einsum("s,sjw,w->j", rate / rate.sum(), inside, sold.sum(axis=0))
    np.testing.assert_allclose(expected, sold.sum(axis=1), rtol=0.02)
    beliefs = make_beliefs(scenario, market)
    assert len(beliefs.period) == len(set(market.first[market.launched])) and beliefs.new.any()


@pytest.mark.parametrize(
    "given", [{"sellers": "nobody"}, {"capacity": 0}, {"cost_share": 1.5}, {"draws": 0}, {"min_lines": 1}]
)
def test_bad_choices_are_named(given: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(given))):
        GiftChoices("x", **given)  # type: ignore[arg-type]
