"""Prompted consumers: probabilities, order of the catalog, loyalty, mean field, quantities, surplus, failures."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from malles_env.consumers.prompted import Calibration, Persona, PromptedConsumers, PromptSettings
from malles_env.errors import InvalidInput, LanguageModelError
from malles_env.market import Consumers, Offer
from tests.consumers.prompted.models import Formula, Wrapped, tiny_model

TEXTS = ("Maker 955 48 oz", "Store brand 56 oz", "Maker 2110 56 oz", "Maker 1807 56 oz")
PERSONAS = (
    Persona("They like discounts.", 9, 36, (1, 7, 1, 0)),
    Persona("", 0, 12, (0, 0, 0, 0)),
    Persona("A family of four."),
)


def offer(batch: int = 2, products: int = 4, segments: int = 3, seed: int = 0) -> Offer:
    rng = np.random.default_rng(seed)
    regular = rng.uniform(4.0, 6.0, products)
    return Offer(
        regular * rng.uniform(0.6, 1.1, (batch, products)),
        np.ones((batch, products), dtype=bool),
        regular,
        rng.dirichlet(np.ones(products), batch),
        rng.dirichlet(np.ones(products + 1), (batch, segments)),
    )


def consumers(model=None, **settings) -> PromptedConsumers:
    return PromptedConsumers(
        model or tiny_model(), TEXTS, PERSONAS, market="ice cream", currency="USD", settings=PromptSettings(**settings)
    )


def line_prices(prompt, labels) -> list[float]:
    """The price shown for each label but N, in the order of the labels."""
    result = dict(re.findall(r"^([A-Z]): .*?; price ([\d.]+)", prompt.shared, re.MULTILINE))
    return [float(result[label]) for label in labels[1:]]


def by_price(place_bias: float = 0.0, slope: float = 1.0):
    def utility(prompt, labels):
        if labels[0] == "1":
            return [-float(n) for n in labels]
        return [0.0, *(-slope * price + place_bias * at for at, price in enumerate(line_prices(prompt, labels)))]

    return utility


@pytest.mark.parametrize(("loyalty", "mean_field"), [("states", "words"), ("words", "numbers"), ("none", "none")])
def test_a_real_model_answers_with_distributions(loyalty, mean_field) -> None:
    asked = offer()
    asked.available[1, 2] = False
    buyers = consumers(loyalty=loyalty, mean_field=mean_field, orders=2)
    response = buyers.respond(asked)
    assert isinstance(buyers, Consumers)
    assert response.probability.shape == (2, 3, 5) and response.quantity.shape == (2, 3, 4)
    np.testing.assert_allclose(response.probability.sum(axis=2), 1.0, atol=1e-12)
    np.testing.assert_allclose(response.loyalty.sum(axis=2), 1.0, atol=1e-12)
    assert (response.probability[1, :, 3] == 0).all() and (response.probability[0] > 0).all()
    assert (response.quantity >= 1).all() and (response.quantity[1, :, 2] == 1).all()
    assert np.ptp(response.probability[0, :, 1:], axis=1).min() > 1e-3, "the model tells products apart"
    again = buyers.respond(asked)
    for name in ("probability", "quantity", "loyalty"):
        np.testing.assert_array_equal(getattr(response, name), getattr(again, name))


@pytest.mark.parametrize("order", ["cyclic", "shuffled"])
def test_the_order_of_the_catalog_plays_no_part(order) -> None:
    asked, turn = offer(), np.array([2, 0, 3, 1])
    personas = tuple(replace(p, bought=tuple(p.bought[j] for j in turn) if p.bought else ()) for p in PERSONAS)
    settings = PromptSettings(orders=2, order=order)
    first = PromptedConsumers(tiny_model(), TEXTS, PERSONAS, settings=settings).respond(asked)
    turned = PromptedConsumers(tiny_model(), tuple(TEXTS[j] for j in turn), personas, settings=settings).respond(
        Offer(
            asked.prices[:, turn], asked.available[:, turn], asked.regular_price[turn], asked.mean_field[:, turn],
            asked.loyalty[:, :, [0, *(turn + 1)]],
        )
    )  # fmt: skip
    np.testing.assert_allclose(turned.probability[:, :, 1:], first.probability[:, :, turn + 1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(turned.quantity, first.quantity[:, :, turn], rtol=0, atol=1e-12)
    np.testing.assert_allclose(turned.loyalty[:, :, 1:], first.loyalty[:, :, turn + 1], rtol=0, atol=1e-12)


def test_equal_titles_need_names_that_differ() -> None:
    with pytest.raises(InvalidInput, match="distinct names"):
        PromptedConsumers(tiny_model(), ("tea", "tea"), (Persona(),))
    assert PromptedConsumers(tiny_model(), ("tea", "tea"), (Persona(),), ("tea_a", "tea_b")).num_products == 2


def test_all_cyclic_orders_take_a_bias_for_places_out_exactly() -> None:
    asked = offer(1)
    asked.prices[:] = asked.prices.round(2)
    expected = np.exp([0.0, *-asked.prices[0]])
    for bias in (0.0, 3.0):
        found = consumers(Formula(by_price(bias)), orders=4).respond(asked).probability[0, 0]
        np.testing.assert_allclose(found[1:] / found[1:].sum(), expected[1:] / expected[1:].sum(), rtol=1e-9)
    once = consumers(Formula(by_price(3.0)), orders=1).respond(asked).probability[0, 0]
    assert np.abs(once[1:] / once[1:].sum() - expected[1:] / expected[1:].sum()).max() > 0.1


def test_loyalty_is_a_mixture_over_last_purchases() -> None:
    def utility(prompt, labels):
        last = re.search(r"last purchase was ([A-Z])", prompt.own)
        return [0.0, *(2.0 if last and last[1] == label else -1.0 for label in labels[1:])]

    asked = offer(1, segments=3)
    asked.loyalty[:] = [0.0, 0.5, 0.3, 0.15, 0.05]
    buyers = consumers(Formula(utility), threshold=0.0, quantity="one")
    response = buyers.respond(asked)
    mine, others = np.exp(2.0), np.exp(-1.0)
    total = 1.0 + mine + 3 * others
    shares = asked.loyalty[0, 0]
    expected = (shares[1:] * mine + (1 - shares[1:]) * others) / total
    np.testing.assert_allclose(response.probability[0, 0, 1:], expected, rtol=1e-9)
    np.testing.assert_allclose(response.loyalty[0, 0, 1:], expected + shares[1:] / total, rtol=1e-9)
    for threshold, states in ((0.19, 3), (0.25, 2), (0.6, 1)):  # two and a rest; two for all; none and the rest
        model = Formula(utility)
        result = consumers(model, threshold=threshold, quantity="one", orders=1).respond(asked)
        assert model.asked == 3 * states
        np.testing.assert_allclose(result.loyalty.sum(axis=2), 1.0, atol=1e-12)
    near = consumers(Formula(utility), threshold=0.2, quantity="one").respond(asked)
    assert np.abs(near.probability - response.probability).max() < 0.2


def test_equal_questions_of_many_markets_are_asked_once() -> None:
    one = offer(1)
    many = Offer(*(np.repeat(part, 6, axis=0) if part.ndim > 1 else part for part in
                   (one.prices, one.available, one.regular_price, one.mean_field, one.loyalty)))  # fmt: skip
    first, second = Formula(by_price()), Formula(by_price())
    single, batch = consumers(first).respond(one), consumers(second).respond(many)
    assert first.asked == second.asked > 0
    np.testing.assert_array_equal(np.repeat(single.probability, 6, axis=0), batch.probability)


def test_one_channel_of_the_mean_field_at_a_time() -> None:
    rho = Calibration.of(3, 4, rho=1.5)
    with pytest.raises(InvalidInput, match=r"calibration.rho.*one channel at a time"):
        consumers().calibrated(rho)
    asked = offer(1)
    perceived = consumers(Formula(by_price()), mean_field="numbers")
    plain, pulled = perceived.respond(asked).probability, perceived.calibrated(rho).respond(asked).probability
    odds = np.log(pulled[..., 1:] / pulled[..., :1]) - np.log(plain[..., 1:] / plain[..., :1])
    np.testing.assert_allclose(odds[0, 0], 1.5 * (asked.mean_field[0] - 0.25), atol=1e-9)
    text = next(iter(perceived.questions(asked).asked[0][1].prompts)).shared
    result = next(iter(consumers().questions(asked).asked[0][1].prompts)).shared
    assert "recent purchases" not in text and result.count("recent purchases") == 4


def test_quantities_are_means_over_the_labels() -> None:
    asked = offer(1)
    response = consumers(Formula(by_price())).respond(asked)
    weights = np.exp(-np.arange(1.0, 10.0))
    np.testing.assert_allclose(response.quantity, weights @ np.arange(1.0, 10.0) / weights.sum(), rtol=1e-9)
    assert (consumers(Formula(by_price()), quantity="one").respond(asked).quantity == 1).all()


def test_surplus_is_money_only_where_a_price_sensitivity_was_measured() -> None:
    asked = offer(1)
    asked.prices[:] = asked.prices.round(2)
    buyers = consumers(Formula(by_price()), loyalty="none")
    assert np.isnan(buyers.respond(asked).surplus).all()
    result = buyers.calibrated(Calibration.of(3, 4, price_sensitivity=2.0)).respond(asked)
    money = 1.0 / (2.0 * np.mean(1.0 / asked.regular_price))
    np.testing.assert_allclose(result.surplus[0], -np.log(result.probability[0, :, 0]) * money, rtol=1e-9)


def test_an_empty_shelf_sells_nothing_and_asks_nothing() -> None:
    asked, model = offer(), Formula(by_price())
    asked.available[:] = False
    response = consumers(model).respond(asked)
    assert model.asked == 0 and (response.probability[..., 0] == 1).all() and (response.probability[..., 1:] == 0).all()
    np.testing.assert_allclose(response.loyalty, asked.loyalty)
    asked.available[0] = True
    assert (consumers(model).respond(asked).probability[1, :, 0] == 1).all()


def test_more_products_than_letters_are_refused() -> None:
    many = 26
    shop = PromptedConsumers(tiny_model(), tuple(f"tea {j}" for j in range(many)), (Persona(),))
    with pytest.raises(InvalidInput, match=r"26 products.*at most 25"):
        shop.respond(offer(1, many, 1))


class _Broken(Formula):
    def __init__(self, answer) -> None:
        super().__init__(by_price())
        self.answer = answer

    def label_log_probabilities(self, prompts, labels):
        return self.answer(super().label_log_probabilities(prompts, labels))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda rows: rows * np.nan, "sum to"),
        (lambda rows: rows + 1.0, "sum to 2.7"),
        (lambda rows: rows[:, :-1], "answered with shape"),
        (lambda rows: rows[:0], "answered with shape"),
    ],
)
def test_answers_that_are_no_distribution_are_errors(answer, message) -> None:
    with pytest.raises(LanguageModelError, match=message):
        consumers(_Broken(answer)).respond(offer())


def test_a_failure_is_an_error_and_no_answer() -> None:
    model = Wrapped(tiny_model(), lambda call: call == 2)
    with pytest.raises(LanguageModelError, match="server is gone"):
        consumers(model).respond(offer())
    assert np.isfinite(consumers(model).respond(offer()).probability).all()
