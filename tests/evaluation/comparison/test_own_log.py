"""The comparison on logs of one's own: newcomers in the test weeks, small logs, and a run that was stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from malles_env.data.building.build import build_occasions
from malles_env.data.log.tables import Tables
from malles_env.data.occasions import Occasions
from malles_env.data.sources.synthetic import synthetic_transactions
from malles_env.evaluation.baselines.base import Row, TooSmallLog
from malles_env.evaluation.baselines.logit import FEWEST, ConditionalLogit
from malles_env.evaluation.baselines.set_network import BATCH, CHECKS, LEAST_STEPS, SetNetwork, epochs_of_check
from malles_env.evaluation.baselines.table import purchases
from malles_env.evaluation.comparison.answers import kept_answers
from malles_env.evaluation.comparison.registry import NUMBER_ROWS, Factory
from malles_env.evaluation.comparison.results_json import as_json
from malles_env.evaluation.comparison.runner import compare
from malles_env.evaluation.comparison.study import Study
from malles_env.evaluation.metrics import Values, fidelity, paired, paired_values
from malles_env.files import cache_dir
from tests.evaluation.synthetic_study import SETTINGS, occasions

TEST = 41
"""First week of the test."""


@cache
def with_newcomers() -> Occasions:
    """Return occasions whose last households and one product are first seen in the test weeks."""
    tables: Tables = synthetic_transactions(seed=3, num_households=120)[0]
    rows = tables.transactions
    week = (rows["timestamp"].dt.date() - rows["timestamp"].dt.date().min()).dt.total_days() // 7 + 1
    late = (week >= TEST) & (rows["household_id"].hash(0) % 2 == 0)
    who = pl.when(late).then("zz" + pl.col("household_id")).otherwise("household_id")
    market = tables.products.filter(pl.col("market") != "SNACKS")
    new = market.sort("product_id")["product_id"][-1]
    known = rows.with_columns(who.alias("household_id")).filter((week >= TEST) | (pl.col("product_id") != new))
    return build_occasions(replace(tables, transactions=known), SETTINGS)


def test_newcomers_are_there() -> None:
    made = with_newcomers()
    first = made.occasions.group_by("household_id").agg(pl.col("split").eq("test").all())
    new = first.filter("split")["household_id"]
    assert len(new) > 10
    assert new.max() == made.occasions["household_id"].max(), "codes beyond those of training"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in ("mixed_logit", "lightgbm", "set_network") else name
        for name in NUMBER_ROWS
    ],
)
def test_every_row_answers_about_newcomers(name: str) -> None:
    """Finite scores, and a household the network never saw is an average one, whatever its code."""
    study = Study(with_newcomers())
    train, validation = study.training("time")
    judged = study.judging("time", limit=300)
    row = NUMBER_ROWS[name].fit(train, validation)
    metrics = fidelity(row.predict(judged.data), judged.data, judged.buyer)
    assert np.isfinite(metrics["quantity_error"].mean)
    if row.chooses:
        assert np.isfinite(metrics["nll"].mean) and np.isfinite(metrics["nll_all"].mean)
    if isinstance(row, SetNetwork):
        beyond = judged.data.household > train.household.max()
        assert beyond.any()
        further = replace(judged.data, household=judged.data.household + np.where(beyond, 1000, 0))
        np.testing.assert_array_equal(row.predict(further).utilities, row.predict(judged.data).utilities)


@pytest.mark.slow
def test_the_network_trains_long_enough_on_a_small_log() -> None:
    """Where every purchase is one unit, it predicts one unit; large logs stay as before."""
    train, validation = Study(occasions()).training("time")
    few = purchases(train, 900, seed=1)
    one = replace(few, quantity=np.ones_like(few.quantity))
    checked = replace(validation, quantity=np.where(validation.chosen > 0, 1, validation.quantity))
    said = SetNetwork.fit(one, checked).predict(purchases(checked)).quantity
    assert said is not None
    assert np.exp(said[:, 0]).mean() > 0.95
    assert epochs_of_check(BATCH * LEAST_STEPS // CHECKS) == 1
    assert CHECKS * epochs_of_check(2000) * -(-2000 // BATCH) >= LEAST_STEPS


@pytest.mark.parametrize("name", ["conditional_logit", "mixed_logit", "lightgbm", "set_network"])
def test_a_log_that_is_too_small_is_named_in_one_line(name: str) -> None:
    train, validation = Study(occasions()).training("time")
    few = purchases(train, FEWEST - 1)
    with pytest.raises(
        TooSmallLog, match=rf"^the log is too small: {FEWEST - 1} training purchases, needed: \d+ or more$"
    ):
        NUMBER_ROWS[name].fit(few, validation)
    if name in ("lightgbm", "set_network"):
        with pytest.raises(TooSmallLog, match="19 validation purchases, needed: 20 or more"):
            NUMBER_ROWS[name].fit(train, purchases(validation, 19))


def test_rows_that_cannot_be_fitted_are_left_out_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path))
    whole = occasions()
    some = whole.occasions.filter((pl.col("split") == "test") | (pl.col("occasion_id") % 40 == 0))
    messages: list[str] = []
    names = ["popularity", "conditional_logit", "set_network"]
    found = compare(Study(replace(whole, occasions=some)), names, ["time"], limit=100, notify=messages.append)
    assert list(found.scores["time"]) == ["popularity"]
    assert set(found.left_out["time"]) == {"conditional_logit", "set_network"}
    assert any(words.startswith("time: set_network left out (the log is too small") for words in messages)
    assert as_json(found)["left_out"] == found.left_out


def test_a_stopped_comparison_goes_on_with_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers kept before a stop are not asked for again; all numbers are those of a run in one go."""
    names = ["uniform", "urn", "aligned", "always_one"]

    class Stopped(Exception):
        pass

    train, validation = Study(occasions()).training("time")
    model: Row = ConditionalLogit.fit(train, validation)
    asked: list[str] = []

    def factory(stops: bool) -> dict[str, Factory]:
        def made(split: str) -> Row:
            asked.append(split)
            if stops:
                raise Stopped
            return model

        return {"aligned": made}

    def judged(stops: bool, messages: list[str]) -> dict[str, Any]:
        study = Study(occasions())
        return as_json(
            compare(
                study,
                names,
                ["time"],
                language=factory(stops),
                limit=150,
                notify=messages.append,
                weights=lambda *_: "w",
            )
        )

    monkeypatch.setenv("MALLES_CACHE", str(tmp_path / "whole"))
    whole = judged(False, [])
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path / "stopped"))
    with pytest.raises(Stopped):
        judged(True, [])
    messages: list[str] = []
    rest = judged(False, messages)
    assert [words for words in messages if "kept" in words] == [
        f"time: {name} kept from an earlier run" for name in ("uniform", "urn")
    ]
    asked.clear()
    again = judged(False, [])
    assert not asked, "nothing is asked a third time"
    assert again == rest
    for content in (whole, rest):
        for row in content["time"].values():
            row.pop("seconds_per_1000")
    assert whole == rest
    for path in (cache_dir() / "answers").iterdir():
        path.write_bytes(path.read_bytes()[:-40])
        assert kept_answers(path, None) is None
    assert judged(False, [])["paired"] == rest["paired"], "damaged files are made anew"


def test_logs_of_one_name_and_size_are_distinguished() -> None:
    made = occasions()
    dearer = made.alternatives.with_columns(pl.col("price") * 1.1)
    assert Study(made).digest == Study(replace(made)).digest
    assert Study(made).digest != Study(replace(made, alternatives=dearer)).digest


def test_differences_from_kept_values_are_those_of_the_predictions() -> None:
    study = Study(occasions())
    data, buyer = (judged := study.judging("time", limit=200)).data, judged.buyer
    train, validation = study.training("time")
    first, second = (NUMBER_ROWS[name].fit(train, validation).predict(data) for name in ("urn", "popularity"))
    places = np.arange(0, len(data), 3)
    part = data.take(places)
    ours = Values.of(first, data).take(places, data.chosen > 0)
    theirs = Values.of(second.take(places), part)
    assert paired_values(ours, theirs, part, buyer[places]) == paired(
        first.take(places), second.take(places), part, buyer[places]
    )


def test_progress_is_plain_lines_when_piped(tmp_path: Path) -> None:
    """No control characters, one line per step on standard error."""
    folder = occasions().save(tmp_path / "occasions")
    command = [
        sys.executable,
        "-c",
        "from malles_env.cli import main; main()",
        "consumers",
        "evaluate",
        "--occasions",
        str(folder),
    ]
    environment = os.environ | {"MALLES_CACHE": str(tmp_path / "cache")}
    run = subprocess.run(
        [*command, "--rows", "uniform,popularity", "--splits", "time", "--limit", "100"],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    lines = run.stderr.splitlines()
    assert "\x1b" not in run.stderr + run.stdout
    assert any(line.endswith("time: fitting popularity") for line in lines)
    assert any(line.endswith("time: popularity done (2 of 2)") for line in lines)


def test_evaluate_shows_what_was_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from malles_env.cli.evaluation.evaluate import evaluate_command

    monkeypatch.setenv("MALLES_CACHE", str(tmp_path / "cache"))
    whole = occasions()
    some = whole.occasions.filter((pl.col("split") == "test") | (pl.col("occasion_id") % 40 == 0))
    folder = replace(whole, occasions=some).save(tmp_path / "occasions")
    app = typer.Typer()
    app.command()(evaluate_command)
    options = ["--occasions", str(folder), "--rows", "popularity,set_network", "--splits", "time", "--limit", "100"]
    shown = CliRunner().invoke(app, [*options, "--json", str(tmp_path / "o.json"), "--docs", str(tmp_path / "o.md")])
    assert shown.exit_code == 0, shown.output
    assert "left out: set_network (the log is too small" in shown.output
    assert "set_network" in json.loads((tmp_path / "o.json").read_text())["left_out"]["time"]
    assert "Left out: `set_network`" in (tmp_path / "o.md").read_text()
