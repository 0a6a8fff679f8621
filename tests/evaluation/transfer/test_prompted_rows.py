"""Prompted models on the log with real names: drawn and trained as its protocol says, judged on a sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from malles_env.errors import InvalidInput
from malles_env.evaluation.transfer.comparison import compare_words
from malles_env.evaluation.transfer.rows import possible_rows
from malles_env.preference.prompted.trainer import PromptConfig
from malles_env.workflows.align_prompted import PromptJob, draw_named, run_prompted
from tests.evaluation.transfer.test_transfer import study

QUICK = PromptConfig(steps=3, batch_size=12, validate_every=3, warmup=1)


def test_training_sees_neither_held_out_categories_nor_sales_and_tells_what_was_bought_elsewhere() -> None:
    true, shuffled = (draw_named(study(), 60, names=names, shelf=4, validation=20) for names in ("true", "shuffled"))
    data = true.train
    assert len(data) == 60 and len(true.validation) == 20 and true.test is None
    assert data.mask.shape[1] <= 4 and (data.chosen > 0).all()
    assert not data.bought.any() and not data.history_total.any()
    assert "sign" not in {data.markets[at] for at in data.market}
    assert data.most_elsewhere and any(data.names_elsewhere(row) for row in range(60))
    assert all(name in data.products for name in data.names_elsewhere(0))
    np.testing.assert_array_equal(shuffled.train.price, data.price)
    names = [tuple(part.products[at] for at in part.product[0]) for part in (data, shuffled.train)]
    assert names[0] != names[1]
    with pytest.raises(InvalidInput, match="shelf: got 1"):
        draw_named(study(), 60, shelf=1)


def test_prompted_rows_are_judged_on_a_sample_beside_their_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "asked"
    for names, out in (("true", folder), ("shuffled", Path(f"{folder}-shuffled"))):
        job = PromptJob("embedded", out, config=QUICK)
        run_prompted(job, draw_named(study(), 48, names=names, shelf=4, validation=12), show=False)
    rows = [row for row in possible_rows(None, folder) if row in ("uniform", "prompted", "prompted_shuffled")]
    assert rows == ["uniform", "prompted", "prompted_shuffled"]
    told: list[str] = []
    found = compare_words(study(), rows, ["unseen_cold", "launches"], prompted=folder, limit=60, slow=10)
    assert found.asked["unseen_cold"] == {"prompted": 10, "prompted_shuffled": 10}
    assert set(found.launches) == {"uniform"}
    content = found.as_json()
    difference = content["paired"]["unseen_cold"]["prompted - prompted_shuffled"]
    assert np.isfinite(difference["nll"]) and difference["se"] > 0
    one, other = (content["unseen_cold"][row]["nll"] for row in ("prompted", "prompted_shuffled"))
    assert difference["nll"] == pytest.approx(one - other)
    again = compare_words(study(), rows, ["unseen_cold"], prompted=folder, limit=60, slow=10, told=told.append)
    assert not any(words.startswith("fitting prompted") for words in told)
    assert again.as_json()["unseen_cold"] == content["unseen_cold"]
    assert "unaligned" in possible_rows(None, None, "smollm2")
