import logging

import numpy as np
import pytest

from malles_env.consumers.aligned import AlignedConsumers, Level, TasteQuestion, aligned_consumers
from malles_env.consumers.calibration import shift_to_shares
from malles_env.errors import CorruptFile, InvalidInput, MissingResource
from malles_env.market import Catalog, Consumers, Market, Offer, Population, Product, Tastes
from malles_env.market.demand.choice import respond
from tests.preference.conftest import PRODUCTS, tiny_model

SHARES = np.array([0.4, 0.3, 0.2, 0.1])
TARGET = np.array([0.8, 0.08, 0.06, 0.04, 0.02])
BOUGHT = np.array([[3, 2, 1, 0], [0, 0, 0, 0]])


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_model().save(folder)
    return folder


@pytest.fixture
def inputs(model_folder, tmp_path, monkeypatch):
    from malles_env.preference.data.text import Persona

    monkeypatch.setenv("MALLES_CACHE", str(tmp_path))
    loyalty = np.array([[0.1, 0.3, 0.3, 0.2, 0.1], [1.0, 0, 0, 0, 0]])
    return {
        "personas": [
            Persona("COFFEE | GROUND COFFEE", "COFFEE", 6, 36),
            Persona("COFFEE | GROUND COFFEE", "COFFEE", 0, 12),
        ],
        "products": PRODUCTS,
        "bought": BOUGHT,
        "reference_share": SHARES,
        "catalog": Catalog(tuple(Product(f"p{j}", "s", 1.0, 2.0) for j in range(4))),
        "population": Population(size=1000, weights=[0.7, 0.3], initial_loyalty=loyalty),
        "model": str(model_folder),
        "calibrate_to": TARGET,
        "prices": np.array([1.8, 2.0, 1.5, 2.0]),
        "mean_field": SHARES,
    }


def consumers_of(inputs, **options) -> AlignedConsumers:
    """Consumers of a market centred at the uniform shares, as `Market` is by default."""
    regular = inputs["catalog"].regular_price
    asked = TasteQuestion(inputs["personas"], inputs["products"], inputs["bought"], inputs["reference_share"], regular)
    level = Level(
        inputs["calibrate_to"], inputs["population"], regular, inputs["prices"], inputs["mean_field"], np.full(4, 0.25)
    )
    return aligned_consumers(asked, inputs["model"], level, **options)


def offer(inputs) -> Offer:
    return Offer(inputs["prices"][None], np.ones((1, 4), bool), inputs["catalog"].regular_price, SHARES[None],
                 inputs["population"].initial_loyalty[None])  # fmt: skip


def cached(tmp_path):
    return list((tmp_path / "readings").glob("*.safetensors"))


def test_tastes_are_the_models_own_plus_one_shift_per_product(inputs, model_folder):
    from malles_env.preference import TasteModel

    consumers = consumers_of(inputs)
    assert isinstance(consumers, Consumers)
    reading = TasteModel.load(model_folder).read(inputs["personas"], PRODUCTS, BOUGHT, SHARES)
    np.testing.assert_allclose(consumers.tastes.alpha, reading.alpha + consumers.shift, rtol=1e-6)  # read in float32
    np.testing.assert_allclose(consumers.tastes.beta, reading.beta, rtol=1e-6)
    assert consumers.weights_hash == TasteModel.load(model_folder).weights_hash


def test_calibrated_demand_has_the_observed_shares(inputs):
    consumers = consumers_of(inputs)
    probability = respond(consumers.tastes, offer(inputs)).probability[0]
    np.testing.assert_allclose(inputs["population"].weights @ probability, TARGET, atol=1e-9)


def test_without_calibration_the_tastes_stay_as_read(inputs):
    consumers = consumers_of(inputs | {"calibrate_to": None})
    np.testing.assert_array_equal(consumers.shift, 0.0)


def test_the_second_reading_comes_from_disk(inputs, tmp_path, monkeypatch):
    first = consumers_of(inputs)
    assert len(cached(tmp_path)) == 1
    from malles_env.preference.model import TasteModel

    monkeypatch.setattr(TasteModel, "load", lambda *_: pytest.fail("the model was loaded again"))
    second = consumers_of(inputs)
    np.testing.assert_array_equal(first.tastes.alpha, second.tastes.alpha)


def test_other_texts_are_read_anew(inputs, tmp_path):
    consumers_of(inputs)
    consumers_of(inputs | {"bought": BOUGHT + 1})
    assert len(cached(tmp_path)) == 2


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_cache_entry_is_named_and_read_again(inputs, tmp_path, caplog, damage):
    first = consumers_of(inputs)
    (path,) = cached(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:-8] if damage is None else damage)  # None: cut short, as a full disk would
    with caplog.at_level(logging.WARNING):
        second = consumers_of(inputs)
    assert str(path) in caplog.text
    np.testing.assert_array_equal(first.tastes.alpha, second.tastes.alpha)
    assert path.read_bytes() == content


def test_missing_and_damaged_models_are_named(inputs, model_folder, tmp_path):
    with pytest.raises(MissingResource, match="taste model 'no-such-model': no such model; shipped are"):
        consumers_of(inputs | {"model": "no-such-model"})
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    with pytest.raises(CorruptFile, match=r"broken/config\.json"):
        consumers_of(inputs | {"model": str(broken)})


def test_aligned_consumers_play_in_a_market(inputs):
    consumers = consumers_of(inputs)
    assert isinstance(consumers, AlignedConsumers)
    market = Market(inputs["catalog"], inputs["population"], consumers, demand="expected", initial_mean_field=SHARES)
    outcome = market.step(inputs["prices"], True)
    np.testing.assert_allclose(1 - outcome.outside, 0.2, atol=1e-9)


def test_calibration_recovers_a_known_shift():
    rng = np.random.default_rng(0)
    tastes = Tastes(alpha=rng.normal(size=(3, 4)), beta=2.0, lambda_=1.0, rho=0.5)
    population = Population(size=10, weights=[0.2, 0.3, 0.5], initial_loyalty=rng.dirichlet(np.ones(5), 3))
    known, prices, regular = rng.normal(size=4), rng.uniform(1, 2, 4), np.full(4, 1.5)
    there = Offer(prices[None], np.ones((1, 4), bool), regular, SHARES[None], population.initial_loyalty[None])
    target = population.weights @ respond(tastes.shifted(known), there).probability[0]
    found = shift_to_shares(tastes, population, regular, target, prices, SHARES)
    np.testing.assert_allclose(found, known, atol=1e-7)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ([0.5, 0.5, 0, 0, 0], r"calibrate_to\[2\]: got 0.0"),
        ([0.5, 0.1, 0.1, 0.1, 0.1], r"calibrate_to: got 0.89.*; allowed: shares that sum to 1"),
    ],
)
def test_impossible_shares_are_named(inputs, target, message):
    with pytest.raises(InvalidInput, match=message):
        consumers_of(inputs | {"calibrate_to": np.array(target)})
