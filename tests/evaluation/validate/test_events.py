"""Event studies find a planted run-up before deals and a planted lull after them, and nothing where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from malles_env.errors import InvalidInput
from malles_env.evaluation.validate.deals import Weeks, product_weeks
from malles_env.evaluation.validate.events import event_study, lag_study
from tests.evaluation.validate.worlds import World, deals, endogenous, purchases


def studied(seed: int, **given: float) -> Weeks:
    return product_weeks(purchases(deals(seed, **given), seed, 12_000))


def test_a_run_up_before_deals_is_flagged() -> None:
    weeks = studied(0, before=0.8)
    study = event_study("purchases", weeks, weeks.purchases)
    assert study.leads.p < 0.001
    assert study.lead.value == pytest.approx(0.8, abs=0.25)
    assert lag_study("purchases", weeks, weeks.purchases).leads.p < 0.01


def test_without_a_run_up_leads_are_seldom_found() -> None:
    events, prices = [], []
    for seed in range(20):
        weeks = studied(seed)
        events.append(event_study("purchases", weeks, weeks.purchases).leads.p)
        prices.append(lag_study("purchases", weeks, weeks.purchases).leads.p)
    for found in (events, prices):
        assert np.mean(np.array(found) < 0.05) <= 0.15 and np.mean(np.array(found) > 0.5) > 0.2


def test_a_lull_after_deals_is_seen_and_taken_for_no_lead() -> None:
    weeks = studied(3, after=-0.8)
    study, plain = (event_study("purchases", w, w.purchases) for w in (weeks, studied(3)))
    assert study.dip.value == pytest.approx(-0.8, abs=0.3) and study.dip.t < -4
    assert abs(plain.dip.t) < 2.5 and study.leads.p > 0.05
    assert set(range(4)) <= set(study.stop) and study.stop[0].t < -2
    lags = lag_study("purchases", weeks, weeks.purchases)
    assert lags.borrowed.value > 0.2 and lags.borrowed.t > 3


def test_a_deal_sells_what_its_price_does() -> None:
    weeks = studied(4, beta=-2.0)
    study = event_study("purchases", weeks, weeks.purchases)
    # Mean log price of a deal, times the coefficient, less what the whole category gains.
    depth = weeks.prices[weeks.deal, 4].mean()
    assert 0.6 * -2.0 * depth < study.deal.value < 1.1 * -2.0 * depth
    assert set(study.start) == {-4, -3, -2, -1, 0, 1}
    assert lag_study("purchases", weeks, weeks.purchases).current.value == pytest.approx(-2.0, abs=0.25)


def test_weeks_are_counted_from_the_deals_around_them() -> None:
    price = np.zeros((20, 1, 2))
    price[10:12, 0, 0], price[14:16, 0, 0] = -0.3, -0.3
    many = np.tile(price, (1, 1, 4))
    weeks = product_weeks(purchases(World(many, 0 * many, many), 0, 8000))
    row = {name: getattr(weeks, name)[weeks.product == 0] for name in ("until", "since", "into", "left", "known")}
    assert weeks.week[weeks.product == 0].tolist() == list(range(5, 25))
    assert row["until"].tolist() == [5] * 6 + [4, 3, 2, 1, 0, 0, 2, 1, 0, 0] + [5] * 4
    assert row["since"].tolist() == [9] * 10 + [-1, -1, 0, 1, -1, -1, 0, 1, 2, 3]
    assert row["into"].tolist() == [-1] * 10 + [0, 1, -1, -1, 0, 1] + [-1] * 4
    assert row["left"].tolist() == [-1] * 10 + [2, 1, -1, -1, 2, 1] + [-1] * 4
    # Before week 9 a deal may have been less than nine weeks ago, and what follows the last weeks is not known.
    assert row["known"].tolist() == [False] * 9 + [True] * 7 + [False] * 4


def test_too_few_deals_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"events.starts: got '0 starts of discounts of 10% or more'"):
        product_weeks(purchases(World(*(np.zeros((30, 1, 5)) for _ in range(3))), 0, 2000))
    short = deals(0, weeks=9, products=30)
    weeks = product_weeks(purchases(short, 0, 4000))
    for study in (event_study, lag_study):
        with pytest.raises(InvalidInput, match=r"events.*no product week of the kind"):
            study(
                "purchases", replace(weeks, known=np.zeros_like(weeks.known), prices=weeks.prices * np.nan), weeks.units
            )
    few = endogenous(0, stores=1, weeks=6)
    with pytest.raises(InvalidInput, match=r"events.*at least 8 for event studies"):
        product_weeks(purchases(few, 0, 500))
