"""Training: losses, batches, learning a known truth, and surviving a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from malles_env.alignment.dataset import batches
from malles_env.alignment.losses import choice_loss, quantity_loss
from malles_env.alignment.objective import score
from malles_env.alignment.readings import make_readings
from malles_env.alignment.trainer import AlignConfig, align, validate
from malles_env.errors import InvalidInput

from .conftest import synthetic, tiny_model

QUICK = AlignConfig(steps=24, batch_size=64, validate_every=4, warmup=2, patience=50)


def test_choice_loss_is_the_log_probability() -> None:
    """Two equal options and an outside option of twice their weight."""
    utilities = torch.tensor([[np.log(2.0), 0.0, 0.0, -np.inf]])
    assert float(choice_loss(utilities, torch.tensor([0]))) == pytest.approx(np.log(2.0))
    assert float(choice_loss(utilities, torch.tensor([2]))) == pytest.approx(np.log(4.0))


def test_quantity_loss_is_least_at_the_true_mean() -> None:
    """The expected loss of 1 + Poisson(0.7) has its minimum at rate 0.7."""
    units = torch.tensor(1 + np.random.default_rng(0).poisson(0.7, 20_000))
    rates = torch.linspace(0.3, 1.2, 19)
    losses = [float(quantity_loss(torch.log(rate).expand(len(units)), units).mean()) for rate in rates]
    assert float(rates[int(np.argmin(losses))]) == pytest.approx(0.7, abs=0.06)


def test_batches_cover_every_occasion_once_and_repeat_exactly() -> None:
    """An epoch is a permutation; the same seed and epoch give it again, another epoch another one."""
    data = synthetic(300)
    first = list(batches(data, size=32, chunk=8, seed=1, epoch=0))
    again = list(batches(data, size=32, chunk=8, seed=1, epoch=0))
    other = list(batches(data, size=32, chunk=8, seed=1, epoch=1))
    assert sorted(np.concatenate(first)) == list(range(300))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert (np.concatenate(first) != np.concatenate(other)).any()


def test_shared_reading_equals_reading_one_by_one() -> None:
    """Occasions scored together, with shared texts read once, score as they do alone."""
    data, model = synthetic(40), tiny_model()
    with torch.no_grad():
        together = score(data, model.heads, model).utilities
        alone = torch.cat([score(data.take(np.array([i])), model.heads, model).utilities for i in range(40)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_padding_gets_no_probability() -> None:
    """A masked option has utility minus infinity, the others keep theirs."""
    data, model = synthetic(20), tiny_model()
    masked = data.take(np.arange(20))
    masked.mask[:, -1] = False
    with torch.no_grad():
        whole = score(synthetic(20), model.heads, model).utilities
        part = score(masked, model.heads, model).utilities
    assert torch.isinf(part[:, -1]).all()
    torch.testing.assert_close(part[:, :-1], whole[:, :-1], atol=1e-5, rtol=0)


def test_training_learns_the_price_and_what_text_says(tmp_path: Path) -> None:
    """On data from a known logit, beta comes near the truth and own purchases raise alpha."""
    train, validation = (
        synthetic(3000, beta=2.5, lambda_=0.0, tastes=1.5),
        synthetic(500, seed=1, beta=2.5, lambda_=0.0, tastes=1.5),
    )
    model = tiny_model()
    for read_out in (model.heads.prefix, model.heads.option):
        read_out[-1].weight.data.zero_()
    before = validate(model, validation)["nll"]
    config = AlignConfig(steps=100, batch_size=128, validate_every=50, warmup=5)
    progress = align(model, train, validation, config, tmp_path, show=False)
    assert progress.best < before - 0.05
    assert progress.history[-1]["beta"] + progress.history[-1]["gamma"] == pytest.approx(2.5, abs=0.6)
    with torch.no_grad():
        alpha = score(train, model.heads, model).option.alpha.numpy()
    known = train.bought > 0
    assert alpha[known].mean() - alpha[~known].mean() > 0.5


def test_frozen_readings_train_only_the_heads(tmp_path: Path) -> None:
    """Readings come back from disk, give the same scores, and leave the backbone as it was."""
    data, model = synthetic(200), tiny_model()
    model.backbone.owned = False
    requests, _, _ = data.requests()
    table = make_readings(model.backbone, requests, directory=tmp_path / "readings")
    before = [p.clone() for p in model.backbone.model.parameters()]
    with torch.no_grad():
        live, stored = (score(data, model.heads, s).utilities for s in (model, table))
    torch.testing.assert_close(live, stored, atol=2e-2, rtol=0)  # readings are kept in half precision
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "readings").iterdir()}
    make_readings(model.backbone, requests, directory=tmp_path / "readings")
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "readings").iterdir()}
    align(model, data, data, QUICK, tmp_path / "run", source=table, show=False)
    assert all(torch.equal(a, b) for a, b in zip(before, model.backbone.model.parameters(), strict=True))


def test_resume_refuses_other_settings(tmp_path: Path) -> None:
    """A run goes on only with the settings it was started with, and an old run is not overwritten."""
    data = synthetic(100)
    align(tiny_model(), data, data, QUICK, tmp_path, show=False)
    other = AlignConfig(steps=24, batch_size=32, validate_every=4, warmup=2, patience=50)
    with pytest.raises(InvalidInput, match="batch_size"):
        align(tiny_model(), data, data, other, tmp_path, show=False)
    with pytest.raises(InvalidInput, match="out_dir"):
        align(tiny_model(), data, data, QUICK, tmp_path, resume=False, show=False)


def test_config_refuses_nonsense() -> None:
    """Counts below 1 and rates of 0 are named."""
    with pytest.raises(InvalidInput, match="steps"):
        AlignConfig(steps=0)
    with pytest.raises(InvalidInput, match="learning_rate"):
        AlignConfig(learning_rate=float("nan"))


SITTING = """
import sys
sys.path.insert(0, {tests!r})
from alignment.conftest import synthetic, tiny_model
from alignment.test_training import QUICK
from malles_env.alignment.trainer import align
align(tiny_model(), synthetic(400), synthetic(100, seed=1), QUICK, {out!r}, show=False)
"""


def test_killed_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    """A real SIGKILL after the first checkpoint; resumed, the run ends bit for bit as one left alone."""
    code = SITTING.format(tests=str(Path(__file__).parents[1]), out=str(tmp_path / "killed"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen([sys.executable, "-c", code], env=environment)
    checkpoint = tmp_path / "killed" / "checkpoints" / "step-0000004"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "the run was over before it could be killed"
    weights = {}
    for name in ("killed", "alone"):
        model = tiny_model()
        align(model, synthetic(400), synthetic(100, seed=1), QUICK, tmp_path / name, show=False)
        weights[name] = model.trained_modules().state_dict()
    for name, tensor in weights["alone"].items():
        assert torch.equal(tensor, weights["killed"][name]), name
