import inspect
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from malles_env.cli.scenario import _CHOICES, _command, build_command, scenario_app
from malles_env.errors import InvalidInput
from malles_env.scenarios import list_scenarios, load_scenario, save_scenario
from malles_env.scenarios.from_log.choices import BuildChoices
from tests.scenarios.texts import ALIGNED

MARKET = "ICE CREAM/MILK/SHERBTS | PREMIUM"


def words(*arguments: str) -> str:
    result = CliRunner().invoke(scenario_app, list(arguments), env={"COLUMNS": "200"}, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_list_names_every_bundled_scenario():
    output = words("list")
    assert all(name in output for name in list_scenarios())
    assert "aligned (embedded)" in output


@pytest.mark.parametrize("name", list_scenarios())
def test_show_tells_sellers_products_segments_and_settings(name):
    scenario, output = load_scenario(name), words("show", name)
    for part in (*scenario.sellers, *scenario.segments):
        assert part.name in output
    for product in scenario.products:
        (row,) = [line for line in output.splitlines() if f" {product.product_id} " in line][:1]
        cost = product.unit_cost
        assert (f"{cost:.2f}" if cost >= 0.5 or cost == 0 else f"{cost:.4g}") in row
        low, high = (
            f"{price:.2f}" if price >= 0.5 else f"{price:.4g}" for price in (product.price_low, product.price_high)
        )
        assert f"{low}-{high}" in row
    assert f"profit / {scenario.reward_scale:g} {scenario.currency}" in output
    assert "Sources" in output
    assert "Licence" in output


def test_show_takes_a_path(tmp_path):
    (tmp_path / "mine.yaml").write_text(ALIGNED)
    output = words("show", str(tmp_path / "mine.yaml"))
    assert "purchase rate of 10.0%" in output
    assert "read by embedded from purchase histories in SAUCES | CATSUP" in output


def test_show_elasticities_of_the_duopoly(tmp_path):
    """-beta p (1 - P) and beta p P at the regular price 2, where each product has a third of the consumers."""
    output = words("show", "bertrand-duopoly", "--elasticities", "--json", str(tmp_path / "found.json"))
    assert "-5.33" in output and "2.67" in output and "Diversion" in output
    found = json.loads((tmp_path / "found.json").read_text())
    np.testing.assert_allclose(found["elasticity"], [[-16 / 3, 8 / 3], [8 / 3, -16 / 3]])
    np.testing.assert_allclose(found["diversion"], [[0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
    assert found["diversion_to"] == ["nothing", *found["products"]]


def test_show_elasticities_fits_the_terminal_and_draws(tmp_path):
    result = CliRunner().invoke(
        scenario_app, ["show", "wholesale", "--elasticities", "--hold", "steady", "--plot", str(tmp_path / "map.png")],
        env={"COLUMNS": "60"}, catch_exceptions=False,
    )  # fmt: skip
    rows = result.output.splitlines()
    assert max(len(row) for row in rows if not row.startswith("plot:")) <= 60
    ids = load_scenario("wholesale").product_ids
    assert all(any(row.lstrip().startswith(name) for row in rows) for name in ids)
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--json", "x.json"], "--json: got 'x.json'; allowed: nothing without --elasticities"),
        (["--elasticities", "--plot", "x.pdf"], "--plot: got 'x.pdf'; allowed: a path that ends in .png"),
        (["--elasticities", "--hold", "now"], "--hold: got 'now'; allowed: state or steady"),
        (["--elasticities", "--json", "."], "--json: got '.'; allowed: a file, not a folder"),
    ],
)
def test_show_names_mistakes(options, message):
    with pytest.raises(InvalidInput) as error:
        words("show", "bertrand-duopoly", *options)
    assert str(error.value) == message


def test_build_refuses_to_replace_a_file(tmp_path):
    path = save_scenario(load_scenario("ice-cream"), tmp_path / "ice-cream.yaml")
    before = path.read_text()
    with pytest.raises(InvalidInput, match="exists already; give --overwrite"):
        words("build", MARKET, "--out", str(path))
    with pytest.raises(InvalidInput, match=r"--out: got .*; allowed: a path that ends in"):
        words("build", MARKET, "--out", str(tmp_path / "ice-cream.txt"))
    assert path.read_text() == before


def test_the_options_default_to_the_choices_defaults():
    usual = BuildChoices("", "")
    options = inspect.signature(build_command).parameters
    values = {field: options[field].default for field in _CHOICES if field != "title"}
    assert values == {field: getattr(usual, field) for field in values}
    command = _command("A | B", "ice.yaml", values | {"title": "Ice", "seed": 4}, ["so it is"])
    assert command == "malles scenario build 'A | B' --out ice.yaml --title Ice --seed 4 --note 'so it is'"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ice-cream", "soft-drinks"])
def test_bundled_real_scenarios_can_be_built_again(tmp_path, name):
    import shlex

    from malles_env.data.sources.complete_journey import complete_journey_folder
    from malles_env.errors import MissingResource

    try:
        complete_journey_folder()
    except MissingResource as error:
        pytest.skip(str(error))
    bundled = load_scenario(name)
    arguments = shlex.split(bundled.made_by)[2:]
    arguments[arguments.index("--out") + 1] = str(tmp_path / f"{name}.yaml")
    words(*arguments)
    assert load_scenario(tmp_path / f"{name}.yaml") == bundled
