"""The rows of the comparison: known truths recovered, files that survive, and one table at the end."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import pickle
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from malles_env.errors import CorruptFile, InvalidInput
from malles_env.evaluation.baselines.base import Row
from malles_env.evaluation.baselines.boosted import Boosted
from malles_env.evaluation.baselines.logit import ConditionalLogit
from malles_env.evaluation.baselines.mixed import MixedLogit
from malles_env.evaluation.baselines.set_network import SetNetwork
from malles_env.evaluation.baselines.shares import LastPurchase, Popularity, Uniform, Urn
from malles_env.evaluation.baselines.table import AT, COLUMNS, purchases, table
from malles_env.evaluation.baselines.units import Histogram, OrderedLogit
from malles_env.evaluation.comparison.registry import NUMBER_ROWS, ROW_NAMES, chosen_rows
from malles_env.evaluation.comparison.report import all_scores, markdown
from malles_env.evaluation.comparison.results_json import as_json
from malles_env.evaluation.comparison.runner import compare
from malles_env.evaluation.comparison.store import kept_row, load_row, row_path, save_row
from malles_env.evaluation.comparison.study import Study
from malles_env.evaluation.metrics import fidelity, paired
from malles_env.preference.data.dataset import TasteData, from_occasions
from malles_env.preference.data.features import LIVE_FEATURES, OPTION_FEATURES
from malles_env.preference.heads.quantities import QUANTITIES
from malles_env.preference.model import TasteModel
from malles_env.preference.store.card import put_scores
from tests.evaluation.synthetic_study import SETTINGS, occasions, taste_data
from tests.preference.conftest import tiny_model


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the set network train briefly; `test_own_log_rows` trains it as users do."""
    monkeypatch.setattr("malles_env.evaluation.baselines.set_network.LEAST_STEPS", 40)


@cache
def parts() -> tuple[TasteData, TasteData, TasteData]:
    """Return training, validation and test occasions of the synthetic log."""
    data, split = taste_data(), occasions().occasions["split"].to_numpy()
    train, validation, test = (data.take(split == name) for name in ("train", "validation", "test"))
    return train, validation, test


@cache
def fitted(name: str) -> Row:
    train, validation, _ = parts()
    return NUMBER_ROWS[name].fit(train, validation)


def test_the_table_is_the_padded_facts_without_the_padding() -> None:
    """Scores go out to padded shelves and the chosen rows are those of the chosen options."""
    data = _with_padding(taste_data().take(np.arange(200)))
    rows = table(data)
    assert rows.options.shape == (data.mask.sum(), len(OPTION_FEATURES) + len(LIVE_FEATURES))
    np.testing.assert_array_equal(np.isfinite(rows.wide(rows.options[:, 0])), data.mask)
    last = rows.options[rows.picked[rows.picked >= 0], AT["last"]]
    bought = np.flatnonzero(data.chosen > 0)
    np.testing.assert_array_equal(last.astype(bool), data.last[bought, data.chosen[bought] - 1])
    np.testing.assert_allclose(np.add.reduceat(rows.shares(rows.options[:, 0]), rows.starts), 1.0, rtol=1e-5)


def _with_padding(data: TasteData) -> TasteData:
    """Return occasions of which every second one lacks its last option."""
    mask = data.mask.copy()
    mask[::2, -1] = False
    return replace(data, mask=mask, chosen=np.where(data.chosen > mask.sum(1), 1, data.chosen))


def test_conditional_logit_recovers_the_truth() -> None:
    """One class of shoppers with beta 1.5, promotion worth 0.4 and loyalty 1.5: the fit finds all three."""
    from malles_env.data.building.build import build_occasions
    from malles_env.data.sources.synthetic import synthetic_transactions

    tables, truth = synthetic_transactions(seed=5, num_households=250, num_classes=1)
    data = from_occasions(build_occasions(tables, SETTINGS))
    row = ConditionalLogit.fit(data, data)
    named = dict(zip(COLUMNS, row.weights, strict=True))
    # Price and depth move together: what counts is the worth of a usual discount.
    worth = named["log price"] * np.log(1 - 0.25) + named["discount"] * 0.25
    assert worth == pytest.approx(truth.beta[0] * -np.log(1 - 0.25), abs=0.15)
    assert named["display"] == pytest.approx(truth.promotion, abs=0.15)
    said = row.predict(data)
    assert np.exp(said.log_probability()[:, 0]).mean() == pytest.approx((data.chosen == 0).mean(), abs=0.01)
    bought = purchases(data)
    mean = np.exp(row.predict(bought).quantity) @ np.arange(1, QUANTITIES + 1)  # type: ignore[operator, arg-type]
    assert mean.mean() == pytest.approx(bought.quantity.mean(), abs=0.03)


def test_mixed_logit_finds_tastes_that_differ() -> None:
    """Shoppers with price coefficients 0 and 6, at random each time, show as a spread of about 3 around about 3."""
    data = _drawn(np.random.default_rng(0))
    row = MixedLogit.fit(data, data)
    spread = dict(zip(("log price", "discount"), row.spreads, strict=False))
    plain = paired(row.predict(data), ConditionalLogit.fit(data, data).predict(data), data)["nll"]
    assert spread["log price"] + spread["discount"] > 1.0
    assert plain.mean < -2 * plain.se


def _drawn(rng: np.random.Generator) -> TasteData:
    """Return the synthetic purchases with wide prices and choices redrawn from two kinds of shoppers."""
    data = purchases(taste_data())
    ratio = np.exp(rng.uniform(-0.7, 0.0, data.mask.shape)).astype(np.float32)
    kind = rng.choice([0.0, 6.0], (len(data), 1))
    score = -kind * np.log(ratio) + rng.gumbel(size=ratio.shape)
    chosen = np.where(data.mask, score, -np.inf).argmax(1) + 1
    return replace(data, price=data.regular_price * ratio, chosen=chosen)


@pytest.mark.parametrize("name", [n for n in NUMBER_ROWS if n != "always_one"])
def test_every_row_gives_probabilities(name: str) -> None:
    """Shares and units sum to one, nothing sits in the padding, and the base rate of buying is about right."""
    test = _with_padding(parts()[2])
    said = fitted(name).predict(test)
    assert said.utilities.shape == (len(test), test.mask.shape[1] + 1)
    np.testing.assert_array_equal(np.isfinite(said.utilities[:, 1:]), test.mask)
    np.testing.assert_allclose(said.utilities[:, 0], test.log_sampling, rtol=1e-6)
    assert said.quantity is not None
    np.testing.assert_allclose(np.exp(said.quantity).sum(1), 1.0, atol=1e-5)
    assert np.exp(said.log_probability()[:, 0]).mean() == pytest.approx((test.chosen == 0).mean(), abs=0.1)


def test_rows_that_know_more_predict_better() -> None:
    """Popularity beats uniform, history beats popularity, price adds to both; no learner falls behind by much."""
    test = parts()[2]
    said = {name: fitted(name).predict(test) for name in NUMBER_ROWS if name != "always_one"}
    nll = {name: fidelity(made, test)["nll"].mean for name, made in said.items()}
    assert nll["popularity"] < nll["uniform"] - 0.05
    assert nll["urn"] < nll["popularity"]
    assert nll["conditional_logit"] < nll["urn"]
    for name in ("mixed_logit", "lightgbm", "set_network"):
        assert nll[name] < nll["conditional_logit"] + 0.03


def test_urn_and_last_purchase_by_hand() -> None:
    """Purchases a, a, b (newest first) and weights known: shares as the formulas say."""
    data = taste_data()
    at = int(np.flatnonzero((data.history_total >= 3) & data.mask.all(1))[0])
    one = data.take(np.array([at]))
    a, b = one.product[0, 2], one.product[0, 4]
    past = np.full_like(one.past, -1)
    past[0, :3] = (a, a, b)
    even = np.full(one.mask.shape, 1 / 6, dtype=np.float32)
    one = replace(one, past=past, past_known=np.arange(past.shape[1])[None] < 3, long_share=even, last=one.product == a)
    weights = np.array([0.0, np.log(2.0), -20.0])  # decay 1/2, two balls of popularity
    np.testing.assert_allclose(Urn.shares(one, weights)[0], [2 / 6, 2 / 6, 1.5 + 2 / 6, 2 / 6, 0.25 + 2 / 6, 2 / 6])
    mixed = LastPurchase.shares(one, np.array([0.0, -20.0]))[0]
    np.testing.assert_allclose(mixed, 0.5 / 6 + 0.5 * (np.arange(6) == 2))


def test_units_learn_the_number_they_are_given() -> None:
    """Households that always take three are predicted to take three, by histogram and by ordered logit."""
    data = purchases(parts()[0])
    units = np.where(data.household % 2 == 0, 3, 1)
    given = replace(data, quantity=units, past_quantity=np.where(data.past_known, units[:, None], 0).astype(np.float32))
    rows = table(given)
    some = np.flatnonzero(given.past_known.sum(1) >= 5)
    for made in (Histogram.fit("household", rows, units), OrderedLogit.fit(rows, units)):
        log_probability = made.of(rows)[rows.picked[some]]
        assert np.exp(log_probability[np.arange(len(some)), units[some] - 1]).mean() > 0.85
        np.testing.assert_allclose(np.exp(log_probability).sum(1), 1.0, atol=1e-6)


def test_cold_starts_leave_popularity_and_history_nothing_to_say() -> None:
    """Every row of shares is uniform on cold occasions."""
    train, validation, test = (part.cold() for part in parts())
    flat = Uniform.fit(train, validation).predict(test).inside()
    for kind in (Popularity, LastPurchase, Urn):
        np.testing.assert_allclose(kind.fit(train, validation).predict(test).inside(), flat, atol=1e-6)


def test_the_network_without_identities_ignores_who_and_what() -> None:
    """Other household codes change nothing without identities, and something with them."""
    train, validation, test = parts()
    other = replace(test, household=np.roll(test.household, 7))
    named = fitted("set_network")
    unnamed = SetNetwork.fit(train, validation, identities=False)
    np.testing.assert_array_equal(unnamed.predict(test).utilities, unnamed.predict(other).utilities)
    assert not np.array_equal(named.predict(test).utilities, named.predict(other).utilities)


def test_the_same_seed_fits_the_same_row() -> None:
    """Trees and network do not depend on the global random state."""
    train, validation, test = parts()
    for kind in (Boosted, SetNetwork):
        first = fitted(kind.name).predict(test).utilities
        torch.manual_seed(123)
        np.testing.assert_array_equal(kind.fit(train, validation).predict(test).utilities, first)


def test_fitted_rows_come_back_from_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept row predicts the same; a damaged file is named or made anew, and another key is another file."""
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path))
    test = parts()[2].take(np.arange(100))
    path = row_path("lightgbm", {"data": 1})
    assert path != row_path("lightgbm", {"data": 2})
    assert kept_row(path, Boosted) is None
    for name, kind in NUMBER_ROWS.items():
        save_row(fitted(name), path)
        kept, first = load_row(path, kind).predict(test), fitted(name).predict(test)
        for part in ("utilities", "quantity", "units", "beta", "gamma", "delta"):
            np.testing.assert_array_equal(getattr(kept, part), getattr(first, part), err_msg=f"{name} {part}")
    with pytest.raises(CorruptFile, match="holds something else than lightgbm"):
        load_row(path, Boosted)
    save_row(fitted("lightgbm"), path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CorruptFile, match="lightgbm"):
        load_row(path, Boosted)
    assert kept_row(path, Boosted) is None


def test_a_file_of_a_fitted_row_runs_no_code(tmp_path: Path) -> None:
    """Neither a pickle as earlier versions wrote them, nor one in the place of the numbers."""
    mark = tmp_path / "ran"

    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (mark,)  # type: ignore[return-value]

    content = io.BytesIO()
    np.savez(content, fields=np.array(Harm(), dtype=object))
    for body, magic in ((pickle.dumps(Harm()), b"malles row 1\n"), (content.getvalue(), b"malles row 2\n")):
        path = tmp_path / "x.row"
        path.write_bytes(magic + hashlib.sha256(body).digest() + body)
        with pytest.raises(CorruptFile):
            load_row(path, Boosted)
    assert not mark.exists()


def test_rows_are_named_and_checked() -> None:
    assert ROW_NAMES[:3] == ("uniform", "popularity", "trailing_popularity")
    assert chosen_rows("urn, uniform", {}) == ["uniform", "urn"]
    assert "aligned" not in chosen_rows("all", {})
    assert "aligned" in chosen_rows(None, {"aligned": lambda split: fitted("urn")})
    with pytest.raises(InvalidInput, match=r"rows: got 'aligned'.*uniform"):
        chosen_rows("aligned", {})


def test_the_comparison_in_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All splits, JSON and page; a second run fits nothing and gives the same numbers."""
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path))
    study = Study(occasions())
    names = ["uniform", "urn", "conditional_logit", "aligned", "always_one"]
    language = {"aligned": lambda split: fitted("conditional_logit")}
    splits = list(study.rules.splits)
    messages: list[str] = []
    first = compare(study, names, splits, language=language, limit=150, notify=messages.append)
    content = as_json(first)
    json.dumps(content, allow_nan=False)
    assert list(content["time"]) == names
    assert content["unseen_cold"]["urn"]["hit"] == pytest.approx(content["unseen_cold"]["uniform"]["hit"], abs=1e-9)
    assert content["time"]["always_one"]["quantity_nll"] is None
    assert "hit" not in content["time"]["always_one"]
    assert content["paired"]["time"]["uniform"]["nll"] < -2 * content["paired"]["time"]["uniform"]["nll_se"]
    assert set(content["paired"]["time"]["always_one"]) == {"quantity_error", "quantity_error_se"}
    assert content["elasticities"]["time"]["aligned"][0]["choice"] < 0
    assert any("fitting urn" in words for words in messages)
    messages.clear()
    again = as_json(compare(Study(occasions()), names, splits, language=language, limit=150, notify=messages.append))
    assert not any("fitting" in words for words in messages)
    for split in splits:
        for name in names:
            for key in ("hit", "nll", "quantity_error"):
                assert content[split][name].get(key) == again[split][name].get(key)
    page = markdown(first, study.rules, "malles consumers evaluate", {"model": "none"}, "scores.csv")
    assert "malles consumers evaluate" in page and "| conditional_logit |" in page and "weeks 41 to 53" in page
    assert "[scores.csv](scores.csv)" in page and page.count("\n") < 120
    lines = list(csv.DictReader(io.StringIO(all_scores(first))))
    keys = [(row["split"], row["row"], row["part"], row["group"], row["measure"]) for row in lines]
    assert len(set(keys)) == len(keys) and {row["split"] for row in lines} == set(splits)
    urn = next(row for row, key in zip(lines, keys, strict=True) if key == ("time", "urn", "all", "", "nll"))
    assert float(urn["value"]) == pytest.approx(content["time"]["urn"]["nll"], rel=1e-5)
    assert float(urn["standard_error"]) == pytest.approx(content["time"]["urn"]["nll_se"], rel=1e-5)
    assert {row["part"] for row in lines} == {"all", "history", "shelf", "markets", "paired", "elasticity"}


def test_a_slow_row_is_asked_about_fewer_and_compared_on_these_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path))
    language = {name: lambda split: fitted("conditional_logit") for name in ("aligned", "unaligned")}
    found = compare(Study(occasions()), ["aligned", "unaligned"], ["time"], language=language, limit=150, slow=40)
    assert found.judged["time"]["unaligned"] == 40 < found.judged["time"]["aligned"]
    pair = found.paired["time"]["unaligned"]["nll"]
    assert (pair.mean, pair.se) == (0.0, 0.0), "the same model, so no difference on the same occasions"
    assert found.scores["time"]["unaligned"].metrics["nll"] != found.scores["time"]["aligned"].metrics["nll"]
    assert "`unaligned` 40" in markdown(found, Study(occasions()).rules, "malles", {}, "scores.csv")


def test_scores_go_into_the_card_and_leave_the_weights_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path / "cache"))
    language = {"aligned": lambda split: fitted("conditional_logit")}
    found = as_json(compare(Study(occasions()), ["uniform", "aligned"], ["time"], language=language, limit=100))
    model = tiny_model()
    digest = model.save(tmp_path / "model")
    put_scores(tmp_path / "model", found, "aligned")
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"{found['time']['aligned']['nll']:.4f} ± {found['time']['aligned']['nll_se']:.4f}" in card
    assert f"{found['paired']['time']['uniform']['nll']:+.4f}" in card
    assert TasteModel.load(tmp_path / "model").weights_hash == digest


def test_a_wide_table_is_shown_in_parts() -> None:
    """Nothing is cut: all columns come once, each part begins with the rows' names and fits."""
    from malles_env.cli.tables import fitting

    cells = [["row", *(f"column {n}" for n in range(6))], ["aligned", *(f"0.574{n} ± 0.0038" for n in range(6))]]
    parts = list(fitting(cells, 60))
    assert [part[0][0] for part in parts] == ["row"] * 3
    assert [name for part in parts for name in part[0][1:]] == cells[0][1:]
    assert max(sum(map(len, part[1])) for part in parts) <= 60
    assert list(fitting(cells, 400)) == [cells]


def test_the_command_writes_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, splits and files as asked; an unknown split is named in one line."""
    import typer

    from malles_env.cli.evaluation.evaluate import evaluate_command

    monkeypatch.setenv("MALLES_CACHE", str(tmp_path / "cache"))
    app = typer.Typer()
    app.command()(evaluate_command)
    folder = occasions().save(tmp_path / "occasions")
    common = ["--occasions", str(folder), "--limit", "100", "--rows", "uniform,popularity"]
    files = ["--json", str(tmp_path / "o.json"), "--docs", str(tmp_path / "o.md")]
    shown = CliRunner().invoke(app, [*common, *files, "--splits", "time,households"])
    assert shown.exit_code == 0, shown.output
    assert "popularity" in shown.output
    content = json.loads((tmp_path / "o.json").read_text())
    assert set(content) >= {"time", "households", "paired", "elasticities", "command"}
    assert content["time"]["uniform"]["hit"] == pytest.approx(1 / 6, abs=0.01)
    assert (tmp_path / "o.md").read_text().startswith("# ")
    tiny_model().save(tmp_path / "own")
    alone = CliRunner().invoke(app, [*common, "--model", str(tmp_path / "own")])
    hint = f"has no twin trained with `malles align --occasions {folder} --train-on seen"
    assert alone.exit_code == 0 and alone.output.count(hint) == 3
    named = CliRunner().invoke(app, [*common, "--model", str(tmp_path / "own"), "--splits", "households"])
    assert isinstance(named.exception, InvalidInput) and "twin" in str(named.exception)
    wrong = CliRunner().invoke(app, [*common, "--splits", "past"])
    assert isinstance(wrong.exception, InvalidInput) and "splits" in str(wrong.exception)
