"""Prompted models on the log with real names: drawn and trained as its protocol says, judged on a sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from malles_env.cli import app
from malles_env.errors import CorruptFile, InvalidInput, MissingResource
from malles_env.evaluation.transfer.comparison import compare_words
from malles_env.evaluation.transfer.rows import encoder_rows, possible_rows
from malles_env.preference.encoder.backbones import _smollm2_gguf, load_backbone
from malles_env.preference.prompted.trainer import PromptConfig
from malles_env.workflows.align_prompted import PromptJob, draw_named, run_prompted
from tests.evaluation.transfer.test_transfer import encoder, study  # noqa: F401 - a fixture

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
    messages: list[str] = []
    found = compare_words(study(), rows, ["unseen_cold", "launches"], prompted=folder, limit=60, slow=10)
    assert found.asked["unseen_cold"] == {"prompted": 10, "prompted_shuffled": 10}
    assert set(found.launches) == {"uniform"}
    content = found.as_json()
    difference = content["paired"]["unseen_cold"]["prompted - prompted_shuffled"]
    assert np.isfinite(difference["nll"]) and difference["se"] > 0
    one, other = (content["unseen_cold"][row]["nll"] for row in ("prompted", "prompted_shuffled"))
    assert difference["nll"] == pytest.approx(one - other)
    again = compare_words(study(), rows, ["unseen_cold"], prompted=folder, limit=60, slow=10, notify=messages.append)
    assert not any(words.startswith("fitting prompted") for words in messages)
    assert again.as_json()["unseen_cold"] == content["unseen_cold"]
    assert "unaligned" in possible_rows(None, None, "smollm2")


def test_further_encoders_are_rows_by_name(encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path / "cache"))
    rows = encoder_rows([f"mine={encoder}"])
    assert {"frozen_mine", "frozen_mine_shuffled", "frozen_mine_anonymous"} <= set(possible_rows(None, encoders=rows))
    wanted = ["numbers_only", "frozen_mine", "frozen_mine_shuffled"]
    found = compare_words(study(), wanted, ["unseen_cold"], encoders=rows, limit=60)
    pair = found.paired["unseen_cold"]["frozen_mine - frozen_mine_shuffled"]["nll"]
    assert np.isfinite(pair.mean) and pair.se > 0


@pytest.mark.parametrize("pair", ["mine", "mine=", "=x", "Mine=x", "minilm=x"])
def test_an_encoder_that_is_no_pair_is_refused(pair: str) -> None:
    with pytest.raises(InvalidInput, match=r"encoder: got .*NAME=BACKBONE"):
        encoder_rows([pair])


def test_a_gguf_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingResource, match=r"none\.gguf: no such GGUF file"):
        load_backbone(str(tmp_path / "none.gguf"))
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(60))
    with pytest.raises(CorruptFile, match=r"bad\.gguf: cannot be read"):
        load_backbone(str(tmp_path / "bad.gguf"))


@pytest.mark.slow
def test_a_gguf_file_is_read_as_the_package_that_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SmolLM2's own file by its path: the weights that the name stands for."""
    known = load_backbone("smollm2")
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path))
    found = load_backbone(str(_smollm2_gguf()))
    assert found.digest == known.digest and found.width == known.width


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["consumers", "evaluate", "--encoder", "x=y"], "nothing without --protocol online-retail"),
        (["consumers", "evaluate", "--protocol", "online-retail", "--encoder", "x"], "NAME=BACKBONE"),
        (["align-prompted", "--protocol", "online-retial"], "online-retial"),
        (["align-prompted", "--protocol", "online-retail", "--names", "anonymous"], "true or shuffled"),
        (["align-prompted", "--protocol", "online-retail", "--market", "MUG"], "market"),
    ],
)
def test_options_that_do_not_fit_are_one_line(command: list[str], message: str) -> None:
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 2 and message in " ".join(found.output.split())
