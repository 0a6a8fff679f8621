"""Price tests against known answers: what is unbiased, in which direction each channel misleads, and who covers."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from malles_env.cli import app
from malles_env.errors import InvalidInput
from malles_env.evaluation.experiments import ExperimentSettings, PriceTest, StoreSplit, Switchback, UserSplit, run
from malles_env.evaluation.experiments.channels import active_channels, control_world, play, shapley, subsets
from malles_env.evaluation.experiments.intervals import equal_weighted_cosines, welch
from malles_env.evaluation.experiments.performance import performance
from malles_env.evaluation.experiments.price_test import OUTCOMES, price_test
from malles_env.evaluation.experiments.report import as_json, remarks
from malles_env.market import (
    Catalog,
    Dynamics,
    Market,
    MeanField,
    Pooling,
    Population,
    Product,
    ReferencePrice,
    Tastes,
)
from malles_env.market.offer import Offer, Response
from malles_env.scenarios import load_scenario
from malles_env.workflows.price_test import run_experiment

UNITS = OUTCOMES.index("units")
SAME_STORES = StoreSplit(stores=6, before=4, size_sd=0.0)
DESIGNS = (Switchback(), UserSplit(), SAME_STORES)
SHORT = ExperimentSettings(horizon=12, replications=40, warmup=30)


@dataclass(frozen=True)
class Buyers:
    tastes: Tastes

    @property
    def num_segments(self) -> int:
        return self.tastes.num_segments

    @property
    def num_products(self) -> int:
        return self.tastes.num_products

    def respond(self, offer: Offer) -> Response:
        raise AssertionError("known tastes are not asked")


def shop(
    *, loyalty: float = 0.0, rho: float = 0.0, strength: float = 0.0, stock: float = np.inf,
    coupling: str = "lagged", size: float = 4000.0, pantry: float = 0.0,
) -> Market:  # fmt: skip
    """Two sellers with two products each, two segments, a price cut of which is worth having."""
    catalog = Catalog(
        tuple(Product(f"p{j}", f"seller_{j // 2}", 1.0, 2.0, stock=stock, listing_fee=5.0) for j in range(4))
    )
    tastes = Tastes(alpha=np.array([[0.0, -1.0, -0.5, -1.0], [-1.0, -0.5, 0.0, -0.5]]), beta=[2.0, 3.0], rho=rho,
                    lambda_=loyalty, pantry=pantry)  # fmt: skip
    return Market(
        catalog,
        Population.uniform(4, size=size, weights=[0.6, 0.4]),
        Buyers(tastes),
        mean_field=MeanField(coupling=coupling, window=4),
        reference_price=ReferencePrice(strength) if strength else None,
        dynamics=Dynamics(fade=0.2),
    )


def cut(market: Market) -> PriceTest:
    return price_test(market.catalog, products=["p0"], change=-0.15)


def biases(market: Market, *designs, settings: ExperimentSettings = SHORT) -> dict[str, tuple[float, float]]:
    """Return bias of units, and its error, over assignments alone."""
    report = run(market, cut(market), designs, replace(settings, replications=20))
    return {
        name: (float(found.expected_bias[UNITS]), float(found.expected_bias_se[UNITS]))
        for name, found in report.designs.items()
    }


# -- without interference ------------------------------------------------------------------------------------------


def test_without_interference_the_truth_is_the_logit_and_no_design_is_biased() -> None:
    market = shop()
    test = cut(market)
    report = run(market, test, DESIGNS, SHORT)
    tastes, weights = market.consumers.tastes, market.population.weights
    units = []
    for prices in (test.control, test.treatment):
        level = np.exp(tastes.alpha - tastes.beta * np.log(prices / market.catalog.regular_price))
        share = weights @ (level / (1.0 + level.sum(axis=1, keepdims=True)))
        units.append(market.population.size * share[:2].sum())
    assert report.channels == ()
    assert report.truth.effect[UNITS] == pytest.approx(units[1] - units[0], rel=1e-9)
    assert report.truth.control[UNITS] == pytest.approx(units[0], rel=1e-9)
    np.testing.assert_allclose(report.truth.steady, report.truth.effect, rtol=1e-9)
    for found in report.designs.values():
        np.testing.assert_allclose(found.expected_bias, 0.0, atol=1e-8)
        assert found.parts == {}
    assert [line for line in remarks(report) if line.endswith("shows no bias")]


def test_profit_is_after_fees_in_every_design() -> None:
    market = shop()
    test = cut(market)
    alone = Market(market.catalog, market.population, market.consumers, demand="expected")
    profit = alone.step(test.control, True).seller_profit[0, 0]
    report = run(market, test, [Switchback()], SHORT)
    assert report.truth.control[0] == pytest.approx(profit, rel=1e-9)


@pytest.mark.slow
def test_without_interference_bias_is_noise_and_intervals_cover() -> None:
    market = shop()
    designs = (Switchback(), UserSplit(0.3), StoreSplit(stores=8, before=4))
    report = run(market, cut(market), designs, ExperimentSettings(horizon=24, replications=1000, warmup=8, seed=5))
    for found in report.designs.values():
        judged = performance(found.estimates, report.truth.effect)
        assert (np.abs(judged.bias) < 3.5 * judged.bias_se).all()
        error = np.sqrt(0.95 * 0.05 / 1000)
        assert (np.abs(judged.coverage - 0.95) < 4 * error + 0.01).all(), (found.design.name, judged.coverage)
        if found.design.name == "store-split":  # Neyman's variance leaves out that effects differ with size
            assert (judged.mean_se > 0.95 * judged.sd).all()
        else:
            np.testing.assert_allclose(judged.mean_se, judged.sd, rtol=0.2)


# -- one channel at a time -----------------------------------------------------------------------------------------


def test_loyalty_carries_a_cut_into_other_blocks_and_spares_a_user_split() -> None:
    found = biases(shop(loyalty=2.0), Switchback(block=1), UserSplit(), SAME_STORES)
    assert found["switchback"][0] < -5 * found["switchback"][1] < 0  # attenuated: units lost to the control weeks
    assert found["user-split"][0] == pytest.approx(0.0, abs=1e-8)  # each consumer is loyal for themselves
    assert found["store-split"][0] == pytest.approx(0.0, abs=1e-8)


def test_washout_lessens_carryover() -> None:
    settings = ExperimentSettings(horizon=48, replications=20, warmup=30)
    plain = biases(shop(loyalty=2.0), Switchback(block=6), settings=settings)["switchback"][0]
    washed = biases(shop(loyalty=2.0), Switchback(block=6, washout=4), settings=settings)["switchback"][0]
    assert plain < 0.0
    assert abs(washed) < 0.6 * abs(plain)


def test_a_reference_price_makes_switching_look_better_than_a_lasting_cut() -> None:
    found = biases(shop(strength=1.0), Switchback(block=1), UserSplit(), SAME_STORES)
    assert found["switchback"][0] > 5 * found["switchback"][1] > 0
    assert found["user-split"][0] == pytest.approx(0.0, abs=1e-8)
    assert found["store-split"][0] == pytest.approx(0.0, abs=1e-8)


def test_a_pantry_makes_switching_look_better_than_a_lasting_cut() -> None:
    assert active_channels(shop(pantry=0.5)) == ("pantry",)
    found = biases(shop(pantry=0.5), Switchback(block=1), UserSplit(), SAME_STORES)
    assert found["switchback"][0] > 5 * found["switchback"][1] > 0
    assert found["user-split"][0] == pytest.approx(0.0, abs=1e-8)
    assert found["store-split"][0] == pytest.approx(0.0, abs=1e-8)


@pytest.mark.parametrize("coupling", ["lagged", "equilibrium"])
def test_a_user_split_misses_what_consumers_do_to_each_other(coupling: str) -> None:
    liking = biases(shop(rho=1.0, coupling=coupling), UserSplit(), SAME_STORES)
    shunning = biases(shop(rho=-1.0, coupling=coupling), UserSplit(), SAME_STORES)
    assert liking["user-split"][0] < -1.0  # the social multiplier raises both groups alike
    assert shunning["user-split"][0] > 1.0
    for found in (liking, shunning):
        assert found["store-split"][0] == pytest.approx(0.0, abs=1e-6)


def test_stores_interfere_as_far_as_their_mean_field_spills_over() -> None:
    market = shop(rho=1.0)
    found = [
        biases(market, replace(SAME_STORES, spillover=spillover))["store-split"][0] for spillover in (0.0, 0.5, 1.0)
    ]
    assert found[0] == pytest.approx(0.0, abs=1e-8)
    assert found[2] < found[1] < -1.0


def test_one_stock_lets_the_treated_take_from_the_others() -> None:
    market = shop(stock=6000.0)
    found = biases(market, UserSplit(), SAME_STORES)
    assert found["user-split"][0] > 1.0  # Johari et al. (2022): supply-constrained, so too large
    assert found["store-split"][0] == pytest.approx(0.0, abs=1e-6)
    assert biases(market, replace(SAME_STORES, one_stock=True))["store-split"][0] > 1.0


@pytest.mark.parametrize("coupling", ["lagged", "equilibrium"])
def test_with_all_channels_held_no_design_is_biased_and_parts_sum_to_the_bias(coupling: str) -> None:
    market = shop(loyalty=1.0, rho=0.8, strength=0.5, stock=6000.0, coupling=coupling)
    assert active_channels(market) == ("loyalty", "coupling", "reference", "stock")
    report = run(market, cut(market), DESIGNS, replace(SHORT, replications=3, warmup=120))
    for found in report.designs.values():
        total = sum(part.part for part in found.parts.values())
        np.testing.assert_allclose(total, found.expected_bias, rtol=1e-9, atol=1e-6)
        if found.design.name != "store-split":
            assert np.abs(found.expected_bias).max() > 1.0
    assert report.truth.steady is None


def test_holding_a_channel_is_exact_where_nothing_is_treated() -> None:
    market = shop(loyalty=1.0, rho=0.8, strength=0.5, pantry=0.3)
    test = cut(market)
    world = control_world(market, test, warmup=20, before=0, horizon=10)
    off = np.zeros((1, 10, 1), dtype=bool)
    played = [
        play(market, test, off, sizes=np.ones((1, 1)), pooling=Pooling(), control=world, held=held)
        for held in subsets(("loyalty", "coupling", "reference", "pantry"))
    ]
    for other in played[1:]:
        np.testing.assert_allclose(other, played[0], rtol=1e-10)


def test_a_split_in_which_all_are_treated_is_the_world_that_is_always_on() -> None:
    market = shop(loyalty=1.0, rho=0.8, strength=0.5, stock=6000.0)
    test = cut(market)
    world = control_world(market, test, warmup=20, before=0, horizon=12)
    split = np.broadcast_to([False, True], (1, 12, 2)).copy()
    both = play(market, test, split, sizes=np.array([[0.0, 1.0]]), pooling=Pooling(2), control=world)
    on = play(market, test, np.ones((1, 12, 1), bool), sizes=np.ones((1, 1)), pooling=Pooling(), control=world)
    np.testing.assert_allclose(both[:, :, 1], on[:, :, 0], rtol=1e-9)
    np.testing.assert_allclose(both[:, :, 0], 0.0, atol=1e-9)


# -- statistics ----------------------------------------------------------------------------------------------------


def test_welch_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    values, treated = rng.normal(size=(1, 11, 1)), np.arange(11)[None] < 4
    found = welch(values, treated)
    theirs = stats.ttest_ind(values[0, :4, 0], values[0, 4:, 0], equal_var=False)
    interval = theirs.confidence_interval(0.95)
    low, high = found.interval
    assert (low[0, 0], high[0, 0]) == pytest.approx((interval.low, interval.high))
    assert found.value[0, 0] / found.se[0, 0] == pytest.approx(theirs.statistic)


def test_cosines_cover_independent_and_hold_out_against_autocorrelated_weeks() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(20_000, 40, 1))
    low, high = equal_weighted_cosines(noise).interval
    assert ((low < 0) & (high > 0)).mean() == pytest.approx(0.95, abs=0.006)
    for t in range(1, 40):
        noise[:, t] += 0.3 * noise[:, t - 1]
    low, high = equal_weighted_cosines(noise).interval
    assert 0.92 < ((low < 0) & (high > 0)).mean() < 0.96


def test_shapley_shares_out_what_a_set_is_worth() -> None:
    names = ("a", "b", "c")
    worth = {chosen: np.array([len(chosen) ** 2 + 5.0 * ("a" in chosen)]) for chosen in subsets(names)}
    parts = shapley(worth, names)
    assert {name: float(part[0]) for name, part in parts.items()} == pytest.approx({"a": 8.0, "b": 3.0, "c": 3.0})


def test_equal_seeds_give_equal_experiments_however_many_there_are() -> None:
    market = shop(loyalty=1.0, rho=0.5)
    few, again = (run(market, cut(market), DESIGNS, replace(SHORT, replications=3)) for _ in range(2))
    more = run(market, cut(market), DESIGNS, replace(SHORT, replications=5))
    other = run(market, cut(market), DESIGNS, replace(SHORT, replications=3, seed=1))
    assert as_json(few) == as_json(again)
    for name, found in few.designs.items():
        np.testing.assert_array_equal(found.estimates.value, more.designs[name].estimates.value[:3])
        assert (found.estimates.value != other.designs[name].estimates.value).any()


# -- what is refused, and the command ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Switchback(block=0), "block: got 0"),
        (lambda: Switchback(block=2, washout=2), "washout: got 2; allowed: 0 to 1 weeks"),
        (lambda: UserSplit(1.0), "share: got 1.0"),
        (lambda: StoreSplit(stores=1), "stores: got 1; allowed: at least 4"),
        (lambda: StoreSplit(spillover=2.0), "spillover: got 2.0"),
        (lambda: StoreSplit(before=-1), "before: got -1"),
        (lambda: ExperimentSettings(replications=1), "replications: got 1; allowed: a whole number of at least 2"),
        (lambda: run(shop(), cut(shop()), [Switchback(block=13)], SHORT), "block: got 13; allowed: 1 to 3 weeks"),
        (lambda: run(shop(), cut(shop()), [Switchback(block=2)], replace(SHORT, horizon=13)), "horizon: got 13"),
        (lambda: run(shop(), cut(shop()), [StoreSplit(before=31)], SHORT), "before: got 31; allowed: at most"),
        (lambda: run(shop(), cut(shop()), [], SHORT), "designs: got"),
        (lambda: price_test(shop().catalog, change=-0.6), r"change: got '-60.0%'; allowed: -50.0% to \+100.0%"),
        (lambda: price_test(shop().catalog, change=0.0), "change: got 0.0"),
        (
            lambda: price_test(shop().catalog, change=-0.1, prices=9.0),
            r"prices\.p0: got 9.0; allowed: its price bounds",
        ),
        (lambda: price_test(shop().catalog, seller="x", change=-0.1), "seller: got 'x'; allowed: seller_0, seller_1"),
        (lambda: price_test(shop().catalog, products=["x"], change=-0.1), "product: got 'x'"),
        (
            lambda: price_test(shop().catalog, seller="seller_0", products=["p2"], change=-0.1),
            "product: got 'p2'; allowed: a product of seller_0: p0, p1",
        ),
        (
            lambda: price_test(shop().catalog, products=["p0"], change=-0.1, listed=[False, True, True, True]),
            "product: got 'p0'; allowed: a product on the shelf: p1",
        ),
        (lambda: run_experiment("bertrand-duopoly", "diary", change=-0.1), "design: got 'diary'; allowed: switchback"),
    ],
)
def test_bad_input_is_named(make, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        make()


def test_the_command_writes_numbers_and_picture(tmp_path: Path) -> None:
    numbers, picture = tmp_path / "found.json", tmp_path / "found.png"
    words = ["experiment", "wholesale", "--change", "-10%", "--replications", "3", "--horizon", "8", "--warmup", "4",
             "--stores", "4", "--before", "2", "--json", str(numbers), "--plot", str(picture)]  # fmt: skip
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "True effect per week" in result.output
    assert picture.read_bytes()[:4] == b"\x89PNG"
    found = json.loads(numbers.read_text())
    assert list(found["designs"]) == ["switchback", "user-split", "store-split"]
    one = found["designs"]["user-split"]["outcomes"]["profit"]
    assert set(one) == {"experiment", "replications", "expected_bias", "by_channel"}
    assert sum(part["part"] for part in one["by_channel"].values()) == pytest.approx(one["expected_bias"]["value"])
    report = run_experiment(
        load_scenario("wholesale"), [Switchback(), UserSplit(), StoreSplit(stores=4, before=2)], change=-0.1,
        settings=ExperimentSettings(horizon=8, replications=3, warmup=4),
    )  # fmt: skip
    assert found["truth"]["profit"]["effect"] == pytest.approx(float(report.truth.effect[0]))
    assert one["experiment"]["estimate"] == pytest.approx(float(report.designs["user-split"].estimates.value[0, 0]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--design", "diary"], "design: got 'diary'"),
        (["--change", "ten"], "change: got 'ten'; allowed: a percentage"),
        (["--design", "user-split", "--block", "3"], "--block: got 3; allowed: nothing without --design switchback"),
        (["--price", "product_a"], "price: got 'product_a'; allowed: PRODUCT=MONEY"),
        (["--price", "cola=2"], "price: got 'cola'"),
        (["--prices", "low"], "prices: got 'low'"),
        (["--plot", "picture.txt"], "plot: got 'picture.txt'"),
    ],
)
def test_the_command_refuses(words: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["experiment", "bertrand-duopoly", *words])
    assert result.exit_code == 2
    assert message in result.output
