"""Training: losses, batches, learning a known truth, and surviving a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from malles_env.errors import InvalidInput
from malles_env.preference.data.dataset import SHARED_FIELDS, batches
from malles_env.preference.data.rewording import reworded
from malles_env.preference.encoder.embeddings import make_readings
from malles_env.preference.heads.losses import choice_loss, consistency_loss
from malles_env.preference.heads.objective import Weights, objective, score
from malles_env.preference.heads.quantities import QUANTITIES, quantity_nll
from malles_env.preference.training.config import AlignConfig, AlignJob
from malles_env.preference.training.trainer import align, calibrate, validate
from tests.preference.conftest import synthetic, tiny_model

QUICK = AlignConfig(steps=16, batch_size=64, chunk=16, validate_every=4, warmup=2, patience=50)


def test_choice_loss_is_the_log_probability() -> None:
    """Two equal options and an outside option of twice their weight."""
    utilities = torch.tensor([[np.log(2.0), 0.0, 0.0, -np.inf]])
    assert float(choice_loss(utilities, torch.tensor([0]))) == pytest.approx(np.log(2.0))
    assert float(choice_loss(utilities, torch.tensor([2]))) == pytest.approx(np.log(4.0))


def test_reference_adjusted_scores_are_s_dpo() -> None:
    """-log sigmoid(-log sum_r exp(D_r - D_c)) is the listwise loss on differences to the reference."""
    generator = torch.Generator().manual_seed(0)
    ours, reference = (torch.randn(50, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    chosen = torch.randint(0, 6, (50,), generator=generator)
    difference = ours - reference
    picked = difference.gather(1, chosen[:, None])
    rest = torch.logsumexp((difference - picked).scatter(1, chosen[:, None], -torch.inf), dim=1)
    expected = -torch.nn.functional.logsigmoid(-rest)
    torch.testing.assert_close(choice_loss(ours, chosen, reference), expected, atol=1e-10, rtol=0)


def test_quantity_loss_is_the_log_probability() -> None:
    """Even odds over Q classes; what lies above Q counts as Q."""
    odds = torch.zeros(2, QUANTITIES)
    assert quantity_nll(odds, torch.tensor([1, 500])).tolist() == pytest.approx([np.log(QUANTITIES)] * 2)


def test_consistency_is_zero_for_equal_answers_and_at_most_log_2() -> None:
    """Jensen-Shannon divergence of two answers."""
    one = torch.tensor([[0.0, 1.0, -torch.inf], [50.0, 0.0, 0.0]])
    two = torch.tensor([[0.0, 1.0, -torch.inf], [0.0, 50.0, 0.0]])
    assert consistency_loss(one, one).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert consistency_loss(one, two).tolist() == pytest.approx([0, np.log(2)], abs=1e-5)


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
        together = score(data, model.heads, model.reader).utilities
        alone = torch.cat([score(data.take(np.array([i])), model.heads, model.reader).utilities for i in range(40)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_padding_gets_no_probability_and_changes_nothing() -> None:
    """A column of padding has utility minus infinity, the others keep theirs."""
    data, model = synthetic(20), tiny_model()
    columns = {
        f.name: np.concatenate([getattr(data, f.name), np.zeros_like(getattr(data, f.name)[:, :1])], axis=1)
        for f in fields(data)
        if f.name not in SHARED_FIELDS and not f.name.startswith(("past", "other")) and getattr(data, f.name).ndim == 2
    }
    padded = replace(data, **columns)
    with torch.no_grad():
        whole = score(data, model.heads, model.reader).utilities
        part = score(padded, model.heads, model.reader).utilities
    assert torch.isinf(part[:, -1]).all()
    torch.testing.assert_close(part[:, :-1], whole, atol=1e-5, rtol=0)


def test_training_learns_the_price_and_what_was_bought(tmp_path: Path) -> None:
    """On data from a known logit, the price response comes near the truth and own purchases raise alpha."""
    train, validation = (
        synthetic(3000, beta=2.5, lambda_=0.0, tastes=1.5),
        synthetic(500, seed=1, beta=2.5, lambda_=0.0, tastes=1.5),
    )
    model = tiny_model(scale=0.0, members=1)
    calibrate(model, train)
    before = validate(model, validation)["nll"]
    config = AlignConfig(steps=60, batch_size=256, chunk=64, validate_every=30, warmup=5, cold=0.0)
    progress = align(model, train, validation, config, tmp_path, show=False)
    assert progress.history[-1]["nll"] < before - 0.05
    last = progress.history[-1]
    assert last["beta"] + last["gamma"] == pytest.approx(2.5, abs=0.6)
    with torch.no_grad():
        alpha = score(train, model.heads, model.reader).option.alpha.numpy()
    known = train.bought > 0
    assert alpha[known].mean() - alpha[~known].mean() > 0.5


def test_readings_train_only_the_heads(tmp_path: Path) -> None:
    """Readings come back from disk, give the same scores, and leave the backbone as it was."""
    data, model = synthetic(200), tiny_model()
    table = make_readings(model.backbone, data.products, directory=tmp_path / "readings")
    before = [p.clone() for p in model.backbone.model.parameters()]
    with torch.no_grad():
        live, stored = (score(data, model.heads, s).utilities for s in (model.reader, table))
    torch.testing.assert_close(live, stored, atol=2e-2, rtol=0)  # readings are kept in half precision
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "readings").iterdir()}
    make_readings(model.backbone, data.products, directory=tmp_path / "readings")
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "readings").iterdir()}
    align(model, data, data, QUICK, tmp_path / "run", reader=table, show=False)
    assert all(torch.equal(a, b) for a, b in zip(before, model.backbone.model.parameters(), strict=True))


def test_consistency_term_draws_two_wordings_together(tmp_path: Path) -> None:
    """Trained with it, the model's answers to the same shelf in other words come closer."""
    data, model = synthetic(300), tiny_model(scale=1.0)
    for member in model.heads.warm.members:  # texts matter more than they would at the start
        member.product[1].weight.data *= 20
    plain = make_readings(model.backbone, data.products, directory=tmp_path / "plain")
    other = make_readings(model.backbone, reworded(data.products), directory=tmp_path / "other")
    assert reworded(data.products).texts != data.products.texts
    weights = Weights(consistency=50.0)
    apart = objective(data, model.heads, plain, weights, reworded=other)[1]["consistency"]
    config = replace(QUICK, steps=40, weights=weights)
    align(model, data, data, config, tmp_path / "run", reader=plain, reworded=other, show=False)
    assert objective(data, model.heads, plain, weights, reworded=other)[1]["consistency"] < 0.5 * apart


def test_a_cold_occasion_tells_nothing_of_the_category() -> None:
    """Two households with other histories but the same purchases elsewhere are alike when cold."""
    data, model = synthetic(200), tiny_model()
    same = replace(data, **{n: np.full_like(getattr(data, n), 7) for n in ("elsewhere", "elsewhere_private")})
    rows = {n: np.broadcast_to(getattr(same, n)[:1], getattr(same, n).shape).copy() for n in _SHELF}
    cold = replace(same, elsewhere_deal=same.elsewhere, **rows).cold()
    with torch.no_grad():
        utilities = score(cold, model.heads, model.reader).utilities
    torch.testing.assert_close(utilities, utilities[:1].expand_as(utilities), atol=1e-5, rtol=0)
    assert data.cold(np.zeros(200, dtype=bool)).bought.sum() > 0


_SHELF = ("prefix", "product", "price", "regular_price", "brand_elsewhere", "weeks_seen", "log_sampling")


def test_resume_refuses_other_settings(tmp_path: Path) -> None:
    """A run goes on only with the settings it was started with, and an old run is not overwritten."""
    data = synthetic(100)
    align(tiny_model(), data, data, QUICK, tmp_path, show=False)
    other = replace(QUICK, batch_size=32)
    with pytest.raises(InvalidInput, match="batch_size"):
        align(tiny_model(), data, data, other, tmp_path, show=False)
    with pytest.raises(InvalidInput, match="out_dir"):
        align(tiny_model(), data, data, QUICK, tmp_path, resume=False, show=False)


def test_config_refuses_nonsense() -> None:
    """Counts below their minimum and rates of 0 are named."""
    with pytest.raises(InvalidInput, match="steps"):
        AlignConfig(steps=-1)
    with pytest.raises(InvalidInput, match="batch_size"):
        AlignConfig(batch_size=0)
    with pytest.raises(InvalidInput, match="continue_heads"):
        AlignJob("embedded", Path("run"), continue_heads=True)
    with pytest.raises(InvalidInput, match="learning_rate"):
        AlignConfig(learning_rate=float("nan"))


SITTING = """
import sys
sys.path.insert(0, {root!r})
from tests.preference.conftest import synthetic, tiny_model
from tests.preference.test_training import QUICK
from malles_env.preference.training.trainer import align
align(tiny_model(), synthetic(400), synthetic(100, seed=1), QUICK, {out!r}, show=False)
"""


def test_killed_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    """A real SIGKILL after the first checkpoint; resumed, the run ends bit for bit as one left alone."""
    code = SITTING.format(root=str(Path(__file__).parents[2]), out=str(tmp_path / "killed"))
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
