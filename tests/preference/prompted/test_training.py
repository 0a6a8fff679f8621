"""The prompted consumer: losses, training, files, price response, study and command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from torch.nn import functional
from typer.testing import CliRunner

from malles_env.cli.fitting.align_prompted import prompted_command
from malles_env.errors import CorruptFile, InvalidInput, MissingResource
from malles_env.evaluation.prompted_response import price_response
from malles_env.preference.data.dataset import from_occasions
from malles_env.preference.encoder.adapters import trainable
from malles_env.preference.encoder.backbones import load_backbone
from malles_env.preference.prompted.data import prompt_data
from malles_env.preference.prompted.losses import listwise_loss, reference_scores, unit_loss
from malles_env.preference.prompted.model import PromptedModel
from malles_env.preference.prompted.prompt import shelf_pieces
from malles_env.preference.prompted.questions import ask, draw_shelves
from malles_env.preference.prompted.trainer import PromptConfig, align_prompted, validate
from malles_env.workflows.align_prompted import Splits, tokenizer_texts
from research import attention_prior as study
from tests.preference.prompted.prompted_cases import QUICK, few_occasions, pretrained, shelves, tiny


@pytest.fixture(scope="module")
def model() -> PromptedModel:
    """A small random model with a prior of 1 nat."""
    return tiny(prior=1.0)


# Losses


def s_dpo_loss(scores: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return ``-log sigmoid(-log sum_{d != c} exp(s_d - s_c))`` [M], as S-DPO writes it.

    Chen et al. 2024 (arXiv 2406.09215), equation 10, with ``s = beta (log pi - log pi_ref)``. It equals
    `listwise_loss`, since ``sigmoid(-log x) = 1 / (1 + x)``; the sum is taken by log-sum-exp.
    """
    own = scores.gather(1, chosen[:, None])
    others = torch.where(functional.one_hot(chosen, scores.shape[1]).bool(), -torch.inf, scores - own)
    return -functional.logsigmoid(-torch.logsumexp(others, dim=1))


def test_s_dpo_is_the_listwise_softmax() -> None:
    """-log sigmoid(-log sum exp) equals the cross-entropy of beta (log pi - log pi_ref) to 1e-6."""
    generator = torch.Generator().manual_seed(0)
    policy, base = (torch.randn(50, 6, generator=generator, dtype=torch.float64).mul(3) for _ in range(2))
    policy[:10, -1] = base[:10, -1] = -torch.inf
    chosen = torch.randint(0, 5, (50,), generator=generator)
    scores = reference_scores(policy.log_softmax(1), base.log_softmax(1), beta=0.7)
    torch.testing.assert_close(s_dpo_loss(scores, chosen), listwise_loss(scores, chosen), atol=1e-6, rtol=0)
    assert torch.isinf(scores[:10, -1]).all()


def test_reference_starts_at_equal_scores(tmp_path: Path) -> None:
    """Before training, scores relative to the base are all zero but for the sampling offset; training moves them."""
    data, model = shelves(40), tiny(reference="base", beta=0.5)
    data = replace(data, log_sampling=np.full(40, 2.5))  # far from the truth, so that a few steps show
    before = model.predict(data, orders=1).utilities
    np.testing.assert_allclose(before[:, 1:], 0.0, atol=1e-5)
    progress = align_prompted(model, data, data, QUICK, tmp_path, show=False)
    assert progress.best < progress.history[0]["nll"]
    assert np.abs(model.predict(data, orders=1).utilities[:, 1:]).max() > 1e-2


def test_unit_loss_counts_more_than_nine_as_nine() -> None:
    """The loss of 3 and of 30 units under known probabilities."""
    logs = torch.log(torch.tensor([[0.1, 0.1, 0.3, 0.1, 0.1, 0.1, 0.05, 0.05, 0.1]])).expand(2, 9)
    np.testing.assert_allclose(unit_loss(logs, torch.tensor([3, 30])), -np.log([0.3, 0.1]), rtol=1e-5)


# Training


@pytest.mark.slow
def test_training_learns_to_repeat_the_last_purchase(tmp_path: Path) -> None:
    """Buyers repeat their last purchase, in fresh label orders: only reading the history can beat the uniform."""
    train, validation = shelves(600, loyal=1.0), shelves(120, seed=1, loyal=1.0)
    model = PromptedModel.embedded(tokenizer_texts(train), width=32, layers=2, vocabulary=320)
    config = PromptConfig(steps=80, batch_size=40, learning_rate=5e-3, validate_every=40, warmup=10)
    align_prompted(model, train, validation, config, tmp_path, show=False)
    result = validate(model, validation)
    assert result["hit"] > 0.8
    assert result["nll_purchase"] < np.log(4) - 0.5


def test_config_and_model_refuse_nonsense(tmp_path: Path) -> None:
    """Wrong settings are named; an old run is not overwritten."""
    with pytest.raises(InvalidInput, match="steps"):
        PromptConfig(steps=0)
    with pytest.raises(InvalidInput, match="prior"):
        tiny(prior=-1.0)
    with pytest.raises(InvalidInput, match="reference"):
        tiny(reference="best")
    with pytest.raises(InvalidInput, match="orders"):
        tiny().predict(shelves(5), orders=0)
    align_prompted(tiny(), shelves(60), shelves(20), QUICK, tmp_path, show=False)
    with pytest.raises(InvalidInput, match="prior"):
        align_prompted(tiny(prior=1.0), shelves(60), shelves(20), QUICK, tmp_path, show=False)
    with pytest.raises(InvalidInput, match="out_dir"):
        align_prompted(tiny(), shelves(60), shelves(20), QUICK, tmp_path, resume=False, show=False)


SITTING = """
import sys
sys.path.insert(0, {root!r})
from tests.preference.prompted.prompted_cases import QUICK, shelves, tiny
from malles_env.preference.prompted.trainer import align_prompted
align_prompted(tiny(prior=1.0), shelves(120), shelves(30, seed=1), QUICK, {out!r}, show=False)
"""


@pytest.mark.slow
def test_killed_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    """A real SIGKILL after the first checkpoint; resumed, the run ends bit for bit as one left alone."""
    code = SITTING.format(root=str(Path(__file__).parents[3]), out=str(tmp_path / "killed"))
    child = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"})
    checkpoint = tmp_path / "killed" / "checkpoints" / "step-0000002"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "the run was over before it could be killed"
    weights = {}
    for name in ("killed", "alone"):
        model = tiny(prior=1.0)
        align_prompted(model, shelves(120), shelves(30, seed=1), QUICK, tmp_path / name, show=False)
        weights[name] = model.backbone.model.state_dict()
    for name, tensor in weights["alone"].items():
        assert torch.equal(tensor, weights["killed"][name]), name


# Adapters and files


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers so
def test_adapter_alone_learns_and_survives_saving(tmp_path: Path) -> None:
    """A low-rank adapter on a body from a directory: the body stays, the saved adapter gives the same answers."""
    body = pretrained(tmp_path / "body")
    model = PromptedModel.adapted(load_backbone(str(body)), rank=2, layers=1, prior=0.5, reference="base")
    data = shelves(60)
    base = {name: value.clone() for name, value in model.backbone.model.named_parameters() if "lora" not in name}
    assert sum(p.numel() for p in trainable(model.backbone.model).parameters()) < 10_000
    align_prompted(model, data, data, QUICK, tmp_path / "run", show=False)
    for name, value in model.backbone.model.named_parameters():
        assert "lora" in name or torch.equal(value, base[name]), name
    saved = model.save(tmp_path / "model")
    loaded = PromptedModel.load(tmp_path / "model")
    assert (loaded.weights_hash, loaded.prior, loaded.reference) == (saved, 0.5, "base")
    expected, found = model.predict(data).utilities, loaded.predict(data).utilities
    np.testing.assert_allclose(found, expected, atol=0.05)  # the adapter is kept in bfloat16
    assert np.abs(expected - PromptedModel.unaligned(str(body), prior=0.5).predict(data).utilities).max() > 0.05


@pytest.mark.parametrize("reference", ["none", "base"])
def test_saved_model_comes_back(tmp_path: Path, reference: str) -> None:
    """Weights, tokenizer, prior and reference come back; a damaged file is named."""
    model, data = tiny(prior=2.0, reference=reference), shelves(30)
    align_prompted(model, data, data, QUICK, tmp_path / "run", show=False)
    model.card = {"name": "tiny", "tables": {"scores": [{"model": "tiny", "hit": "1"}]}}
    model.save(tmp_path / "model")
    loaded = PromptedModel.load(tmp_path / "model")
    np.testing.assert_allclose(loaded.predict(data).utilities, model.predict(data).utilities, atol=1e-5)
    assert "2 nats" in (tmp_path / "model" / "README.md").read_text()
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8] + b"deadbeef")
    with pytest.raises(CorruptFile, match=r"model\.safetensors"):
        PromptedModel.load(tmp_path / "model")
    with pytest.raises(MissingResource, match="align-prompted"):
        PromptedModel.load(tmp_path / "nowhere")


# Price response, study, command


def test_price_response_is_what_asking_again_gives(model: PromptedModel) -> None:
    """One product, one occasion: the elasticity by hand from two prompts."""
    data = shelves(1)
    data = data.take(np.array([0]))
    found = price_response(model, data, products=4)
    assert found.pairs == 4
    low, high = [], []
    for j in range(4):
        for factor, side in ((0.9, low), (1.1, high)):
            price = data.price.copy()
            price[0, j] *= factor
            side.append(float(np.exp(model.predict(replace(data, price=price), orders=1).inside()[0, j])))
    low_, high_ = np.array(low), np.array(high)
    arc = (high_ - low_).sum() / np.log(1.1 / 0.9) / (0.5 * (low_ + high_)).sum()
    assert found.elasticity.mean == pytest.approx(arc, rel=1e-3, abs=1e-5)
    assert found.violations.mean == pytest.approx(float((high_ > low_ * (1 + 1e-6)).mean()))


def test_data_from_occasions_tell_the_same_as_a_taste_models() -> None:
    """Occasions built from a log and a taste model's data of them make the same prompts."""
    occasions = few_occasions()
    first, second = prompt_data(occasions), prompt_data(from_occasions(occasions))
    one, two = ask(first, 12), ask(second, 12)
    assert [list(question.rows) for question in one] == [list(question.rows) for question in two]
    for left, right in zip(one, two, strict=True):
        assert shelf_pieces(left.lines(first), " ") == shelf_pieces(right.lines(second), " ")
        assert list(left.households(first)) == list(right.households(second))


def test_drawn_shelves_are_whole_questions() -> None:
    """Draws keep the split, the limit and the buyers, and hold fewer questions than occasions."""
    occasions = few_occasions()
    drawn = draw_shelves(occasions, "test", limit=30, most=6, markets=tuple(occasions.markets), seed=1)
    assert 0 < len(drawn) <= 30
    assert set(drawn.occasions["split"]) == {"test"}
    assert drawn.occasions["buyer"].all()
    again = draw_shelves(occasions, "test", limit=30, most=6, markets=tuple(occasions.markets), seed=1)
    assert drawn.occasions.equals(again.occasions)


def test_study_compares_priors_and_goes_on(tmp_path: Path) -> None:
    """Two priors and one seed: a row each, a table, a picture; a second call trains nothing."""
    splits = Splits(shelves(60), shelves(20, seed=1), shelves(30, seed=2))
    settings = {"data": splits, "out": tmp_path, "show": False, "validate_every": 2}
    rows = study.run((0,), 2, 60, priors=(0.0, 2.0), **settings)
    assert [(row.prior, row.seed) for row in rows] == [(0.0, 0), (2.0, 0)]
    assert rows[0].scores["nll"].mean != rows[1].scores["nll"].mean
    text = study.table(rows)
    assert len(text.splitlines()) == 2 + 2 + 2
    assert study.draw(rows, tmp_path / "picture.png").stat().st_size > 10_000
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert study.run((0,), 2, 60, priors=(0.0, 2.0), **settings) == rows
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    with pytest.raises(InvalidInput, match="same settings"):
        study.run((0,), 3, 60, priors=(0.0,), **settings)


def test_command_trains_and_saves(tmp_path: Path) -> None:
    """The command runs on a folder of occasions and ends with a model that loads and a card with scores."""
    folder = few_occasions().save(tmp_path / "occasions")
    app = typer.Typer()
    app.command()(prompted_command)
    given = ["--occasions", str(folder), "--out", str(tmp_path / "run"), "--steps", "2", "--occasions-limit", "40"]
    markets = [part for name in few_occasions().markets for part in ("--market", name)]
    result = CliRunner().invoke(app, [*given, *markets, "--prior", "1.5", "--test-limit", "20"])
    assert result.exit_code == 0, result.output
    assert "unaligned" not in result.output
    assert PromptedModel.load(tmp_path / "run").prior == 1.5
    assert "nll" in (tmp_path / "run" / "model" / "README.md").read_text()
