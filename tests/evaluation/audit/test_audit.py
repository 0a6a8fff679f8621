"""The audit against consumers with known answers: lawful ones pass, each broken one fails its own test alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from malles_env.consumers import LogitConsumers
from malles_env.errors import InvalidInput
from malles_env.evaluation.audit import AuditSettings, audit, references
from malles_env.evaluation.audit.checks.elasticity import own_elasticities
from malles_env.evaluation.audit.checks.estimates import coefficients_at_bound
from malles_env.evaluation.audit.report import as_json
from malles_env.evaluation.audit.states import DISCOUNT_STEPS, PRICE_STEPS, ask_triples, price_ladder, random_states
from malles_env.evaluation.audit.subject import Asker
from malles_env.market import Tastes
from malles_env.market.demand.choice import own_price_elasticity, respond
from tests.evaluation.audit.flawed_consumers import (
    JUDGED,
    REGULAR,
    SETTINGS,
    STATES,
    Couples,
    Cyclers,
    DealShy,
    Decoyed,
    Skimmers,
    Snobs,
    subject_of,
    tastes,
)


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
    perceived = np.where(own > 1.0, own**-0.1, own)  # its utility falls in this, for both segments
    rises = (np.diff(perceived, axis=1) < 0)[product == 1]
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


def test_a_coefficient_at_its_bound_fails_by_name_and_number():
    report = audit(subject_of(LogitConsumers(tastes(rho=[1.8995, -0.4]))), replace(SETTINGS, states=2))
    assert report.failed == ("coefficients at bound",)
    found = report.finding("coefficients at bound")
    assert found.value == 1.0
    assert found.worst == "rho in 1 of 2 segments (bound 1.9)"
    assert found.details["segments"] == {"segment_0": {"rho": 1.8995}}
    assert found.asked == 0


def test_consumers_without_tastes_have_no_coefficients():
    class Opaque:
        num_segments, num_products = 2, 4

    subject = replace(subject_of(LogitConsumers(tastes())), consumers=Opaque())
    assert coefficients_at_bound(subject).verdict == "not applicable"
