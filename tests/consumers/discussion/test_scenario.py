"""Consumers who talk in scenario files, in `malles discuss` and in `malles distil`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from malles_env import load_scenario
from malles_env.cli import app
from malles_env.consumers.discussion import DiscussionConsumers, read_transcript
from malles_env.consumers.distil.asking import identity_of
from malles_env.errors import CorruptFile, InvalidInput, MissingResource
from malles_env.scenarios import Scenario, parse_scenario, save_scenario
from malles_env.scenarios.consumer_kinds.discussion import discussion_consumers, discussion_from_entry, with_discussion
from malles_env.scenarios.consumer_kinds.prompted import with_prompted
from tests.consumers.discussion.models import first_offer, saved, short_cast, tiny


@pytest.fixture(scope="module")
def small() -> Scenario:
    """Three products and two dealers of the wholesale scenario."""
    fields = load_scenario("wholesale").model_dump()
    products = fields["products"][:3]
    owners = {product["seller"] for product in products}
    sellers = [seller for seller in fields["sellers"] if seller["name"] in owners]
    segments = [{**segment, "loyalty": {}, "bought": {}} for segment in fields["segments"][:2]]
    tastes = {**fields["consumers"], "tastes": {"alpha": 0.0, "beta": 1.0}}
    parts = {"products": products, "sellers": sellers, "segments": segments, "consumers": tastes}
    return Scenario.model_validate({**fields, **parts, "initial_mean_field": None})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model on disk, and beside it a cast that says little."""
    place = saved(tmp_path_factory.mktemp("model"))
    (place / "short.yaml").write_text(yaml.safe_dump(short_cast().model_dump(mode="json")))
    return place


def talked(small: Scenario, folder: Path, **fields: object) -> Scenario:
    return with_discussion(small, model=str(folder), cast=str(folder / "short.yaml"), **fields)


def run(*words: object) -> str:
    answer = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert answer.exit_code == 0, answer.output
    return answer.output


def test_a_scenario_file_names_model_and_cast(small, folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MALLES_ALLOW_WRITE", "1")
    talk = tmp_path / "talk.jsonl"
    named = talked(small, folder, rounds=1, orders=2, seed=3, transcript=str(talk))
    again = load_scenario(save_scenario(named, tmp_path / "shop.yaml"))
    assert again == named
    market = again.market(demand="expected")
    outcome = market.step(again.catalog().regular_price[None], np.ones(3, dtype=bool))
    assert np.isfinite(outcome.seller_profit).all() and outcome.units.sum() > 0
    assert [len(line["turns"]) for line in read_transcript(talk)] == [3] * 4  # 3 roles; 2 segments, 2 orders
    offer = first_offer(again)
    built = again.build_consumers()
    assert isinstance(built, DiscussionConsumers)
    direct = discussion_consumers(again, tiny(), cast=short_cast(), rounds=1, orders=2, seed=3).respond(offer)
    np.testing.assert_allclose(built.respond(offer).probability, direct.probability, atol=1e-5)
    known = again.build_consumers()
    known.respond(offer)
    assert known.model.usage.requests == 0 < known.model.usage.cached, "answers are kept on disk"


def test_a_file_to_write_is_named_by_the_user(small, folder, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("MALLES_ALLOW_WRITE", raising=False)
    talk, other = tmp_path / "talk.jsonl", tmp_path / "other.jsonl"
    named = talked(small, folder, rounds=0, transcript=str(talk))
    file = save_scenario(named, tmp_path / "shop.yaml")
    for again in (load_scenario(file), with_discussion(load_scenario(file), rounds=1)):
        with pytest.raises(InvalidInput, match=r"consumers\.transcript.*talk\.jsonl.*MALLES_ALLOW_WRITE=1"):
            again.build_consumers()
    assert CliRunner().invoke(app, ["discuss", str(file)]).exit_code == 2
    assert not talk.exists()
    run("discuss", file, "--out", other)
    assert len(list(read_transcript(other))) == 1 and not talk.exists()
    assert named.build_consumers().transcript == talk, "named in code"
    assert named.with_policy(sales_tax=0.1).build_consumers().transcript == talk
    talk.write_text("my notes")
    with pytest.raises(CorruptFile, match=r"talk\.jsonl"):
        named.build_consumers()
    assert talk.read_text() == "my notes"


def test_a_server_is_named_by_its_address(small) -> None:
    from malles_env.consumers.language import CachedModel, ServedModel

    served = with_discussion(small, model="talker", server="http://127.0.0.1:9/v1")
    consumers = discussion_from_entry(served)
    assert isinstance(consumers.model, CachedModel) and isinstance(consumers.model.model, ServedModel)
    assert consumers.cast.name == "wholesale" and consumers.sheets[0].sections, "cast and sheets of the scenario's name"
    plain = with_discussion(served, cache=False, rounds=None)
    assert plain.consumers.model == "talker" and isinstance(discussion_from_entry(plain).model, ServedModel)
    assert served.with_model("other").consumers.model == "other"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{kind: discussion, rounds: 21}", r"consumers.rounds: got 21; allowed: at most 20"),
        ("{kind: discussion, rounds: 1.5}", r"consumers.rounds: got 1.5; allowed: a whole number"),
        ("{kind: discussion, orders: 3}", r"consumers.orders: got 3; allowed: 1 to 2, the number of products"),
        ("{kind: discussion, temperature: -1.0}", r"consumers.temperature: got -1.0; allowed: at least 0"),
        ("{kind: discussion, cast: opera}", r"consumers.cast: got 'opera'; allowed: retail, wholesale, or the path"),
        ("{kind: discussion, sheets: leaflets}", r"consumers.sheets: got 'leaflets'; allowed: the path of a .yaml"),
        ("{kind: discussion, round: 2}", r"consumers.round: .*did you mean rounds\?.*allowed: kind, model, server"),
        ("{kind: discussion}\nmean_field: {coupling: equilibrium}", r"mean_field.coupling.*kind is discussion"),
    ],
)
def test_entries_that_do_not_fit_are_refused(entry, message) -> None:
    content = load_scenario("bertrand-duopoly").model_dump(mode="json", exclude_defaults=True)
    del content["consumers"]
    content.pop("mean_field", None)
    with pytest.raises(InvalidInput, match=message):
        parse_scenario(f"{yaml.safe_dump(content)}consumers: {entry}\n")


def test_missing_files_are_named(small, folder, tmp_path) -> None:
    for field in ("cast", "sheets"):
        named = with_discussion(small, model=str(folder), **{field: str(tmp_path / "none.yaml")})
        with pytest.raises(MissingResource, match=r"none\.yaml"):
            named.build_consumers()
    with pytest.raises(MissingResource, match="nobody"):
        with_discussion(small, model=str(tmp_path / "nobody")).build_consumers()


def test_consumers_of_another_cast_or_model_are_distinguished(small) -> None:
    content = [
        discussion_consumers(small, tiny(), cast=short_cast()),
        discussion_consumers(small, tiny()),
        discussion_consumers(small, tiny(), cast=short_cast(), rounds=2),
        discussion_consumers(small, tiny(), cast=short_cast("retail")),
    ]
    assert len({identity_of(each) for each in content}) == len(content)
    again = discussion_consumers(small, tiny(), cast=short_cast(), transcript=Path("kept.jsonl"))
    assert identity_of(again) == identity_of(content[0])


def test_a_scenario_of_talkers_is_shown_and_talked_over_as_its_file_says(small, folder, tmp_path) -> None:
    file = save_scenario(talked(small, folder, rounds=1, orders=2), tmp_path / "shop.yaml")
    assert "roles that talk for 1 rounds" in run("scenario", "show", file)
    content = run("discuss", file)
    assert "round 1: notes" in content and "round 2" not in content
    assert "round 2: proposals" in run("discuss", file, "--rounds", 2)


def test_talkers_are_distilled(small, folder, tmp_path) -> None:
    file = save_scenario(talked(small, folder, rounds=1), tmp_path / "shop.yaml")
    out, numbers = tmp_path / "fast.yaml", tmp_path / "fast.json"
    few = ("--questions", 4, "--fresh", 2, "--batch", 4, "--price-transform", "log")
    command = ("distil", file, "--consumers", "discussion", "--rounds", 0, *few, "--out", out, "--json", numbers)
    assert "in discussion" in " ".join(run(*command).split())  # wherever a long path breaks the line
    fast = load_scenario(out)
    assert fast.consumers.kind == "logit"
    assert (fast.build_consumers().respond(first_offer(fast)).probability > 0).all()
    found = json.loads(numbers.read_text())
    assert found["asked"]["usage"]["requests"] > 0
    lines = out.with_suffix(".answers.jsonl").read_text().count("\n")
    run(*command)
    assert out.with_suffix(".answers.jsonl").read_text().count("\n") == lines, "kept answers are not asked again"


def test_settings_of_another_kind_are_refused(small, folder, tmp_path) -> None:
    file = save_scenario(with_prompted(small, model=str(folder)), tmp_path / "shop.yaml")
    for kind, option in (("prompted", "--rounds=2"), ("discussion", "--no-units"), ("opera", "--seed=1")):
        answer = CliRunner().invoke(app, ["distil", str(file), "--consumers", kind, option, "--out", "x.yaml"])
        assert answer.exit_code != 0
