"""The `forces` of a scenario file: what they do to tastes and market, and what is refused."""

import hashlib
import logging
from hashlib import sha256

import numpy as np
import pytest
from typer.testing import CliRunner

from malles_env.cli.scenario import scenario_app
from malles_env.errors import InvalidInput
from malles_env.market import Dynamics
from malles_env.scenarios import list_scenarios, load_scenario, save_scenario
from malles_env.scenarios.consumer_kinds.prompted import with_prompted
from malles_env.scenarios.loader import parse_scenario
from malles_env.scenarios.schema import Scenario
from malles_env.workflows.elasticities import price_response

EVERY = {
    "promotion": {"display": 0.4, "feature": 0.3},
    "reference_price": {"gain": 1.1, "loss": 0.5, "memory": 0.7},
    "inertia": {"fade": 0.1, "loyalty": 0.6},
    "seasons": {"sd": 0.2, "persistence": 0.5},
    "pantry": {"theta": 0.3, "keep": 0.6},
}


def changed(name: str, **fields) -> Scenario:
    return Scenario.model_validate(load_scenario(name).model_dump() | fields)


def test_every_force_reaches_tastes_and_market():
    market = changed("soft-drinks", forces=EVERY).market(2)
    tastes = market.consumers.tastes
    assert (tastes.display == 0.4).all() and (tastes.feature == 0.3).all()
    assert (tastes.gain == 1.1).all() and (tastes.loss == 0.5).all() and (tastes.lambda_ == 0.6).all()
    assert (tastes.pantry == 0.3).all()
    assert market.dynamics == Dynamics(0.7, 0.1, 0.2, 0.5, 0.6)
    assert market.memories == ("long_share", "reference")  # a pantry is nothing that a seller can see


def test_what_is_not_there_does_nothing():
    bare = changed("soft-drinks", forces={}).market()
    tastes = bare.consumers.tastes
    assert not tastes.display.any() and not tastes.feature.any() and not tastes.compares_prices
    assert not tastes.pantry.any()
    assert bare.dynamics == Dynamics()
    read = changed("soft-drinks", forces={"promotion": {}}).build_consumers().tastes  # as the taste model reads it
    assert (read.display > 0).all()
    np.testing.assert_array_equal(read.lambda_, tastes.lambda_)


def test_demand_meets_the_observed_shares_with_forces_too():
    scenario = changed("soft-drinks", forces=EVERY)
    market = scenario.market(demand="expected")
    market.state.log_reference[:] = np.log(scenario.average_price() / market.catalog.regular_price)
    everything = np.ones((1, market.num_products), dtype=bool)  # more than the shelves hold, as in the data
    outcome = market.advance(scenario.average_price()[None], everything)
    shares = np.array([product.reference_share for product in scenario.products])
    np.testing.assert_allclose(outcome.share[0], shares / shares.sum(), atol=1e-6)


def test_pantries_keep_demand_at_average_prices_and_damp_lasting_cuts():
    pantry = {"pantry": {"theta": 0.3, "keep": 0.6}}
    bare, scenario = changed("soft-drinks", forces={}), changed("soft-drinks", forces=pantry)
    everything = np.ones((1, len(scenario.products)), dtype=bool)
    first = []
    for one in (bare, scenario):
        market = one.market(demand="expected")
        market.advance(one.average_price()[None], everything)
        first.append(market.advance(one.average_price()[None], everything).demand)
    np.testing.assert_allclose(first[0], first[1], rtol=0.02)  # usual prices keep usual stocks; loyalty still moves
    assert abs(market.state.pantry).max() < 0.2
    own = {hold: np.diag(price_response(scenario, hold).matrix) for hold in ("state", "steady")}
    plain = {hold: np.diag(price_response(bare, hold).matrix) for hold in ("state", "steady")}
    np.testing.assert_allclose(own["state"], plain["state"], rtol=1e-9)
    assert (own["steady"] > plain["steady"]).all() and (own["steady"] < 0).all()


def test_show_tells_of_the_pantry(tmp_path):
    path = str(save_scenario(changed("soft-drinks", forces={"pantry": EVERY["pantry"]}), tmp_path / "pantry.yaml"))
    shown = CliRunner().invoke(scenario_app, ["show", path], env={"COLUMNS": "200"})
    assert "pantry: theta 0.3, keep 0.6" in shown.output
    asked = ["show", path, "--elasticities", "--hold", "steady"]
    assert "loyalty, pantry and mean field settled" in CliRunner().invoke(
        scenario_app, asked, env={"COLUMNS": "200"}
    ).output  # fmt: skip


def test_a_pantry_is_part_of_the_digest_and_its_absence_is_not(monkeypatch):
    bare, kept = changed("soft-drinks", forces={}), changed("soft-drinks", forces={"pantry": EVERY["pantry"]})
    assert kept.digest() != bare.digest()
    assert kept.digest() != changed("soft-drinks", forces={"pantry": {"theta": 0.3, "keep": 0.7}}).digest()
    result = []
    monkeypatch.setattr(hashlib, "sha256", lambda text: result.append(text.decode()) or sha256(text))
    for name in list_scenarios():
        load_scenario(name).digest()
    assert len(result) == len(list_scenarios()) and not any("pantry" in text for text in result)


def test_consumers_that_are_asked_cannot_have_a_pantry():
    forced = changed("soft-drinks", forces={"pantry": EVERY["pantry"]})
    prompted = with_prompted(forced)
    assert prompted.forces.pantry is None
    with pytest.raises(ValueError, match=r"forces\.pantry: got 'set'; allowed: nothing with kind: prompted"):
        Scenario.model_validate(prompted.model_dump() | {"forces": {"pantry": EVERY["pantry"]}})


def test_forces_survive_a_file(tmp_path):
    scenario = changed("soft-drinks", forces=EVERY)
    again = load_scenario(save_scenario(scenario, tmp_path / "forces.yaml"))
    assert again.forces == scenario.forces and again.digest() == scenario.digest()


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("bertrand-duopoly", {"forces": {"reference_price": {"gain": 1.0, "loss": 0.5}}}, "forces.reference_price"),
        ("bertrand-duopoly", {"forces": {"inertia": {"fade": 0.1}}}, "forces.inertia: got 'set'.*nobody is loyal"),
        ("bertrand-duopoly", {"forces": {"promotion": {"display": 0.3}}}, "forces.promotion.feature: got None"),
        (
            "soft-drinks",
            {"forces": EVERY, "reference_price": {"strength": 0.5}},
            "nothing beside forces.reference_price, which says the same",
        ),
        ("soft-drinks", {"forces": {"inertia": {"fade": 1.0}}}, "forces.inertia.fade"),
        ("soft-drinks", {"forces": {"seasons": {"sd": float("nan")}}}, "forces.seasons.sd"),
        ("soft-drinks", {"forces": {"reference_price": {"gain": -1.0, "loss": 0.5}}}, "forces.reference_price.gain"),
        ("soft-drinks", {"forces": {"pantry": {}}}, r"forces\.pantry\.theta"),
        ("soft-drinks", {"forces": {"pantry": {"theta": 0.3}}}, r"forces\.pantry\.keep"),
        ("soft-drinks", {"forces": {"pantry": {"theta": -0.3, "keep": 0.5}}}, r"forces\.pantry\.theta"),
        ("soft-drinks", {"forces": {"pantry": {"theta": float("nan"), "keep": 0.5}}}, r"forces\.pantry\.theta"),
        ("soft-drinks", {"forces": {"pantry": {"theta": 0.3, "keep": 1.0}}}, r"forces\.pantry\.keep"),
        ("soft-drinks", {"forces": {"pantry": {"theta": 0.3, "keep": 0.5, "size": 2}}}, r"forces\.pantry\.size"),
    ],
)
def test_forces_that_cannot_be_are_named(name, fields, message):
    with pytest.raises((InvalidInput, ValueError), match=message):
        changed(name, **fields)


def test_a_file_of_the_older_form_loads_and_says_once_what_changed(tmp_path, caplog):
    path = save_scenario(load_scenario("soft-drinks"), tmp_path / "older.yaml")
    text = path.read_text().replace("format: 2\n", "")
    with caplog.at_level(logging.WARNING):
        older, again = parse_scenario(text, "older.yaml"), parse_scenario(text, "older.yaml")
    assert older.format == 1 and older == again
    assert caplog.text.count("older.yaml: format 1; the mean field is now centred at long-run shares") == 1
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        load_scenario(path)
        parse_scenario(save_scenario(load_scenario("bertrand-duopoly"), tmp_path / "b.yaml").read_text(), "b.yaml")
    assert "format" not in caplog.text


def test_centres_default_by_who_reads_the_tastes():
    assert load_scenario("soft-drinks").mean_field_settings().centre == "long_run"
    assert load_scenario("bertrand-duopoly").mean_field_settings().centre == "uniform"
    fixed = changed("soft-drinks", mean_field={"centre": "uniform"})
    assert fixed.market().mean_field.centre == "uniform"
