"""The studies of names: points of the curves on a small log, and the conjoint data of one person in two categories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from malles_env.errors import InvalidInput
from malles_env.evaluation.transfer.word_model.word_fit import WordSettings
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
