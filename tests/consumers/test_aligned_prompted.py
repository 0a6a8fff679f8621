"""The prompted model that training makes, as consumers: in its training's words, in scenario files, distilled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from malles_env import load_scenario, parallel_env
from malles_env.consumers.aligned_prompted import AlignedPromptedConsumers
from malles_env.consumers.distil import DistilSettings, distil
from malles_env.consumers.distil.asking import identity_of
from malles_env.consumers.prompted import Calibration, Persona
from malles_env.errors import InvalidInput, MissingResource
from malles_env.market.offer import Offer
from malles_env.preference.prompted.data import prompt_data
from malles_env.preference.prompted.model import PromptedModel
from malles_env.preference.prompted.questions import draw_shelves
from malles_env.preference.prompted.trainer import align_prompted
from malles_env.scenarios import Scenario, parse_scenario, save_scenario
from malles_env.scenarios.consumer_kinds.aligned_prompted import with_aligned_prompted
from malles_env.scenarios.consumer_kinds.prompted import opening_offer
from malles_env.workflows.align_prompted import PromptJob, Splits, run_prompted
from tests.consumers.distil.cases import subject
from tests.preference.prompted.prompted_cases import QUICK, few_occasions, shelves, tiny

MARKET = "COFFEE | GROUND COFFEE"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A tiny model that took real steps on shelves, saved as training saves it."""
    folder = tmp_path_factory.mktemp("trained")
    model = tiny(prior=1.0)
    align_prompted(model, shelves(60), shelves(30, seed=1), QUICK, folder, show=False)
    model.save(folder / "model")
    return folder


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    """Ice cream with two segments."""
    whole = load_scenario("ice-cream")
    few = {"segments": [entry.model_dump() for entry in whole.segments[:2]]}
    return Scenario.model_validate({**whole.model_dump(), **few})


def consumers_of(folder: Path, **changes) -> AlignedPromptedConsumers:
    data = shelves(1)
    people = (Persona("", 2, 9, (0, 2, 0, 0)), Persona("", 5, 20, (1, 0, 3, 0)))
    fields = {"products": data.products, "personas": people, "names": tuple("abcd"), "market": MARKET} | changes
    return AlignedPromptedConsumers(PromptedModel.load(folder), **fields)


def offer_of(batch: int = 2, products: int = 4, segments: int = 2) -> Offer:
    rng = np.random.default_rng(3)
    regular = np.array([2.0, 3.0, 4.0, 5.0])[:products]
    return Offer(
        prices=regular * rng.choice([0.75, 0.9, 1.0], (batch, products)),
        available=np.ones((batch, products), dtype=bool),
        regular_price=regular,
        mean_field=np.full((batch, products), 1 / products),
        loyalty=rng.dirichlet(np.ones(products + 1), (batch, segments)),
        display=rng.random((batch, products)) < 0.5,
    )


def test_play_asks_what_training_asks(trained) -> None:
    """An occasion of the training data, put as an offer to one household: the same answer to 1e-5.

    The sample of training data holds more visits without a purchase than life, which play does not.
    """
    data = replace(shelves(40), log_sampling=np.zeros(40))
    asked = PromptedModel.load(trained).predict(data, orders=4)
    for row in range(0, 40, 8):
        places = np.argsort(data.product[row])  # as the catalog lists them
        who = Persona("", int(data.history_total[row]), int(data.weeks_seen[row]), tuple(data.bought[row, places]))
        consumers = consumers_of(trained, personas=(who,), orders=4)
        loyalty = np.concatenate([[0.0], data.last[row, places]]).astype(float)
        loyalty[0] = 1.0 - loyalty.sum()
        offer = Offer(
            data.price[row, places][None].astype(float), np.ones((1, 4), dtype=bool),
            data.regular_price[row, places].astype(float), data.share[row, places][None].astype(float),
            loyalty[None, None], feature_ad=data.promotion[row, places][None],
        )  # fmt: skip
        found = consumers.respond(offer)
        expected = np.exp(asked.log_probability()[row])
        np.testing.assert_allclose(found.probability[0, 0], expected[np.r_[0, 1 + places]], atol=1e-5)
        np.testing.assert_allclose(found.quantity[0, 0], asked.units[row, places], rtol=1e-4)


def test_the_catalogs_order_plays_no_part(trained) -> None:
    """Two products share their text; their names settle who is who."""
    turn = np.array([2, 0, 3, 1])
    products = (*shelves(1).products[:3], shelves(1).products[0])
    consumers, offer = consumers_of(trained, products=products), offer_of()
    other = consumers_of(
        trained, products=tuple(products[j] for j in turn), names=tuple("abcd"[j] for j in turn),
        personas=tuple(replace(p, bought=tuple(p.bought[j] for j in turn)) for p in consumers.personas),
    )  # fmt: skip
    loyalty = np.concatenate([offer.loyalty[:, :, :1], offer.loyalty[:, :, 1:][:, :, turn]], axis=2)
    turned = replace(
        offer, prices=offer.prices[:, turn], regular_price=offer.regular_price[turn], display=offer.display[:, turn],
        loyalty=loyalty,
    )  # fmt: skip
    found, again = consumers.respond(offer), other.respond(turned)
    np.testing.assert_allclose(again.probability[:, :, 1:], found.probability[:, :, 1:][:, :, turn], atol=1e-6)
    np.testing.assert_allclose(again.quantity, found.quantity[:, :, turn], atol=1e-6)
    np.testing.assert_allclose(again.loyalty.sum(axis=2), 1.0)


def test_shelves_may_be_short_or_empty(trained) -> None:
    offer = offer_of(3)
    offer.available[0, 1:3], offer.available[1] = False, False
    found = consumers_of(trained).respond(offer)
    np.testing.assert_allclose(found.probability.sum(axis=2), 1.0)
    assert (found.probability[0, :, 2:4] == 0).all() and (found.probability[0, :, 1] > 0).all()
    assert (found.probability[1, :, 0] == 1).all()
    nobody = consumers_of(trained).respond(offer.take(np.array([1])))
    assert (nobody.probability[:, :, 0] == 1).all() and (nobody.quantity == 1).all()


def test_what_was_bought_elsewhere_is_named(trained) -> None:
    plain, offer = consumers_of(trained), offer_of()
    result = consumers_of(trained, histories=(("red mug", "blue mug"), ()))
    one, other = plain.respond(offer).probability, result.respond(offer).probability
    assert np.abs(one[:, 0] - other[:, 0]).max() > 1e-4
    np.testing.assert_allclose(one[:, 1], other[:, 1], atol=1e-6)
    assert len({identity_of(each) for each in (plain, result, replace(plain, orders=3))}) == 3


def test_a_scenario_file_names_the_trained_model(trained, scenario, tmp_path) -> None:
    named = with_aligned_prompted(scenario, str(trained), threshold=0.3, orders=1)
    again = load_scenario(save_scenario(named, tmp_path / "shop.yaml"))
    assert again == named and named.consumers.market == "ICE CREAM/MILK/SHERBTS | PREMIUM"
    consumers = again.build_consumers()
    weights = again.population().weights
    shares = weights @ consumers.respond(opening_offer(again)).probability[0]
    result = np.array([product.reference_share for product in again.products])
    rate = again.consumers.purchase_rate
    np.testing.assert_allclose(shares, [1 - rate, *(rate * result / result.sum())], atol=1e-8)
    env = parallel_env(again, max_cycles=2)
    env.reset(seed=0)
    rewards = env.step({agent: env.action_space(agent).sample() * 0 + 0.2 for agent in env.agents})[1]
    assert all(np.isfinite(reward) for reward in rewards.values())
    assert str(trained) in again.consumers.model


def test_it_becomes_tastes(trained, tmp_path) -> None:
    """A conjoint experiment on a real, if tiny, trained model."""
    consumers = consumers_of(
        trained, products=shelves(1).products[:3], names=tuple("abc"), orders=1,
        personas=(Persona("", 2, 9, (0, 2, 0)), Persona("", 5, 20, (1, 0, 3))),
    )  # fmt: skip
    settings = DistilSettings(questions=8, fresh=4, batch=4, pool=8, price_transform="log")
    found = distil(subject(consumers), settings, answers=tmp_path / "answers.jsonl")
    assert found.facts["usage"]["requests"] > 0 and (found.tastes.beta > 0).all()
    assert np.isfinite(found.fidelity.median)
    with pytest.raises(InvalidInput, match="of other consumers"):
        distil(subject(replace(consumers, seed=1)), settings, answers=tmp_path / "answers.jsonl")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"orders": 0}, r"orders: got 0; allowed: 1 or more"),
        ({"loyalty": "words"}, r"loyalty: got 'words'; allowed: states, none"),
        ({"threshold": 2.0}, r"threshold: got 2.0; allowed: 0 to 1"),
        ({"names": tuple("aabc")}, r"names: .*4 distinct names"),
        ({"histories": ((),)}, r"histories: got 1; allowed: 2, one per persona"),
        ({"personas": (Persona("", 2, 9, (1, 2)),)}, r"personas\[0\].bought"),
        ({"calibration": Calibration.of(1, 4)}, r"calibration: .*numbers for \(2, 4\)"),
        ({"calibration": Calibration.of(2, 4, rho=1.0)}, r"calibration.rho: .*stated in words"),
    ],
)
def test_what_does_not_fit_is_refused(trained, change, message) -> None:
    with pytest.raises(InvalidInput, match=message):
        consumers_of(trained, **change)


def test_a_model_without_a_hash_and_a_long_shelf_are_refused(trained) -> None:
    with pytest.raises(InvalidInput, match="never saved"):
        AlignedPromptedConsumers(tiny(), ("tea",), (Persona(),))
    many = tuple(f"maker {j}, national brand, 1 oz" for j in range(26))
    consumers = consumers_of(trained, products=many, names=(), personas=(Persona("", 1, 2),))
    offer = Offer(
        np.ones((1, 26)), np.ones((1, 26), dtype=bool), np.ones(26), np.full((1, 26), 1 / 26), np.eye(27)[None, :1]
    )
    with pytest.raises(InvalidInput, match="shelf: got '26 products'; allowed: at most 25"):
        consumers.respond(offer)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{kind: aligned_prompted, model: x}", r"consumers.market"),
        ("{kind: aligned_prompted, market: tea}", r"consumers.model"),
        ("{kind: aligned_prompted, model: x, market: tea, shift: {tea: 1.0}}", r"consumers.shift: got 'tea'"),
        ("{kind: aligned_prompted, model: x, market: tea, mean_field: none}", r"there is no such field"),
        ("{kind: aligned_prompted, model: x, market: tea, calibrate: shares}", r"reference_share: got None"),
        (
            "{kind: aligned_prompted, model: x, market: tea}\nmean_field: {coupling: equilibrium}",
            r"mean_field.coupling.*kind is aligned_prompted",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused(entry, message) -> None:
    text = f"""
name: duopoly
format: 1
currency: USD
sellers: [{{name: a}}]
products: [{{product_id: product_a, seller: a, unit_cost: 1.0, regular_price: 2.0, price_low: 1.0, price_high: 3.0}}]
segments: [{{name: all}}]
population_size: 100
consumers: {entry}
"""
    with pytest.raises(InvalidInput, match=message):
        parse_scenario(text, "duopoly.yaml")


def test_a_missing_model_is_named(scenario) -> None:
    with pytest.raises(MissingResource, match="align-prompted --out"):
        with_aligned_prompted(scenario, "nowhere").build_consumers()
    with pytest.raises(InvalidInput, match="market: is missing"):
        with_aligned_prompted(load_scenario("bertrand-duopoly"), "nowhere")


@pytest.mark.slow
def test_smollm2_trained_for_a_few_steps_plays_live_and_distilled(tmp_path, scenario) -> None:
    """The real trainer and a real adapter: a period live, and the same market on tastes fitted to its answers."""
    from malles_env.workflows.audit import audit_subject
    from malles_env.workflows.distillation import distilled_scenario

    occasions = few_occasions()
    market = str(occasions.occasions["market"][0])
    parts = [
        prompt_data(draw_shelves(occasions, part, limit=8, most=4, markets=(market,)))
        for part in ("train", "validation", "test")
    ]
    config = replace(QUICK, steps=2, batch_size=4, validate_every=2)
    job = PromptJob("smollm2", tmp_path / "run", prior=1.0, config=config, rank=2)
    run_prompted(job, Splits(*parts), show=False)
    products = [entry.model_dump() for entry in scenario.products[:3]]
    sellers = [entry.model_dump() for entry in scenario.sellers if entry.name in {p["seller"] for p in products}]
    ids = {product["product_id"] for product in products}
    segment = scenario.segments[0].model_dump() | {"loyalty": {}}
    segment["bought"] = {name: count for name, count in segment["bought"].items() if name in ids}
    fewer = {"products": products, "segments": [segment], "sellers": sellers, "initial_mean_field": None}
    small = Scenario.model_validate({**scenario.model_dump(), **fewer})
    live = with_aligned_prompted(small, str(tmp_path / "run"), orders=1, quantity="one")
    consumers = live.build_consumers()
    settings = DistilSettings(questions=4, fresh=0, batch=4, pool=4, price_transform="log")
    found = distil(audit_subject(live, consumers), settings, answers=tmp_path / "answers.jsonl")
    fast = distilled_scenario(live, found, asked="SmolLM2", command="a test")
    for market_of in (live, fast):
        env = parallel_env(market_of, max_cycles=1)
        env.reset(seed=0)
        rewards = env.step({agent: env.action_space(agent).sample() * 0 for agent in env.agents})[1]
        assert all(np.isfinite(reward) for reward in rewards.values())
