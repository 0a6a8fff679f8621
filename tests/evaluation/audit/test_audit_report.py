"""What an audit prints and writes, and the audit of scenarios from the command line."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import typer
from typer.testing import CliRunner

from malles_env.cli.evaluation.audit import audit_command
from malles_env.errors import InvalidInput
from malles_env.evaluation.audit import audit
from malles_env.evaluation.audit.plots import draw
from malles_env.evaluation.audit.report import as_markdown, write_numbers, write_report
from malles_env.scenarios import load_scenario
from malles_env.workflows.audit import audit_subject, rereadable, reworded_products
from tests.evaluation.audit.flawed_consumers import JUDGED, SETTINGS, Skimmers, subject_of, tastes


@pytest.fixture(scope="module")
def lawful():
    return audit(subject_of(Skimmers(tastes(rho=0.0, lambda_=0.0))), SETTINGS)


def test_the_report_links_a_picture_per_test(lawful, tmp_path):
    few = replace(lawful, findings=lawful.findings[:2])
    path = write_report(few, tmp_path / "out", "Audit", "malles consumers audit x")
    text = path.read_text()
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "discount-monotonicity.png",
        "law-of-demand.png",
        "report.md",
    ]
    for picture in path.parent.glob("*.png"):
        assert f"]({picture.name})" in text
        assert picture.read_bytes().startswith(b"\x89PNG")
    assert "`malles consumers audit x`" in text
    assert as_markdown(few, "Audit", pictures=False).count("![") == 0


def test_a_report_leaves_other_files_alone(lawful, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    write_report(replace(lawful, findings=()), tmp_path, "Audit")
    assert (tmp_path / "mine.txt").read_text() == "kept"


@pytest.mark.slow
def test_every_finding_that_applies_can_be_drawn(lawful, tmp_path):
    assert all(finding.chart is not None for finding in lawful.findings)
    for finding in lawful.findings:
        assert draw(finding, tmp_path / "one.png").stat().st_size > 5000


def test_json_holds_every_finding(lawful, tmp_path):
    content = json.loads(write_numbers(lawful, tmp_path / "a.json", {"scenario": "s"}).read_text())
    assert content["scenario"] == "s"
    assert set(content["findings"]) >= JUDGED
    assert content["findings"]["law of demand"]["verdict"] == "pass"
    assert content["offers_asked"] == lawful.asked


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


@pytest.mark.parametrize("option", ["--out", "--json"])
def test_the_command_says_before_asking_where_it_cannot_write(option, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="can be written"):
        words("bertrand-duopoly", option, str(tmp_path / "file" / "below"))
    with pytest.raises(InvalidInput, match="a folder, not a file" if option == "--out" else "a file, not a folder"):
        words("bertrand-duopoly", option, str(tmp_path / "file" if option == "--out" else tmp_path))


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
    versions = {reworded_products(products, seed) for seed in range(12)}
    assert len(versions) > 6
    for version in versions:
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
    # Readings know no order; of products bought equally often, a segment's made-up sequence names the first one first.
    assert report.finding("position bias").value < 0.01
    assert 0.0 < report.finding("paraphrase stability").value < 0.5
    assert report.finding("own-price elasticities").details["reference"] is not None
    with pytest.raises(InvalidInput, match="order"):
        consumers.reordered([0, 0, 1])
