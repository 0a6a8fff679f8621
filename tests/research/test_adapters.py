"""The study of adapters inside the encoder reports every kind of model and every difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from malles_env.evaluation.transfer.word_model.adapter_training import AdapterSettings
from malles_env.evaluation.transfer.word_model.scoring import WordScorer
from malles_env.evaluation.transfer.word_model.word_fit import WordSettings
from malles_env.preference.data.renamed import Names
from research.words.adapters import CONTROLS, KINDS, SPLITS, Kinds, judge, table
from tests.evaluation.transfer.test_transfer import encoder, study  # noqa: F401 - a fixture

SMALL = AdapterSettings(rank=2, layers=1, rate=0.01, drop=0.1, every=2, names=40, batch=256, refit=2000, half=False)
MAPS = WordSettings(width=4, penalties=(0.1, 1.0), folds=2, later=6)


def test_the_report_has_every_row_and_difference(tmp_path: Path, encoder: Path, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path / "cache"))
    kinds = Kinds(study(), SMALL, MAPS, 4, tmp_path / "kept", str(encoder))
    models: dict[Names, dict[str, WordScorer]] = {}
    validation = {}
    for names in CONTROLS:
        models[names], validation[names] = kinds.of(names)
        assert validation[names]["both"]["steps of the adapter"] in (2, 4)
    report = {"validation": validation, "splits": judge(study(), models, 100)}
    every = [*KINDS, *KINDS.values()]
    for split in SPLITS:
        found = report["splits"][split]
        assert set(found["nats"]) == {f"{kind}{end}" for kind in every for end in ("", "_shuffled")}
        difference = found["paired"]["adapted - map"]
        assert difference["mean"] == pytest.approx(found["nats"]["adapted"]["mean"] - found["nats"]["map"]["mean"])
    assert "| adapted - adapted_shuffled |" in table(report)
