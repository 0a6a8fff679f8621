"""The guide's example of stock that is ordered: its scenario is read, its code runs and prints what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from malles_env.scenarios import load_scenario
from malles_env.scenarios.loader import parse_scenario
from tests.test_docs import ROOT

PAGE = (ROOT / "docs" / "guide" / "replenishment.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """Return the one block of the page in that language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def test_the_scenario_says_what_its_comments_say() -> None:
    scenario = parse_scenario(block("yaml"))
    catalog = scenario.catalog()
    assert catalog.replenishment is not None
    (supply,) = catalog.replenishment.supplies
    assert (supply.storage, supply.largest, supply.lead_time, supply.initial) == (300.0, 200.0, 1, 160.0)
    assert catalog.unit_cost.tolist() == [0.9]
    assert scenario.without_replenishment().catalog().unit_cost.tolist() == [0.9]
    assert scenario.with_cost_share(0.25).catalog().unit_cost.tolist() == [0.5]


def test_the_example_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "newsstand.yaml").write_text(block("yaml"))
    monkeypatch.chdir(tmp_path)
    exec(compile(block("python"), "replenishment.md", "exec"), {})
    assert capsys.readouterr().out == block("text")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"storage": 0.0}, "replenishment.storage: got 0.0; allowed: at least 1e-09"),
        ({"max_order": 401.0}, "replenishment.max_order: got 401.0; allowed: at most storage = 300"),
        ({"max_order": 1.5}, "replenishment.max_order: got 1.5; allowed: a whole number, as whole_units is true"),
        ({"lead_time": -1}, "replenishment.lead_time: got -1; allowed: at least 0"),
        ({"lead_time": 1.5}, "replenishment.lead_time: got 1.5; allowed: a whole number"),
        ({"initial": 301.0}, "replenishment.initial: got 301.0; allowed: at most storage = 300"),
        ({"fixed_cost": -1.0}, "replenishment.fixed_cost: got -1.0; allowed: at least 0"),
        ({"products": {"book": {}}}, "replenishment.products: got 'book'; allowed: one of the products paper"),
        (
            {"products": {"paper": {"storage": 9.0, "max_order": 10.0, "initial": 0.0}}},
            "replenishment.products.paper.max_order: got 10.0; allowed: at most storage = 9",
        ),
        ({"store": 1.0}, r"replenishment.store: there is no such field \(did you mean storage"),
    ],
)
def test_bad_blocks_are_named(change: dict[str, object], message: str) -> None:
    import yaml

    fields = yaml.safe_load(block("yaml"))
    fields["replenishment"] |= change
    with pytest.raises(ValueError, match=message):
        parse_scenario(yaml.safe_dump(fields))


def test_stock_is_said_once_and_the_block_is_part_of_the_hash() -> None:
    import yaml

    fields = yaml.safe_load(block("yaml"))
    fields["products"][0]["stock"] = 9.0
    with pytest.raises(ValueError, match=r"products\[0\].stock: got 9.0; allowed: nothing beside replenishment"):
        parse_scenario(yaml.safe_dump(fields))
    scenario = parse_scenario(block("yaml"))
    assert scenario.digest() != scenario.without_replenishment().digest()
    assert load_scenario("soft-drinks").replenishment is None
