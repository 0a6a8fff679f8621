"""The studies of names: points of the curves on a small log, and the conjoint data of one person in two categories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from malles_env.errors import CorruptFile, InvalidInput, MissingResource
from malles_env.evaluation.transfer.word_model.word_fit import WordSettings
from research.words.conjoint import table as table_of_directions
from research.words.conjoint import transfer
from research.words.conjoint_data import Conjoint, read_conjoint
from research.words.curves import Curves, draw, table
from tests.evaluation.transfer.test_transfer import encoder, study  # noqa: F401 - a fixture

SMALL = WordSettings(width=4, penalties=(0.1, 1.0), folds=2, later=6)


def test_curves_judge_every_point_on_the_same_purchases(tmp_path: Path, encoder: Path, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path / "cache"))
    curves = Curves(study(), SMALL, limit=200)
    most = len(np.unique(curves.learn.prefix))
    points = [curves.point(str(encoder), count) for count in (1, most)]
    assert set(curves.categories(1, 0)) < set(curves.categories(most, 0))
    for point in points:
        assert point["purchases"]["judged"] == len(curves.test) and point["parameters"] > 1000
        difference = point["paired"]["trained - trained_shuffled"]
        nats = point["nats"]
        assert difference["mean"] == pytest.approx(nats["trained"]["mean"] - nats["trained_shuffled"]["mean"])
        assert difference["se"] > 0
    assert points[0]["purchases"]["trained on"] < points[1]["purchases"]["trained on"]
    assert table(points).count("\n") == 3
    draw(points, tmp_path / "curve.png", str(encoder))
    assert (tmp_path / "curve.png").stat().st_size > 5000
    with pytest.raises(InvalidInput, match=f"count: got {most + 1}; allowed: 1 to {most}"):
        curves.categories(most + 1, 0)


def people_in_two_categories(shared: float, count: int = 300) -> tuple[Conjoint, Conjoint]:
    """Return made-up choices of people whose price sensitivity deviates in both categories, `shared` of it alike."""
    rng = np.random.default_rng(7)
    common, found = rng.normal(size=count), []
    for category, tasks in (("chocolate", 8), ("fast.food", 8)):
        own = np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal(size=count)
        level = rng.integers(0, 3, (count, tasks, 4, 1))
        price = rng.choice([1.0, 1.5, 2.0, 3.0], (count, tasks, 4))
        data = Conjoint(
            category, {"Brand": ("A", "B", "C")}, level, price, np.zeros((count, tasks), int), np.zeros((count, 3))
        )
        columns = data.columns()
        utility = columns @ np.array([-2.0, 0.5, -0.5]) + 1.5 * own[:, None, None] * columns[..., 0]
        found.append(replace(data, chosen=(utility + rng.gumbel(size=utility.shape)).argmax(2)))
    return found[0], found[1]


def test_what_people_share_between_categories_is_found_and_what_they_do_not_is_not() -> None:
    for shared, found in ((0.9, True), (0.0, False)):
        result = transfer(*people_in_two_categories(shared), words=False)
        gain = result["minus somebody else's"]["other category: price"]
        correlation = result["correlation of posterior means"]["price"]
        assert (gain["mean"] < -4 * gain["se"]) == found
        assert (correlation["mean"] > 0.4) == found
        assert result["choices"] == 2400
        own = result["minus population"]["own further tasks: price"]
        assert own["mean"] < -4 * own["se"]
    lines = table_of_directions([result])
    assert lines.count("\n") == 2 + len(result["minus population"]) + len(result["minus somebody else's"]) + 2


def test_conjoint_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingResource, match=r"chocolate\.rda: no such file; get .*flipChoice"):
        read_conjoint(tmp_path, "chocolate")
    for name in ("chocolate.rda", "chocolate.design.rda"):
        (tmp_path / name).write_bytes(b"not R")
    with pytest.raises(CorruptFile, match="does not hold flipChoice's chocolate"):
        read_conjoint(tmp_path, "chocolate")
