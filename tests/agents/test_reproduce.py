"""`malles reproduce`: every experiment runs small, its figures are near the published ones, its files are whole."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from malles_agents.reproduce.base import Options
from malles_agents.reproduce.mean_field import count_equilibria, onset
from malles_agents.reproduce.registry import EXPERIMENTS, run_experiment
from malles_env.cli import app
from malles_env.errors import InvalidInput

run = CliRunner().invoke


def test_names_are_listed():
    printed = run(app, ["reproduce"]).output
    assert all(name in printed for name in EXPERIMENTS)


def test_calvano_writes_table_picture_and_figures(tmp_path):
    file = tmp_path / "calvano.json"
    answer = run(app, ["reproduce", "calvano", "--sessions", "4", "--json", str(file), "--out", str(tmp_path)])
    assert answer.exit_code == 0, answer.output
    assert "1.47293" in answer.output and "1.92498" in answer.output
    found = json.loads(file.read_text())
    assert 0.6 < found["profit_gain"]["mean"] < 1.0
    assert found["profit_gain"]["se"] > 0
    assert found["periods_per_cpu_s"] > 1e5
    assert (tmp_path / "calvano.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "name", ["calvano-impulse", "calvano-equilibrium", "calvano-asymmetry", "calvano-patience", "asker"]
)
def test_small_runs_draw_and_report(name, tmp_path):
    found = run_experiment(name, Options(sessions=2, seed=1))
    assert all(np.isfinite(line.measured) for line in found.rows)
    assert found.draw(tmp_path / "a.png").stat().st_size > 5_000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["calvano-grid", "calvano-sellers"])
def test_large_grids_run(name, tmp_path):
    found = run_experiment(name, Options(sessions=2, seed=1))
    assert found.draw(tmp_path / "a.png").stat().st_size > 5_000


def test_sequential_pricing_is_above_static_bertrand(tmp_path):
    """Sixteen sessions have a standard error of 0.0027."""
    found = run_experiment("klein", Options(sessions=16, seed=2))
    first = found.rows[0]
    assert first.quantity == "mean profit, 7 prices"
    assert 0.100 < first.measured < 0.118
    static = {row.quantity: row.measured for row in found.rows}["static Bertrand: one step above cost, 7 prices"]
    assert static == pytest.approx(0.5 * (1 / 6) * (5 / 6))
    assert found.draw(tmp_path / "a.png").stat().st_size > 5_000


def test_synchronous_learning_competes_and_asynchronous_does_not():
    """Eight sessions: standard errors of 0.58 and 0.20 around 7.6 and 9.2; synchronous sessions are all alike."""
    price = run_experiment("asker", Options(sessions=8)).data["price"]
    assert price["synchronous, discount factor 0"]["mean"] == pytest.approx(2.1)
    assert price["synchronous, discount factor 0.95"]["mean"] == pytest.approx(2.1)
    assert price["asynchronous, discount factor 0"]["mean"] > 5
    assert price["asynchronous, discount factor 0.95"]["mean"] > price["asynchronous, discount factor 0"]["mean"]


@pytest.mark.parametrize(
    ("options", "rho", "count"), [(2, 1.98, 1), (2, 2.05, 3), (3, 2.9, 7), (4, 4.1, 15), (5, 4.5, 11), (5, 5.1, 31)]
)
def test_equilibria_of_equal_options(options, rho, count):
    assert count_equilibria(options, rho) == count


def test_onset_of_a_second_equilibrium():
    """Bisection to a width of 0.012 is off by 0.006 at most."""
    assert onset(2, 0.012) == pytest.approx(2.0, abs=0.01)
    assert onset(3, 0.012) == pytest.approx(2.745644, abs=0.01)


def test_unknown_names_and_numbers_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match="experiment"):
        run_experiment("calvino")
    with pytest.raises(InvalidInput, match="sessions"):
        run_experiment("calvano", Options(sessions=0))
    answer = run(
        app, ["reproduce", "calvano", "--sessions", "1", "--json", str(tmp_path / "no" / "x"), "--workers", "0"]
    )
    assert answer.exit_code == 2
    assert "threads" in answer.output


def test_cereal_prices_equal_pyblps(tmp_path):
    found = run_experiment("cereal")
    for line in found.rows:
        assert line.measured == pytest.approx(line.published, rel=5e-4, abs=1e-9 if line.published == 0 else 0)
    assert found.draw(tmp_path / "a.png").stat().st_size > 5_000


def test_the_exact_stock_policy_earns_its_value(tmp_path):
    found = run_experiment("stock", Options(sessions=400, seed=4))
    first, fixed, *rest = found.rows
    assert abs(first.measured - first.published) < 4 * first.se
    assert first.measured > fixed.measured
    for line in rest:
        assert line.measured == pytest.approx(line.published, abs=6e-3)
    assert found.draw(tmp_path / "a.png").stat().st_size > 5_000


def test_reference_prices_settle_where_the_closed_form_says(tmp_path):
    found = run_experiment("reference-price")
    for line in found.rows:
        assert line.measured == pytest.approx(line.published, abs=1e-3)
    assert found.draw(tmp_path / "a.png").stat().st_size > 5_000


def test_a_smaller_constant_learns_an_assortment_faster(tmp_path):
    found = run_experiment("mnl-bandit", Options(sessions=4, seed=1))
    end = {name: cell["end"]["mean"] for name, cell in found.data["regret"].items()}
    for gap in ("0.05", "0.1", "0.25"):
        careful, quick, blind = (end[f"{gap}, {name}"] for name in (
            "UCB, the paper's constant 48", "UCB, constant 1", "random assortment"))  # fmt: skip
        assert quick < 0.2 * careful
        assert careful < blind
    assert 50 < end["0.1, UCB, constant 1"] < 160
    assert found.draw(tmp_path / "a.png").stat().st_size > 5_000
